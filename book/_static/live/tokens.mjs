/*
 * Live figure: four tokens to drag, and the attention among them. A token is
 * its own query and key, as in chapter 3.
 */
import { make, slider } from "./dom.mjs";
import { viridis, prepare } from "./draw.mjs";
import { entropy, shares } from "./numbers.mjs";

/** The chapter's four tokens and its temperature. */
const TOKENS = [
  [3, 0],
  [0, 2],
  [1, 1],
  [-2, 1],
];
const POWER = 1;
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];
const INKS = ["#fff", "#000", "#000", "#000"];
/** The plane reaches so far from the origin. */
const REACH = 4;
const SIZE = 320;
/** What a token moves by a key, and what a pointer's place is rounded to. */
const STEP = 0.25;
const ROUND = 0.1;
const STEPS = {
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
};
const PAUSE = 500;

/** Build the figure in an empty element. */
export async function start(figure) {
  new Tokens(figure).begin();
}

/**
 * Scores, weights and entropies of tokens that attend to each other.
 *
 * @param {number[][]} tokens each its own query and key
 * @param {number} tau the temperature
 * @param {boolean} masked whether no token may look at itself
 * @returns {{scores: number[][], weights: number[][], entropies: number[]}}
 */
export function attention(tokens, tau, masked) {
  const scores = tokens.map((query, i) =>
    tokens.map((key, j) =>
      masked && i === j
        ? -Infinity
        : query.reduce((sum, value, at) => sum + value * key[at], 0),
    ),
  );
  const weights = scores.map((row) => shares(row.map((score) => score / tau)));
  return { scores, weights, entropies: weights.map(entropy) };
}

class Tokens {
  tokens = TOKENS.map((token) => [...token]);
  chosen = 1;
  tau = 2 ** POWER;
  masked = false;

  constructor(figure) {
    this.figure = figure;
    this.plane = make("canvas.live-plane", {
      role: "img",
      "aria-label":
        "The four tokens as points; lines from the chosen one to those that " +
        "it attends to, the thicker the more.",
    });
    this.handles = this.tokens.map((_, i) => this.handle(i));
    this.scores = make("tbody");
    this.weights = make("tbody");
    this.status = make("p.live-note.live-says", { role: "status" });
  }

  begin() {
    const powers = { min: -2, max: 5, step: 0.25, value: POWER };
    const mask = make("input", {
      type: "checkbox",
      onchange: () => this.set({ masked: mask.checked }),
    });
    this.temperature = slider(
      "Temperature",
      powers,
      (power) => this.number(2 ** power),
      (power) => this.set({ tau: 2 ** power }),
    );
    this.figure.classList.add("live-tokens");
    this.figure.setAttribute("aria-label", "Four tokens that attend");
    this.figure.append(
      make(
        "div.live-main",
        {},
        make(
          "div",
          {},
          make("div.live-stage", {}, this.plane, ...this.handles),
          make("p.live-note.live-hint", {}, "Drag a token, or use arrow keys."),
        ),
        make(
          "div",
          {},
          this.table("Scores", this.scores, []),
          this.table("Weights", this.weights, ["entropy"]),
        ),
      ),
      make(
        "div.live-controls",
        {},
        this.temperature.element,
        make("label.live-check", {}, mask, "Mask the diagonal"),
        make(
          "button.live-quiet",
          {
            type: "button",
            onclick: () => {
              mask.checked = false;
              this.temperature.set(powers);
              const tokens = TOKENS.map((token) => [...token]);
              this.set({ tokens, tau: 2 ** POWER, masked: false, chosen: 1 });
            },
          },
          "The chapter's tokens again",
        ),
      ),
      this.status,
    );
    this.draw();
    this.announce();
  }

  /** A table of the tokens against each other, with a row for each that looks. */
  table(name, body, more) {
    const heads = [...this.tokens.keys(), ...more].map((text) =>
      make("th", { scope: "col" }, `${text}`),
    );
    const corner = make("th", { scope: "col" }, name);
    return make(
      "table",
      { "aria-label": name },
      make("thead", {}, make("tr", {}, corner, ...heads)),
      body,
    );
  }

  /** What a token is taken by. */
  handle(i) {
    const handle = make("button.live-handle", {
      type: "button",
      role: "application",
      textContent: `${i}`,
      onfocus: () => this.set({ chosen: i }),
      onkeydown: (event) => {
        if (event.altKey || event.ctrlKey || event.metaKey) return;
        if (!(event.key in STEPS)) return;
        event.preventDefault();
        const to = this.tokens[i].map((at, c) => at + STEP * STEPS[event.key][c]);
        this.move(i, to, STEP);
      },
      onpointerdown: (event) => {
        handle.setPointerCapture(event.pointerId);
        this.set({ chosen: i });
      },
      onpointermove: (event) => {
        if (!handle.hasPointerCapture(event.pointerId)) return;
        const box = this.plane.getBoundingClientRect();
        const right = (event.clientX - box.left) / box.width;
        const down = (event.clientY - box.top) / box.height;
        const to = [right, 1 - down].map((part) => (2 * part - 1) * REACH);
        this.move(i, to, ROUND);
      },
    });
    Object.assign(handle.style, { background: COLOURS[i], color: INKS[i] });
    return handle;
  }

