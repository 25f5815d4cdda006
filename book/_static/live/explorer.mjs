/*
 * Live figure: the patches of a picture, its shifted copies, and what one
 * token sees of them. Nothing of the picture leaves the page.
 */
import { makeBoard } from "./board.mjs";
import { chooser, make, slider } from "./dom.mjs";
import {
  paintFrame,
  paintGrid,
  paintOutline,
  paintPadding,
  paintPicture,
  paintWindows,
  prepare,
} from "./draw.mjs";
import { fieldOf, shiftOf } from "./field.mjs";
import { picturePicker, resize } from "./pictures.mjs";
import {
  ALL_DIRECTIONS,
  CARDINAL,
  DIAGONAL,
  OFFSETS,
  patchify,
  shiftImage,
} from "./pixels.mjs";

/** The chapters' picture, and its side there. */
const PICTURE = "pavilion";
const SIDE = 72;
const CHANNELS = 3;
const PATCH_SIZES = [6, 8, 9, 12, 18, 24];
const DIRECTIONS = {
  none: { title: "none", names: [] },
  diagonal: { title: "4 diagonal (paper)", names: DIAGONAL },
  cardinal: { title: "4 cardinal", names: CARDINAL },
  eight: { title: "all 8", names: ALL_DIRECTIONS },
};
/** Chapter 1 knows no shifts yet. */
const PATCHES_ONLY = "live-patches-1";
/** What the numbers of a token may be. */
const PARTS = {
  pixels: "from pixels",
  again: "repeated",
  padding: "padding (zeros)",
};
const HINT = "Choose a patch: click or tap, or use the arrow keys.";
const LEGENDS = {
  one: "The token is made of this patch:",
  several:
    "The token is made of one patch from the picture and one from each " +
    "shifted copy, all cut at the same place. Hatched is padding:",
};
/** Side of the drawing of a copy, and of a patch cut from it. */
const SMALL = 144;
/** What is left of the colour of a pixel that the token does not see. */
const DIM = 0.4;
/** Milliseconds without a change before it is announced. */
const PAUSE = 500;

/**
 * Build the figure in an empty element.
 *
 * @param {HTMLElement} figure
 * @param {HTMLImageElement} still whose file's name says the chapter
 */
export async function start(figure, still) {
  const directions = still.src.includes(PATCHES_ONLY) ? "none" : "diagonal";
  await new Explorer(figure, directions).begin();
}

class Explorer {
  /** Grey until there is a picture. */
  pixels = new Float32Array(SIDE * SIDE * CHANNELS).fill(128);
  patchSize = 6;
  /** The shift as a part of the patch: so many pixels of so many. */
  part = [1, 2];
  place = [2, 4];

  constructor(figure, directions) {
    this.figure = figure;
    this.directions = directions;
    this.board = makeBoard("The pixels that a token sees", (...at) =>
      this.move(at),
    );
    this.shift = slider(
      "Shift",
      this.range(),
      (pixels) => this.partInWords(pixels),
      (pixels) => this.set({ part: [pixels, this.patchSize] }),
    );
    this.status = make("p.live-says", { role: "status" });
    this.counts = make("tbody");
    this.bar = make("div.live-parts", { "aria-hidden": "true" });
    this.copies = make("div.live-copies");
    this.legend = make("p.live-note");
    this.picker = picturePicker(
      (picture) => this.set({ pixels: resize(picture, SIDE) }),
      figure,
    );
  }

