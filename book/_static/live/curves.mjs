/*
 * Live figure: what to expect of a number of images. All numbers are the
 * records', as the page's build wrote them beside the chart.
 */
import { chooser, make, slider } from "./dom.mjs";

const SVG = "http://www.w3.org/2000/svg";
const DATA = "live-curves-data";
/** The slider's numbers in each decade. */
const STOPS = [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9];
const HEIGHT = 320;
const MARGIN = { top: 16, right: 12, bottom: 44, left: 40 };
/** Between two names, in pixels, and half the width of an interval's caps. */
const LINE = 16;
const CAP = 4;
const DASHES = { pretrained: "8 3 2 3", sl: "7 4", cnn: "2 4" };
/** Milliseconds without a change before it is announced. */
const PAUSE = 300;

/** Build the figure in an empty element. */
export async function start(figure) {
  const text = document.getElementById(DATA)?.textContent;
  if (!text) throw new Error("The page has no numbers for it.");
  new Curves(figure, JSON.parse(text)).begin();
}

/**
 * The expected accuracy in per cent, between measured numbers linear in
 * the number's logarithm.
 *
 * @param {{images: number, mean: number}[]} points in order
 * @param {number} images
 * @returns {{mean: number, point: ?Object, between: ?Object[]}|null} null
 *     outside the measured numbers
 */
export function expectation(points, images) {
  const point = points.find((each) => each.images === images);
  if (point) return { mean: point.mean, point };
  const next = points.findIndex((each) => each.images > images);
  if (next < 1) return null;
  const [a, b] = [points[next - 1], points[next]];
  const part = Math.log(images / a.images) / Math.log(b.images / a.images);
  return { mean: a.mean + part * (b.mean - a.mean), between: [a, b] };
}

/** The numbers that the slider can take, the measured ones among them. */
export function stops([first, last], measured) {
  const found = new Set([first, last, ...measured]);
  for (let decade = 1; decade <= last; decade *= 10) {
    for (const stop of STOPS) found.add(Math.round(stop * decade));
  }
  return [...found]
    .filter((stop) => stop >= first && stop <= last)
    .sort((a, b) => a - b);
}

class Curves {
  constructor(figure, data) {
    Object.assign(this, { figure, data });
    this.budget = data.budgets[0];
    const all = data.budgets.flatMap(({ curves }) => curves);
    this.stops = stops(
      data.range,
      all.flatMap(({ points }) => points.map(({ images }) => images)),
    );
    const means = all.flatMap(({ points }) =>
      points.map(({ mean, half }) => mean + (half ?? 0)),
    );
    this.top = Math.ceil(Math.max(...means) / 10) * 10;
    this.at = this.stops.indexOf(data.first);
    this.slider = slider(
      "Images",
      this.range(),
      (at) => figures(this.stops[at]),
      (at) => this.move(at),
    );
    this.svg = shape("svg", { role: "img", height: HEIGHT });
    this.note = make("p.live-note");
    this.head = make("p.live-name");
    this.rows = make("tbody");
    this.status = make("p.live-says", { role: "status" });
  }

  get images() {
    return this.stops[this.at];
  }

  range() {
    return { min: 0, max: this.stops.length - 1, step: 1, value: this.at };
  }

  begin() {
    const titles = this.data.budgets.map(({ key, title }) => [key, title]);
    this.figure.classList.add("live-curves");
    this.figure.setAttribute("aria-label", "What to expect of N images");
    const heads = ["model", "test top-1", "minutes, recipe"];
    this.figure.append(
      make("p.live-title", {}, "How many images have you?"),
      make(
        "div.live-controls",
        {},
        this.slider.element,
        chooser("Trained", Object.fromEntries(titles), this.budget.key, (key) =>
          this.choose(key),
        ),
      ),
      this.status,
      this.svg,
      this.head,
      make(
        "table",
        { "aria-label": "Expected accuracy" },
        make(
          "thead",
          {},
          make(
            "tr",
            {},
            ...heads.map((name) => make("th", { scope: "col" }, name)),
          ),
        ),
        this.rows,
      ),
      this.note,
    );
    this.svg.addEventListener("pointerdown", (event) => {
      this.svg.setPointerCapture(event.pointerId);
      this.point(event);
    });
    this.svg.addEventListener("pointermove", (event) => {
      if (this.svg.hasPointerCapture(event.pointerId)) this.point(event);
    });
    new ResizeObserver(() => this.draw()).observe(this.svg);
    this.choose(this.budget.key);
    this.announce();
  }

