/* Pictures to look at: samples, and the reader's own, which stays here. */
import { make, uniqueId } from "./dom.mjs";

/**
 * In `pictures/`, whose README names sources and licences. `truth` is what is
 * to be seen, as CIFAR-100 names it; "" if none of its classes is.
 */
export const SAMPLES = [
  {
    name: "raccoon",
    title: "Raccoon",
    credit: "public-domain-image.com",
    truth: "raccoon",
  },
  {
    name: "rocket",
    title: "Rocket",
    credit: "SpaceX, public domain",
    truth: "rocket",
  },
  {
    name: "astronaut",
    title: "Astronaut",
    credit: "NASA, public domain",
    truth: "woman",
  },
  {
    name: "launch",
    title: "Launch site",
    credit: "SpaceX, public domain",
    truth: "rocket",
  },
  {
    name: "flower",
    title: "Dahlia",
    credit: "vultilion, CC BY 2.0",
    truth: "",
  },
  {
    name: "cat",
    title: "Cat",
    credit: "Stefan van der Walt, CC0",
    truth: "",
  },
  {
    name: "pavilion",
    title: "Pavilion",
    credit: "danielbuechele, CC BY 2.0",
    truth: "",
  },
];

const MEGA = 1e6;
const MOST_BYTES = 40 * MEGA;
const MOST_PIXELS = 100 * MEGA;
/** Side of the square that is kept of a picture, if it is that large. */
const KEPT = 512;

/**
 * The middle square of a picture file.
 *
 * @param {Blob} file
 * @returns {Promise<{side: number, pixels: Float32Array}>} side * side * 3
 *     on 0..255; white shows through where the picture is transparent
 * @throws {Error} with a message for the reader
 */
export async function readPicture(file) {
  if (!file.type.startsWith("image/")) {
    const type = file.type || "unknown";
    throw new Error(
      `This is no picture (its type is ${type}): choose a PNG, JPEG or WebP.`,
    );
  }
  if (file.size > MOST_BYTES) {
    throw new Error(
      `The file has ${Math.round(file.size / MEGA)} MB, more than ` +
        `${MOST_BYTES / MEGA}: choose a smaller one.`,
    );
  }
  await checkSize(file);
  const bitmap = await createImageBitmap(file).catch(unreadable);
  try {
    return squareOf(bitmap);
  } finally {
    bitmap.close();
  }
}

function unreadable() {
  throw new Error(
    "This picture could not be read. It may be damaged, too large for " +
      "this browser, or of a kind it does not know: try a PNG or JPEG.",
  );
}

/** Refuse a huge picture before it is unpacked, which could take gigabytes. */
async function checkSize(file) {
  const image = new Image();
  image.src = URL.createObjectURL(file);
  try {
    await new Promise((resolve, reject) => {
      Object.assign(image, { onload: resolve, onerror: reject });
    }).catch(unreadable);
  } finally {
    URL.revokeObjectURL(image.src);
  }
  const { naturalWidth: width, naturalHeight: height } = image;
  if (width * height > MOST_PIXELS) {
    throw new Error(
      `The picture has ${width} x ${height} pixels, more than ` +
        `${MOST_PIXELS / MEGA} million: choose a smaller one.`,
    );
  }
}

function squareOf(bitmap) {
  const { width, height } = bitmap;
  const shorter = Math.min(width, height);
  const side = Math.min(shorter, KEPT);
  const canvas = make("canvas", { width: side, height: side });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, side, side);
  context.imageSmoothingQuality = "high";
  const [left, top] = [(width - shorter) / 2, (height - shorter) / 2];
  context.drawImage(bitmap, left, top, shorter, shorter, 0, 0, side, side);
  const { data } = context.getImageData(0, 0, side, side);
  return { side, pixels: Float32Array.from(data).filter((_, i) => i % 4 < 3) };
}

/**
 * A square picture at another size: each new pixel is the mean of the area
 * that it covers.
 *
 * @param {{side: number, pixels: Float32Array}} picture with 3 channels
 * @param {number} side of the result
 * @returns {Float32Array} side * side * 3
 */
export function resize({ side: from, pixels }, side) {
  const spans = Array.from({ length: side }, (_, i) => cover(i, from, side));
  const small = new Float32Array(side * side * 3);
  spans.forEach((rows, y) => {
    spans.forEach((columns, x) => {
      for (const [row, high] of rows) {
        for (const [column, wide] of columns) {
          const at = (row * from + column) * 3;
          for (let c = 0; c < 3; c++) {
            small[(y * side + x) * 3 + c] += high * wide * pixels[at + c];
          }
        }
      }
    });
  });
  return small;
}