  async begin() {
    const sizes = PATCH_SIZES.map((size) => [size, `${size} x ${size} pixels`]);
    const titles = Object.entries(DIRECTIONS).map(([key, { title }]) => [
      key,
      title,
    ]);
    this.figure.classList.add("live-patches");
    this.figure.setAttribute("aria-label", "The patch explorer");
    this.figure.append(
      make("p.live-title", {}, "The patch explorer"),
      this.picker.element,
      make(
        "div.live-controls",
        {},
        chooser("Patch", Object.fromEntries(sizes), this.patchSize, (size) =>
          this.cut(Number(size)),
        ),
        chooser(
          "Shifted copies",
          Object.fromEntries(titles),
          this.directions,
          (directions) => this.set({ directions }),
        ),
        this.shift.element,
      ),
      make(
        "div.live-main",
        {},
        make(
          "div.live-view",
          {},
          this.board.element,
          make(
            "p.live-note",
            {},
            "Bright: what the token sees. ",
            make("span.live-hint", {}, HINT),
          ),
        ),
        make(
          "div.live-token",
          {},
          this.status,
          make("table.live-counts", { "aria-label": "Counts" }, this.counts),
          this.bar,
        ),
        this.copies,
      ),
    );
    this.set({});
    this.announce();
    await this.picker.first(PICTURE);
  }

  /** Cut patches of another size; the chosen one stays where it was. */
  cut(patchSize) {
    const place = this.place.map((at) =>
      Math.floor(((at + 0.5) * this.patchSize) / patchSize),
    );
    this.set({ patchSize, place });
  }

  /** Change what is cut or how, and draw it anew. */
  set(changes) {
    Object.assign(this, changes);
    const { names } = DIRECTIONS[this.directions];
    this.shift.element.hidden = names.length === 0;
    this.shift.set(this.range());
    this.setting = {
      side: SIDE,
      patchSize: this.patchSize,
      shift: shiftOf(this.patchSize, this.part),
      directions: names,
    };
    this.layers = [this.layer("original", this.pixels, [0, 0])];
    for (const name of names) {
      const { shift } = this.setting;
      const moved = shiftImage(this.pixels, SIDE, CHANNELS, shift, name);
      const offset = OFFSETS[name].map((steps) => steps * shift);
      this.layers.push(this.layer(name, moved, offset));
    }
    this.legend.textContent = LEGENDS[names.length ? "several" : "one"];
    this.copies.replaceChildren(
      this.legend,
      ...this.layers.map(({ element }) => element),
    );
    this.update();
  }

  move(place) {
    this.place = place;
    this.update();
  }