  /** Put a token somewhere in the plane, on a multiple of a step. */
  move(i, to, step) {
    this.tokens[i] = to.map((at) => {
      const within = Math.min(Math.max(at, -REACH), REACH);
      return Number((Math.round(within / step) * step).toFixed(2)) + 0;
    });
    this.set({ chosen: i });
  }

  set(changes) {
    Object.assign(this, changes);
    this.draw();
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.announce(), PAUSE);
  }

  draw() {
    this.now = attention(this.tokens, this.tau, this.masked);
    this.drawPlane();
    const largest = Math.max(
      ...this.now.scores.flat().filter(Number.isFinite).map(Math.abs),
      1e-9,
    );
    const rows = (table, cell, more = () => []) =>
      table.map((row, i) => {
        const head = make("th", { scope: "row" }, `token ${i}`);
        const cells = row.map((value) => cell(value));
        const element = make("tr", {}, head, ...cells, ...more(i));
        element.classList.toggle("live-chosen", i === this.chosen);
        return element;
      });
    this.scores.replaceChildren(
      ...rows(this.now.scores, (score) => {
        const finite = Number.isFinite(score);
        const cell = make("td", {}, finite ? this.number(score) : "−∞");
        const part = finite ? Math.abs(score) / largest : 0;
        const hue = score < 0 ? "213 94 0" : "0 114 178";
        cell.style.background = `rgb(${hue} / ${0.35 * part})`;
        return cell;
      }),
    );
    this.weights.replaceChildren(
      ...rows(
        this.now.weights,
        (weight) => {
          const cell = make("td", {}, weight.toFixed(2));
          const colour = viridis(weight);
          cell.style.background = `rgb(${colour.join(" ")})`;
          cell.style.color = inkOn(colour);
          return cell;
        },
        (i) => [make("td", {}, this.now.entropies[i].toFixed(2))],
      ),
    );
  }

  drawPlane() {
    const context = prepare(this.plane, SIZE);
    const unit = SIZE / (2 * REACH);
    const point = ([x, y]) => [(x + REACH) * unit, (REACH - y) * unit];
    context.lineWidth = 1;
    for (let i = 0; i <= 2 * REACH; i++) {
      context.strokeStyle = `rgb(128 128 128 / ${i === REACH ? 0.8 : 0.25})`;
      context.beginPath();
      context.moveTo(i * unit, 0);
      context.lineTo(i * unit, SIZE);
      context.moveTo(0, i * unit);
      context.lineTo(SIZE, i * unit);
      context.stroke();
    }
    const line = (from, to, colour, width) => {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      context.moveTo(...point(from));
      context.lineTo(...point(to));
      context.stroke();
    };
    this.tokens.forEach((token, i) => line([0, 0], token, COLOURS[i], 1.5));
    const from = this.tokens[this.chosen];
    context.lineCap = "round";
    this.now.weights[this.chosen].forEach((weight, j) => {
      if (j !== this.chosen) {
        line(from, this.tokens[j], "rgb(128 128 128 / 0.65)", 16 * weight);
        return;
      }
      context.fillStyle = "rgb(128 128 128 / 0.65)";
      context.beginPath();
      context.arc(...point(from), 14 + 8 * weight, 0, 2 * Math.PI);
      if (weight > 0) context.fill();
    });
    this.handles.forEach((handle, i) => {
      const [x, y] = point(this.tokens[i]);
      handle.style.left = `${(100 * x) / SIZE}%`;
      handle.style.top = `${(100 * y) / SIZE}%`;
      handle.setAttribute("aria-current", i === this.chosen);
      const place = this.tokens[i].map((at) => this.number(at)).join(", ");
      handle.setAttribute(
        "aria-label",
        `Token ${i} at ${place}. The arrow keys move it.`,
      );
    });
  }

  announce() {
    const row = this.now.weights[this.chosen];
    const favourite = row.indexOf(Math.max(...row));
    const whom = favourite === this.chosen ? "itself" : `token ${favourite}`;
    const mean = this.now.entropies.reduce((sum, each) => sum + each, 0) / 4;
    this.status.textContent =
      `Token ${this.chosen} attends most to ${whom}, ` +
      `${Math.round(100 * row[favourite])} %. The mean entropy is ` +
      `${mean.toFixed(2)} of at most ${Math.log(this.masked ? 3 : 4).toFixed(2)}.`;
  }

  /** A number in few digits, with a true minus. */
  number(value) {
    return `${Number(value.toFixed(2))}`.replace("-", "−");
  }
}

/** Black or white, whichever stands out more from a colour (WCAG 2.2). */
function inkOn(colour) {
  const linear = colour.map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  const [red, green, blue] = linear;
  const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return luminance > 0.179 ? "#000" : "#fff";
}