  choose(key) {
    this.budget = this.data.budgets.find((budget) => budget.key === key);
    this.note.textContent =
      `${this.budget.note} CIFAR-100, tested on 10,000 pictures. The bars ` +
      "are 95 % intervals of the mean over the runs; one run has none.";
    this.update();
  }

  /** Move to the stop that is nearest to a pointer. */
  point({ clientX }) {
    const left = clientX - this.svg.getBoundingClientRect().left;
    const distance = (stop) => Math.abs(this.x(stop) - left);
    const nearest = this.stops.reduce((a, b) =>
      distance(b) < distance(a) ? b : a,
    );
    this.move(this.stops.indexOf(nearest));
    this.slider.set(this.range());
  }

  move(at) {
    this.at = at;
    this.update();
  }

  update() {
    this.list();
    this.draw();
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.announce(), PAUSE);
  }

  /** The expected accuracies, a row a curve. */
  list() {
    this.head.textContent = `Expected with ${figures(this.images)} images`;
    this.rows.replaceChildren(
      ...this.budget.curves.map(({ key, title, points }) => {
        const swatch = make(`span.live-swatch.live-is-${key}`);
        const [top1, how] = inWords(expectation(points, this.images));
        return make(
          "tr",
          {},
          make("th", { scope: "row" }, swatch, title),
          make("td", {}, top1),
          make("td", {}, how),
        );
      }),
    );
  }

  x(images) {
    const [first, last] = this.data.range;
    const width = this.width - MARGIN.left - MARGIN.right;
    return MARGIN.left + (width * Math.log(images / first)) / Math.log(last / first);
  }

  y(mean) {
    const height = HEIGHT - MARGIN.top - MARGIN.bottom;
    return HEIGHT - MARGIN.bottom - (height * mean) / this.top;
  }

  draw() {
    this.width = this.svg.clientWidth;
    if (!this.width) return;
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.svg.setAttribute(
      "aria-label",
      "Test top-1 over the number of images, a mark at " +
        `${figures(this.images)}: the table below has its numbers`,
    );
    this.svg.replaceChildren(
      ...this.axes(),
      this.mark(),
      ...this.budget.curves.flatMap((curve) => this.curve(curve)),
      ...this.names(),
    );
  }

  axes() {
    const bottom = HEIGHT - MARGIN.bottom;
    const right = this.width - MARGIN.right;
    const found = [];
    for (let mean = 0; mean <= this.top; mean += 20) {
      const y = this.y(mean);
      found.push(
        line(MARGIN.left, y, right, y, "live-grid"),
        words(MARGIN.left - 6, y + 4, mean === 0 ? "0 %" : mean, "end"),
      );
    }
    const narrow = this.width < 420;
    for (const tick of Object.keys(this.budget.advice).map(Number)) {
      const x = this.x(tick);
      found.push(line(x, bottom, x, bottom + 4, "live-axis"));
      if (narrow && !String(tick).startsWith("5")) continue;
      found.push(words(x, bottom + 18, figures(tick), "middle"));
    }
    const middle = (MARGIN.left + right) / 2;
    return [...found, words(middle, HEIGHT - 6, "images", "middle")];
  }

  /** A line at the chosen number, with a handle. */
  mark() {
    const x = this.x(this.images);
    const bottom = HEIGHT - MARGIN.bottom;
    const group = shape("g", { class: "live-mark" });
    group.append(
      line(x, MARGIN.top, x, bottom),
      shape("circle", { cx: x, cy: bottom, r: 8 }),
    );
    return group;
  }

  /** Line, intervals, points, and where the mark meets the line. */
  curve({ key, points }) {
    const group = shape("g", { class: `live-curve live-is-${key}` });
    const places = points.map((p) => `${this.x(p.images)},${this.y(p.mean)}`);
    group.append(
      shape("polyline", {
        points: places.join(" "),
        "stroke-dasharray": DASHES[key] ?? "",
      }),
    );
    for (const { images, mean, half } of points) {
      const [x, y] = [this.x(images), this.y(mean)];
      group.append(shape("circle", { cx: x, cy: y, r: 3.5 }));
      if (half === null) continue;
      const [high, low] = [this.y(mean + half), this.y(Math.max(mean - half, 0))];
      group.append(
        line(x, high, x, low),
        line(x - CAP, high, x + CAP, high),
        line(x - CAP, low, x + CAP, low),
      );
    }
    const found = expectation(points, this.images);
    if (found) {
      const [cx, cy] = [this.x(this.images), this.y(found.mean)];
      group.append(shape("circle", { cx, cy, r: 7, class: "live-here" }));
    }
    return [group];
  }

  /**
   * The pretrained curve's name at its beginning. The others begin and end
   * close together: their names stand in the corner that all leave free.
   */
  names() {
    const right = this.width - MARGIN.right;
    const bottom = HEIGHT - MARGIN.bottom - 12;
    const name = (x, y, { key, title }, anchor) =>
      words(x, y, title, anchor, `live-curve-name live-is-${key}`);
    const apart = this.budget.curves.find(({ key }) => key === "pretrained");
    const others = this.budget.curves.filter((curve) => curve !== apart);
    const found = others
      .reverse()
      .map((curve, i) => name(right, bottom - i * LINE, curve, "end"));
    if (apart) {
      const { images, mean } = apart.points[0];
      const x = this.x(images) - 4;
      found.push(name(x, this.y(mean) + LINE + 8, apart, "start"));
    }
    return found;
  }

  announce() {
    const { images, budget } = this;
    const sizes = Object.keys(budget.advice).map(Number);
    const [first, last] = [sizes[0], sizes.at(-1)];
    const nearest = sizes.reduce((a, b) =>
      Math.abs(Math.log(b / images)) < Math.abs(Math.log(a / images)) ? b : a,
    );
    const advice = budget.advice[nearest];
    let sentence = advice;
    if (images < first || images > last) {
      const [side, end] = images < first ? ["below", first] : ["above", last];
      sentence =
        `We have no runs ${side} ${figures(end)} images and do not ` +
        `extrapolate. The nearest that we have: ${advice}`;
    } else if (images !== nearest) {
      sentence =
        `${figures(images)} images were not trained on: the accuracies are ` +
        `interpolated. The nearest that we have: ${advice}`;
    }
    this.status.textContent = sentence;
  }
}

/** What is expected, and how long what recipe took. */
function inWords(found) {
  if (!found) return ["not measured", ""];
  const { mean, point, between } = found;
  if (between) {
    const [a, b] = between.map(({ images }) => figures(images));
    return [`about ${mean.toFixed(1)} %`, `interpolated, ${a} to ${b}`];
  }
  return [point.top1, `${point.took}, ${point.recipe}`];
}

function shape(tag, settings) {
  const element = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(settings)) {
    element.setAttribute(key, value);
  }
  return element;
}

function line(x1, y1, x2, y2, name = "") {
  return shape("line", { x1, y1, x2, y2, class: name });
}

function words(x, y, text, anchor, name = "") {
  const element = shape("text", { x, y, "text-anchor": anchor, class: name });
  element.textContent = text;
  return element;
}

function figures(number) {
  return number.toLocaleString("en-GB");
}