/** The old pixels below new pixel `i` on one axis, each with its share. */
function cover(i, from, side) {
  const [start, end] = [(i * from) / side, ((i + 1) * from) / side];
  const shares = [];
  for (let at = Math.floor(start); at < end; at++) {
    const share = Math.min(end, at + 1) - Math.max(start, at);
    shares.push([Math.min(at, from - 1), share / (end - start)]);
  }
  return shares;
}

/**
 * Thumbnails of the samples, and ways to bring the reader's own picture: a
 * file, a drop, the clipboard and, on a phone, the camera.
 *
 * @param {function({side, pixels, title, name, truth})} onPicture is told each
 *     choice; `name` and `truth` are undefined for the reader's own
 * @param {HTMLElement} target where a picture may be dropped
 * @returns {{element: Node, first: function}} `first(name)` chooses a sample,
 *     the first without a name or with an unknown one, and resolves when
 *     `onPicture` has been told
 */
export function picturePicker(onPicture, target) {
  const group = uniqueId("picture");
  const problem = make("p.live-problem", { role: "alert", hidden: true });
  const credit = make("p.live-note");
  const own = make("label.live-thumb.live-own", { hidden: true });
  let asked = 0;
  let shown; // the radio button of the picture on show

  async function choose(radio, load, about, note) {
    const turn = ++asked;
    problem.hidden = true;
    try {
      const picture = await readPicture(await load());
      if (turn !== asked) return false; // the reader has chosen again
      credit.textContent = `${about.title}: ${note}.`;
      onPicture({ ...picture, ...about });
      shown = radio;
      shown.checked = true;
      return true;
    } catch (cause) {
      if (turn !== asked) return false;
      problem.textContent = cause.message;
      problem.hidden = false;
      if (shown) shown.checked = true;
      else radio.checked = false;
      return false;
    }
  }

  /** A small picture to choose by: its elements, and a way to choose it. */
  function thumb(url, about, note, load) {
    const pick = () => choose(radio, load, about, note);
    const radio = make("input", { type: "radio", name: group, onchange: pick });
    const { title } = about;
    const image = make("img", {
      src: url,
      alt: title,
      title,
      width: 48,
      height: 48,
    });
    return { radio, label: make("label.live-thumb", {}, radio, image), pick };
  }

  const thumbs = SAMPLES.map(({ name, title, credit, truth }) => {
    const url = new URL(`./pictures/${name}.webp`, import.meta.url);
    return thumb(url, { name, title, truth }, credit, async () => {
      const answer = await fetch(url).catch(() => ({ ok: false }));
      if (!answer.ok) {
        throw new Error(`The picture "${title}" could not be loaded.`);
      }
      return answer.blob();
    });
  });

  async function take(file) {
    const url = URL.createObjectURL(file);
    const note = "your picture, which does not leave this page";
    const about = { title: file.name };
    const { radio, label, pick } = thumb(url, about, note, () => file);
    if (!(await pick())) {
      URL.revokeObjectURL(url);
      return;
    }
    URL.revokeObjectURL(own.querySelector("img")?.src);
    own.replaceChildren(...label.childNodes);
    own.hidden = false;
    radio.checked = true;
  }

  /** A button to choose a file by, or with `capture` to take a photograph. */
  function opener(words, more, settings) {
    const input = make("input", {
      type: "file",
      accept: "image/*",
      ...settings,
      onchange: () => {
        if (input.files[0]) take(input.files[0]);
        input.value = ""; // the same file may be chosen again
      },
    });
    const text = make("span", {}, words, make("small", {}, more));
    return make("label.live-file", {}, text, input);
  }

  listen(target, take);
  const camera = opener("Camera", "Take a photo", { capture: "environment" });
  camera.classList.add("live-camera");
  const element = make(
    "fieldset.live-pictures",
    {},
    make("legend", {}, "Picture"),
    ...thumbs.map(({ label }) => label),
    own,
    opener("Your own: choose, drop, paste", "It stays on this page"),
    camera,
    credit,
    problem,
  );
  const first = (wanted) =>
    thumbs[
      Math.max(
        SAMPLES.findIndex(({ name }) => name === wanted),
        0,
      )
    ].pick();
  return { element, first };
}

/** Take what is dropped on an element, or pasted while it is to be seen. */
function listen(target, take) {
  const over = (is) => target.classList.toggle("live-over", is);
  target.addEventListener("dragover", (event) => {
    event.preventDefault();
    over(true);
  });
  target.addEventListener("dragleave", (event) => {
    if (!target.contains(event.relatedTarget)) over(false);
  });
  target.addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    const [file] = event.dataTransfer.files;
    if (file) take(file);
  });
  document.addEventListener("paste", (event) => {
    const { top, bottom } = target.getBoundingClientRect();
    const [file] = event.clipboardData?.files ?? [];
    if (!file || top > innerHeight || bottom < 0) return;
    event.preventDefault();
    take(file);
  });
}
