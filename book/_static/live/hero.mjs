/*
 * Live figure of the first page: the patch of one token, the four windows that
 * its shifted copies show, and the five crops that the token is made of.
 *
 * It moves by itself until the reader moves it.
 */
import { make } from "./dom.mjs";
import { makeBoard } from "./board.mjs";
import { paintPadding, prepare } from "./draw.mjs";
import { DIAGONAL, OFFSETS } from "./pixels.mjs";

const PICTURE = new URL("./pictures/large/pavilion.webp", import.meta.url);
/** Patches on a side, and where the tour goes, as [row, column]. */
const COUNT = 6;
const TOUR = [
  [1, 2],
  [1, 3],
  [2, 3],
  [3, 3],
  [3, 2],
  [4, 2],
  [4, 3],
  [2, 1],
  [0, 2],
];
/** Milliseconds at each place, and of the way to most of it. */
const STAY = 1700;
/** Milliseconds without a move, after which a screen reader hears the place. */
const PAUSE = 500;
const GLIDE = { tour: 260, reader: 70 };
/** Sides of the drawings, in CSS pixels; the page scales them down. */
const SIZE = 480;
const CROP = 96;
const BLUE = "#0072b2";
const ORANGE = "#d55e00";

/** Build the figure in an empty element. */
export async function start(figure) {
  const photo = new Image();
  photo.src = PICTURE;
  await photo.decode().catch(() => {
    throw new Error("Its photograph could not be loaded.");
  });
  new Hero(figure, photo).begin();
}

class Hero {
  /** Where the patch is, and where it goes. */
  at = [...TOUR[0]];
  target = [...TOUR[0]];
  stop = 0;
  playing = false;
  seen = false;

  constructor(figure, photo) {
    Object.assign(this, { figure, photo });
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    const take = (place) => this.take(place);
    this.board = makeBoard(
      "A photograph and the pixels that one token sees",
      (...place) => take(place),
      (place) => place && take(place),
    );
    Object.assign(this.board, { count: COUNT, size: SIZE });
    this.crops = ["the patch", ...DIAGONAL].map((name) =>
      make("canvas", { role: "img", "aria-label": `The token's crop: ${name}` }),
    );
    this.status = make("p.live-hidden", { role: "status" });
    this.button = make("button.live-play", {
      type: "button",
      onclick: () => this.play(!this.playing),
    });
  }

  begin() {
    const { board, figure } = this;
    figure.classList.add("live-hero");
    figure.setAttribute("aria-label", "Shifted Patch Tokenization");
    figure.append(
      make("div.live-stage", {}, board.element, this.button),
      make("div.live-crops", {}, ...this.crops),
      this.status,
    );
    const follow = (event) => {
      if (event.pointerType === "mouse") return; // the board tells
      const box = board.element.getBoundingClientRect();
      const on = (at, side) =>
        Math.min(Math.max(Math.floor((at / side) * COUNT), 0), COUNT - 1);
      this.take([
        on(event.clientY - box.top, box.height),
        on(event.clientX - box.left, box.width),
      ]);
    };
    board.element.addEventListener("pointerdown", follow);
    board.element.addEventListener("pointermove", follow);
    this.draw();
    this.play(!this.still.matches);
    new IntersectionObserver(([{ isIntersecting }]) => {
      this.seen = isIntersecting;
      this.wake();
    }).observe(figure);
    document.addEventListener("visibilitychange", () => this.wake());
  }

  /** The reader moves the patch: the tour is over. */
  take(place) {
    this.play(false);
    this.go(place);
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.announce(), PAUSE);
  }

  announce() {
    const [row, column] = this.board.place.map((at) => at + 1);
    this.status.textContent =
      `The patch in row ${row}, column ${column} of ${COUNT}, ` +
      "and the same place in four shifted copies.";
  }

  play(playing) {
    this.playing = playing;
    this.button.textContent = playing ? "Pause" : "Play";
    this.arrived = performance.now();
    this.wake();
  }

  go(place) {
    this.target = place;
    this.board.place = place;
    if (this.still.matches) {
      this.at = [...place];
      this.draw();
    } else this.wake();
  }

  /** Go on drawing, if there is anything to draw and anyone to see it. */
  wake() {
    if (this.frame || !this.seen || document.hidden) return;
    this.frame = requestAnimationFrame((now) => this.tick(now, now));
  }

  tick(now, before) {
    this.frame = 0;
    if (!this.seen || document.hidden) return;
    if (this.playing && now - this.arrived > STAY) {
      this.arrived = now;
      this.stop = (this.stop + 1) % TOUR.length;
      this.target = this.board.place = [...TOUR[this.stop]];
    }
    const way = this.target.map((to, i) => to - this.at[i]);
    const rest = Math.hypot(...way);
    if (rest > 0) {
      const glide = GLIDE[this.playing ? "tour" : "reader"];
      const part = rest < 0.004 ? 1 : 1 - Math.exp((before - now) / glide);
      this.at = this.at.map((at, i) => at + way[i] * part);
      this.draw();
    }
    if (rest === 0 && !this.playing) return;
    this.frame = requestAnimationFrame((next) => this.tick(next, now));
  }

  draw() {
    const cell = SIZE / COUNT;
    const [top, left] = this.at.map((at) => at * cell);
    // Where the content moves up, the window sees what is below.
    const windows = DIAGONAL.map((name) =>
      OFFSETS[name].map((steps, i) => [top, left][i] - (steps * cell) / 2),
    );
    this.board.draw((context, size) => {
      context.imageSmoothingQuality = "high";
      context.drawImage(this.photo, 0, 0, size, size);
      context.strokeStyle = "rgb(255 255 255 / 0.55)";
      context.lineWidth = 1;
      context.beginPath();
      for (let i = 1; i < COUNT; i++) {
        context.moveTo(i * cell, 0);
        context.lineTo(i * cell, size);
        context.moveTo(0, i * cell);
        context.lineTo(size, i * cell);
      }
      context.stroke();
      for (const [y, x] of windows) {
        square(context, [x, y, cell], "#fff", 4);
        square(context, [x, y, cell], ORANGE, 2.5, [8, 3]);
      }
      square(context, [left, top, cell], "#fff", 7);
      square(context, [left, top, cell], BLUE, 4.5);
    });
    const pixels = this.photo.naturalWidth / SIZE;
    [[top, left], ...windows].forEach(([y, x], i) => {
      const context = prepare(this.crops[i], CROP);
      const side = cell * pixels;
      const scale = CROP / side;
      context.drawImage(
        this.photo,
        -x * pixels * scale,
        -y * pixels * scale,
        SIZE * pixels * scale,
        SIZE * pixels * scale,
      );
      const content = { top: -y, left: -x, side: SIZE };
      paintPadding(context, CROP, content, cell);
      const line = i ? 6 : 9;
      context.strokeStyle = i ? ORANGE : BLUE;
      context.lineWidth = line;
      context.strokeRect(line / 2, line / 2, CROP - line, CROP - line);
    });
  }
}

/** The outline of a square, dashed or not. */
function square(context, [x, y, side], colour, width, dash = []) {
  context.setLineDash(dash);
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.strokeRect(x, y, side, side);
  context.setLineDash([]);
}
