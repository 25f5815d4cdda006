/*
 * Live figure: the patches of a picture, its shifted copies, and what one
 * token sees of them. Nothing of the picture leaves the page.
 */
import { makeBoard } from "./board.mjs";
import { chooser, make, slider } from "./dom.mjs";
import {
  drawingOf,
  paintEdge,
  paintGrid,
  paintPadding,
  paintSpotlight,
  prepare,
} from "./draw.mjs";
import { areasOf, fieldOf, shiftOf, windowsOf } from "./field.mjs";
import { picturePicker, resize } from "./pictures.mjs";
import { ALL_DIRECTIONS, CARDINAL, DIAGONAL, OFFSETS } from "./pixels.mjs";

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
/** Of the patch, and of each direction's window and crop: Okabe and Ito's. */
const BLUE = "#0072b2";
const COLOURS = {
  "left-up": "#d55e00",
  "left-down": "#e69f00",
  "right-up": "#009e73",
  "right-down": "#cc79a7",
  left: "#56b4e9",
  right: "#f0e442",
  up: "#8c6d31",
  down: "#999999",
};
/** Chapter 1 knows no shifts yet. */
const PATCHES_ONLY = "live-patches-1";
/** A patch of sky at the roof's edge. */
const EDGE = [2, 4];
/** Side of the board, and milliseconds that the copies take to slide out. */
const BOARD = 480;
const SLIDE = 2400;
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
  const part = directions === "none" ? [1, 2] : [0, 1];
  await new Explorer(figure, directions, part).begin();
}

class Explorer {
  /** Grey until there is a picture. */
  pixels = new Float32Array(SIDE * SIDE * CHANNELS).fill(128);
  patchSize = 6;
  place = EDGE;
  /** The shift while the copies slide, in pixels; else null. */
  sliding = null;

  /** `part` is the shift as a part of the patch: so many pixels of so many. */
  constructor(figure, directions, part) {
    Object.assign(this, { figure, directions, part });
    this.board = makeBoard("The pixels that a token sees", (...at) =>
      this.move(at),
    );
    this.shift = slider(
      "Shift",
      this.range(),
      (pixels) => this.partInWords(pixels),
      (pixels) => this.set({ part: [pixels, this.patchSize] }),
    );
    this.board.size = BOARD;
    this.play = make(
      "button.live-quiet",
      { type: "button", onclick: () => this.slideOut() },
      "Play: slide the copies out",
    );
    this.big = make("p.live-big", { "aria-hidden": "true" });
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
          this.big,
          this.play,
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
    cancelAnimationFrame(this.next);
    this.sliding = null;
    Object.assign(this, changes);
    const { names } = DIRECTIONS[this.directions];
    this.shift.element.hidden = names.length === 0;
    this.play.hidden = this.big.hidden = names.length === 0;
    this.shift.set(this.range());
    this.setting = {
      side: SIDE,
      patchSize: this.patchSize,
      shift: shiftOf(this.patchSize, this.part),
      directions: names,
    };
    this.drawing = drawingOf(this.pixels, SIDE);
    this.layers = ["original", ...names].map((name) => this.layer(name));
    this.legend.textContent = LEGENDS[names.length ? "several" : "one"];
    this.copies.replaceChildren(
      this.legend,
      ...this.layers.map(({ element }) => element),
    );
    this.update();
  }

  /** Let the copies slide from the patch's place to half a patch away. */
  slideOut() {
    const part = [1, 2];
    const end = shiftOf(this.patchSize, part);
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.set({ part });
      return;
    }
    this.set({ part: [0, 1] });
    let begun;
    const step = (now) => {
      begun ??= now;
      const done = Math.min((now - begun) / SLIDE, 1);
      if (done === 1) {
        this.set({ part });
        return;
      }
      this.sliding = end * done * done * (3 - 2 * done);
      this.shift.set({ ...this.range(), value: Math.floor(this.sliding) });
      this.update();
      this.next = requestAnimationFrame(step);
    };
    this.next = requestAnimationFrame(step);
  }

  move(place) {
    this.place = place;
    this.update();
  }

  update() {
    const { setting, place, sliding } = this;
    this.field = fieldOf(setting, ...place);
    if (sliding !== null) {
      const windows = windowsOf({ ...setting, shift: sliding }, ...place);
      Object.assign(this.field, { windows });
      Object.assign(this.field, areasOf(windows, setting.patchSize, SIDE));
    }
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

  /** The picture or a copy of it, and its drawings. */
  layer(name) {
    const drawing = (label) =>
      make("canvas", { role: "img", "aria-label": label });
    const whole = drawing(`${name}, with the patch framed`);
    const patch = drawing(`The patch in ${name}, enlarged`);
    const colour = COLOURS[name] ?? BLUE;
    patch.style.borderColor = colour;
    const caption = make("figcaption", {}, name);
    return {
      whole,
      patch,
      colour,
      element: make("figure", {}, caption, whole, patch),
    };
  }

  draw() {
    const { patchSize, place, board, drawing } = this;
    const { windows } = this.field;
    const count = SIDE / patchSize;
    const [top, left] = place.map((at) => at * patchSize);
    const outline = (context, size, window, colour, width) => {
      const scale = size / SIDE;
      const [x, y] = [window.left * scale, window.top * scale];
      paintEdge(context, x, y, patchSize * scale, colour, width);
    };
    Object.assign(board, { count, place });
    board.draw((context, size) => {
      paintSpotlight(context, size, drawing, DIM, windows, patchSize, SIDE);
      paintGrid(context, size, count);
      windows.forEach((window, i) => {
        if (i) outline(context, size, window, this.layers[i].colour, 2);
      });
      outline(context, size, windows[0], BLUE, 3);
    });
    this.layers.forEach(({ whole, patch, colour }, i) => {
      // The copy's content moved against its window.
      const content = {
        top: top - windows[i].top,
        left: left - windows[i].left,
        side: SIDE,
      };
      const picture = prepare(whole, SMALL);
      paintMoved(picture, SMALL, drawing, content, SIDE);
      paintGrid(picture, SMALL, count);
      outline(picture, SMALL, { top, left }, colour, 2.5);
      const part = prepare(patch, SMALL);
      const within = {
        top: -windows[i].top,
        left: -windows[i].left,
        side: SIDE,
      };
      paintMoved(part, SMALL, drawing, within, patchSize);
    });
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
    const { all, ...exact } = this.numbers();
    const parts = Object.fromEntries(
      Object.entries(exact).map(([name, number]) => [name, Math.abs(Math.round(number))]),
    );
    const seen = Math.round(this.field.seen);
    this.big.textContent = plural(seen, "pixel");
    const factors =
      `${size} x ${size} x ${CHANNELS} channels` +
      (pictures > 1 ? ` x ${pictures} pictures` : "");
    const rows = [
      [[`Tokens, ${side} x ${side}`], side ** 2],
      [["Pixels seen"], seen],
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
    if (this.sliding !== null) return;
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

/** A moved picture, as much of it as a square shows; the rest is hatched. */
function paintMoved(context, size, drawing, content, side) {
  const scale = size / side;
  const [x, y, length] = [content.left, content.top, content.side].map(
    (pixels) => pixels * scale,
  );
  context.imageSmoothingEnabled = false;
  context.drawImage(drawing, x, y, length, length);
  paintPadding(context, size, content, side);
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