  update() {
    this.field = fieldOf(this.setting, ...this.place);
    this.draw();
    this.count();
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.announce(), PAUSE);
  }

  range() {
    const value = shiftOf(this.patchSize, this.part);
    return { min: 0, max: this.patchSize, step: 1, value };
  }

  partInWords(pixels) {
    const same = pixels === shiftOf(this.patchSize, this.part);
    const [parts, patch] = same ? this.part : [pixels, this.patchSize];
    const divisor = greatestDivisor(parts, patch);
    const fraction = `${parts / divisor}/${patch / divisor}`;
    const words = { "0/1": "none", "1/1": "the whole patch" };
    const exact = parts * this.patchSize === pixels * patch;
    return (
      `${words[fraction] ?? `${fraction} of the patch`} = ` +
      `${plural(pixels, "pixel")}${exact ? "" : ", rounded down"}`
    );
  }

  /** The picture or a copy of it: its pixels, its patches, its drawings. */
  layer(name, pixels, [down, right]) {
    const { patchSize } = this;
    const drawing = (label) =>
      make("canvas", { role: "img", "aria-label": label });
    const whole = drawing(`${name}, with the patch framed`);
    const patch = drawing(`The patch in ${name}, enlarged`);
    return {
      pixels,
      whole,
      patch,
      patches: patchify(pixels, SIDE, CHANNELS, patchSize),
      /** Where the picture lies in the frame; around it is padding. */
      content: { top: down, left: right, side: SIDE },
      element: make(
        "figure",
        {},
        make("figcaption", {}, name),
        whole,
        patch,
      ),
    };
  }

  draw() {
    const { patchSize, field, place, board } = this;
    const count = SIDE / patchSize;
    const [top, left] = place.map((at) => at * patchSize);
    const frame = (context, size) => {
      const scale = size / SIDE;
      frameAround(context, size, top * scale, left * scale, patchSize * scale);
    };
    const dimmed = this.pixels.map(
      (value, i) => value * (field.reads[Math.floor(i / CHANNELS)] ? 1 : DIM),
    );
    Object.assign(board, { count, place });
    board.draw((context, size) => {
      paintPicture(context, size, dimmed, SIDE);
      paintGrid(context, size, count);
      paintOutline(context, size, field.reads, SIDE);
      paintWindows(context, size, field.windows, patchSize, SIDE);
      frame(context, size);
    });
    const index = place[0] * count + place[1];
    const length = patchSize ** 2 * CHANNELS;
    for (const { whole, patch, pixels, patches, content } of this.layers) {
      const picture = prepare(whole, SMALL);
      paintPicture(picture, SMALL, pixels, SIDE);
      paintPadding(picture, SMALL, content, SIDE);
      paintGrid(picture, SMALL, count);
      frame(picture, SMALL);
      const part = prepare(patch, SMALL);
      const own = patches.subarray(index * length, (index + 1) * length);
      paintPicture(part, SMALL, own, patchSize);
      const within = {
        top: content.top - top,
        left: content.left - left,
        side: SIDE,
      };
      paintPadding(part, SMALL, within, patchSize);
    }
  }

  /** What the numbers of the token are: three counts and their sum. */
  numbers() {
    const all = this.patchSize ** 2 * CHANNELS * this.layers.length;
    const pixels = this.field.seen * CHANNELS;
    const padding = this.field.padding * CHANNELS;
    return { all, pixels, again: all - pixels - padding, padding };
  }

  count() {
    const size = this.patchSize;
    const side = SIDE / size;
    const pictures = this.layers.length;
    const { all, ...parts } = this.numbers();
    const factors =
      `${size} x ${size} x ${CHANNELS} channels` +
      (pictures > 1 ? ` x ${pictures} pictures` : "");
    const rows = [
      [[`Tokens, ${side} x ${side}`], side ** 2],
      [["Pixels seen"], this.field.seen],
      [["Numbers per token", make("small.live-note", {}, factors)], all],
    ];
    if (pictures > 1) {
      for (const [part, name] of Object.entries(PARTS)) {
        const swatch = make(`span.live-swatch.live-${part}`);
        rows.push([[swatch, name], parts[part]]);
      }
    }
    this.counts.replaceChildren(
      ...rows.map(([name, number]) => {
        const head = make("th", { scope: "row" }, ...name);
        return make("tr", {}, head, make("td", {}, figures(number)));
      }),
    );
    this.bar.hidden = pictures === 1;
    this.bar.replaceChildren(
      ...Object.entries(parts).map(([name, numbers]) => {
        const part = make(`span.live-${name}`);
        part.style.flexGrow = numbers;
        return part;
      }),
    );
  }

  announce() {
    const [row, column] = this.place.map((at) => at + 1);
    const { all, padding } = this.numbers();
    const sees = `Row ${row}, column ${column}: the token sees ${plural(
      this.field.seen,
      "pixel",
    )}.`;
    const rest = padding
      ? ` ${figures(padding)} of its ${figures(all)} numbers are padding.`
      : "";
    this.status.textContent = sees + rest;
  }
}

/** A frame around a patch, which stays within the drawing. */
function frameAround(context, size, top, left, side) {
  const [x, y] = [left, top].map((at) => Math.max(at - 2, 0));
  const [right, bottom] = [left, top].map((at) => Math.min(at + side + 2, size));
  paintFrame(context, x, y, right - x, bottom - y);
}

function greatestDivisor(a, b) {
  return b ? greatestDivisor(b, a % b) : a;
}

function figures(number) {
  return number.toLocaleString("en-GB");
}

function plural(number, noun) {
  return `${figures(number)} ${noun}${number === 1 ? "" : "s"}`;
}
