/*
 * Live figure: where two trained models look in a picture, and what they say.
 *
 * The stored answer to the first picture is drawn at once. The models come
 * when the reader comes near; then every change runs them, in the page.
 * Nothing of the picture leaves it.
 */
import { makeBoard } from "./board.mjs";
import { loadModel } from "./client.mjs";
import { chooser, make, slider } from "./dom.mjs";
import {
  drawingOf,
  paintCover,
  paintFrame,
  paintLink,
  paintMap,
  paintPicture,
  prepare,
} from "./draw.mjs";
import { picturePicker, resize } from "./pictures.mjs";
import { entropy, ranking, shares } from "./numbers.mjs";
import { readView, viewAddress } from "./view.mjs";

const MODELS = new URL("./models/models.json", import.meta.url);
const FIRST = new URL("./models/first.json", import.meta.url);
/** Side of the picture that the models see, in pixels. */
const SIDE = 32;
/** So many times an even share, and more, is the brightest. */
const BRIGHTEST = 6;
/** Targets that a line leads to, and classes that are listed. */
const LINKS = 5;
const LISTED = 5;
const MINI = 48;
const SEEN = 96;
/** How far away, in pixels, the reader is near. */
const NEAR = "600px";
const COLOURS = { vit: "#0072b2", sl: "#d55e00" };
const MASKS = {
  trained: "as trained",
  on: "on in both",
  off: "off in both",
};
/** Milliseconds without a move before it is announced. */
const PAUSE = 500;

/** Build the figure in an empty element. */
export async function start(figure) {
  const answer = await fetch(MODELS).catch(() => ({ ok: false }));
  if (!answer.ok) throw new Error("The list of models could not be loaded.");
  const { models, classes } = await answer.json();
  await new Explorer(figure, models, classes).begin();
}

class Explorer {
  /** What the reader has chosen, and what a pointer is over. */
  picture = null;
  place = [3, 3];
  over = null;
  head = "mean";
  headOver = null;
  mask = "trained";
  temperature = 1;
  /** Whether an answer is being computed, and whether it is out of date. */
  busy = false;
  stale = false;

  constructor(figure, models, classes) {
    this.figure = figure;
    this.classes = classes;
    const { depth, num_heads: heads, image_size, patch_size } = models[0].config;
    Object.assign(this, { depth, heads, side: image_size / patch_size });
    this.block = depth - 1;
    const view = readView(location.hash, this);
    this.wanted = view;
    if (view) {
      const { place, block, head } = view;
      Object.assign(this, { place, block, head });
    }
    this.columns = models.map((model) => new Column(this, model));
    this.seen = make("canvas", {
      role: "img",
      "aria-label": "The picture as the models see it",
    });
    this.table = make("tbody");
    this.truth = make("p.live-note");
    this.status = make("p.live-note.live-says", { role: "status" });
    this.problem = make("p.live-problem", { role: "alert", hidden: true });
    this.picker = picturePicker((picture) => this.show(picture), figure);
  }

  async begin() {
    this.figure.classList.add("live-attention");
    this.figure.setAttribute("aria-label", "The attention explorer");
    this.figure.setAttribute("aria-busy", "true");
    this.figure.append(
      this.picker.element,
      make(
        "div.live-main",
        {},
        make(
          "div.live-pair",
          {},
          ...this.columns.map(({ element }) => element),
        ),
        this.answers(),
        make("div.live-steer", {}, this.scale(), this.settings()),
      ),
      this.problem,
      make(
        "div.live-foot",
        {},
        this.status,
        this.loader(),
        (this.link = make(
          "button.live-quiet",
          { type: "button", onclick: () => this.copyLink() },
          "Copy link to this view",
        )),
      ),
      this.more(),
    );
    const [stored] = await Promise.all([
      this.stored(),
      this.picker.first(this.wanted?.picture),
    ]);
    if (stored && stored.picture === this.picture?.name) {
      stored.answers.forEach((answer, i) => {
        this.columns[i].answer ??= decode(answer, this);
      });
      this.draw();
      this.announce();
    }
    this.setBusy(this.busy);
    if (this.wanted) requestAnimationFrame(() => this.figure.scrollIntoView());
    this.whenNear(() => this.load());
  }

  /** The answers that came with the page, or null. */
  async stored() {
    try {
      const answer = await fetch(FIRST);
      return answer.ok ? await answer.json() : null;
    } catch {
      return null; // the models will answer
    }
  }

  /** Wait until the reader is near; with Save-Data, until the button is. */
  whenNear(act) {
    if (navigator.connection?.saveData) {
      this.button.hidden = false;
      return;
    }
    const watch = new IntersectionObserver(
      (entries) => {
        if (!entries.some(({ isIntersecting }) => isIntersecting)) return;
        watch.disconnect();
        act();
      },
      { rootMargin: NEAR },
    );
    watch.observe(this.figure);
  }

  loader() {
    const total = this.columns.reduce((sum, { model }) => sum + model.bytes, 0);
    this.button = make(
      "button",
      { type: "button", hidden: true, onclick: () => this.load() },
      `Load both models (${(total / 1e6).toFixed(1)} MB) and run them here`,
    );
    this.progress = make("progress", {
      max: total,
      value: 0,
      hidden: true,
      "aria-label": "Download of the models",
    });
    return make("div.live-loader", {}, this.button, this.progress);
  }

  /** Download the models; afterwards every change runs them. */
  async load() {
    this.button.disabled = true;
    this.problem.hidden = true;
    this.progress.hidden = false;
    const done = this.columns.map(() => 0);
    try {
      await Promise.all(
        this.columns.map(async (column, i) => {
          if (column.runner) return; // from the try before
          const url = new URL(column.model.file, MODELS);
          const onProgress = (bytes) => {
            done[i] = bytes;
            this.progress.value = done.reduce((sum, part) => sum + part, 0);
          };
          column.runner = await loadModel(url, { onProgress });
        }),
      );
    } catch (cause) {
      this.tell(`${cause.message} You can try again.`);
      this.button.hidden = false;
      this.button.disabled = false;
      return;
    } finally {
      this.progress.hidden = true;
    }
    this.button.hidden = true;
    for (const input of this.needRunners) input.disabled = false;
    await this.run();
  }

  /** The block, and what only running models can change. */
  settings() {
    const { depth } = this;
    const rerun = (name, convert) => (value) => {
      this[name] = convert(value);
      this.run();
    };
    const blocks = { min: 1, max: depth, step: 1, value: this.block + 1 };
    const powers = { min: -2, max: 2, step: 0.25, value: 0 };
    const times = (power) =>
      power === 0 ? "as trained" : `× ${(2 ** power).toFixed(2)}`;
    const block = slider(
      "Block",
      blocks,
      (value) => `${value} of ${depth}`,
      (value) => this.set({ block: value - 1 }),
    ).element;
    const temperature = slider(
      "Temperature",
      powers,
      times,
      rerun("temperature", (power) => 2 ** power),
    ).element;
    const mask = chooser(
      "Diagonal mask",
      MASKS,
      "trained",
      rerun("mask", (name) => name),
    );
    this.needRunners = [temperature, mask].map((element) =>
      element.querySelector("input, select"),
    );
    for (const input of this.needRunners) input.disabled = true;
    return make("div.live-controls", {}, block, temperature, mask);
  }

  /** What brightness and colours mean. */
  scale() {
    return make(
      "div.live-scale",
      {},
      make("span.live-bar-bright", { "aria-hidden": "true" }),
      make("span.live-bar-map", { "aria-hidden": "true" }),
      make(
        "span.live-ticks",
        {},
        make("span", {}, "ignored"),
        make("span.live-even", {}, "even share"),
        make("span", {}, `${BRIGHTEST} × even`),
      ),
    );
  }

  /** What both models take the picture for. */
  answers() {
    const heads = this.columns.map(({ model }) =>
      make(
        "th",
        { scope: "col" },
        make(`span.live-swatch.live-${model.variant}`),
        model.title,
      ),
    );
    const name = make("th", { scope: "col" }, "They say");
    return make(
      "div.live-answers",
      {},
      make(
        "table",
        { "aria-label": "The likeliest classes" },
        make("thead", {}, make("tr", {}, name, ...heads)),
        this.table,
      ),
      make(
        "div.live-seen",
        {},
        this.seen,
        make(
          "div",
          {},
          this.truth,
          make("p.live-note", {}, `They see ${SIDE} x ${SIDE} pixels.`),
        ),
      ),
    );
  }

  more() {
    const right = this.columns
      .map(({ model }) => `${model.title} ${(100 * model.top1).toFixed(1)} %`)
      .join(", ");
    return make(
      "details",
      {},
      make("summary", {}, "How to read and steer it"),
      make(
        "p",
        {},
        "The framed patch looks at the others: the brighter they are, the " +
          "more of its attention they get. Lines lead to the five that get " +
          "most. Move over a picture to look with another patch, click or " +
          "tap to keep it; the arrow keys move it too. The small maps are " +
          "the heads of this block: choose one.",
      ),
      make(
        "p",
        {},
        "Each model was trained with one setting of the mask and with its " +
          "own temperatures: with others you see how it answers to what " +
          "training never showed it, not how a model trained so would.",
      ),
      make("p", {}, `Correct on the test images: ${right}.`),
    );
  }

  show(picture) {
    this.picture = {
      ...picture,
      pixels: resize(picture, SIDE),
      drawing: drawingOf(picture.pixels, picture.side),
    };
    for (const column of this.columns) column.answer = null;
    paintPicture(prepare(this.seen, SEEN), SEEN, this.picture.pixels, SIDE);
    const { truth, name } = picture;
    this.truth.textContent = truth
      ? `It is: ${truth}.`
      : name
        ? "None of their hundred classes."
        : "Is it one of their hundred classes?";
    this.link.disabled = !name;
    this.link.title = name ? "" : "A link can name the book's pictures only.";
    this.draw();
    this.run();
  }

  /** Pin a patch. */
  move(row, column) {
    this.set({ place: [row, column], over: null });
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.announce(), PAUSE);
  }

  /** Show another patch, block or head. */
  set(changes) {
    Object.assign(this, changes);
    this.draw();
  }

  /** Ask both models; if something changes meanwhile, ask again. */
  async run() {
    if (!this.picture || !this.columns.every(({ runner }) => runner)) return;
    if (this.busy) {
      this.stale = true;
      return;
    }
    this.setBusy(true);
    this.problem.hidden = true;
    const mask = { trained: undefined, on: true, off: false };
    try {
      do {
        this.stale = false;
        const { picture } = this;
        const options = {
          mask: mask[this.mask],
          temperature: this.temperature,
        };
        const answers = await Promise.all(
          this.columns.map(({ runner }) =>
            runner.run(picture.pixels, options),
          ),
        );
        if (picture !== this.picture) continue; // an answer to another one
        answers.forEach((answer, i) => (this.columns[i].answer = answer));
        this.draw();
      } while (this.stale);
      this.announce();
    } catch (cause) {
      this.tell(cause.message);
    } finally {
      this.setBusy(false);
    }
  }

  setBusy(busy) {
    this.busy = busy;
    this.figure.setAttribute("aria-busy", busy);
  }

  /** The patch that looks now: the one below the pointer, or the pinned. */
  get looking() {
    return this.over ?? this.place;
  }

  draw() {
    if (!this.picture) return;
    for (const column of this.columns) column.draw();
    this.showClasses();
  }

  /** The classes that either model finds likely, with both models' shares. */
  showClasses() {
    const said = this.columns.map(({ answer }) =>
      answer ? shares(answer.logits) : null,
    );
    if (!said.every(Boolean)) {
      const row = () => make("tr", {}, make("th", {}, " "));
      this.table.replaceChildren(...Array.from({ length: LISTED }, row));
      return;
    }
    const larger = said[0].map((share, i) => Math.max(share, said[1][i]));
    const rows = ranking(larger, LISTED).map(([index]) => {
      const name = this.classes[index];
      const correct = name === this.picture.truth;
      const head = make("th", { scope: "row" }, name);
      if (correct) {
        const mark = { role: "img", "aria-label": "correct" };
        head.append(" ", make("span.live-right", mark, "✓"));
      }
      const cells = said.map((each, i) =>
        make(
          "td",
          {},
          `${(100 * each[index]).toFixed(1)} %`,
          bar(each[index], this.columns[i].model.variant),
        ),
      );
      return make("tr", {}, head, ...cells);
    });
    this.table.replaceChildren(...rows);
  }

  announce() {
    const [row, column] = this.place.map((at) => at + 1);
    const words = this.columns.map((each) => each.inWords());
    this.status.textContent = [`Row ${row}, column ${column}.`, ...words]
      .filter(Boolean)
      .join(" ");
  }

  async copyLink() {
    const address = viewAddress(location, { ...this, ...this.picture });
    history.replaceState(null, "", address);
    try {
      await navigator.clipboard.writeText(address);
      this.status.textContent = "The link is copied.";
    } catch {
      this.status.textContent = `Copy it from here: ${address}`;
    }
  }

  tell(problem) {
    this.problem.textContent = problem;
    this.problem.hidden = false;
  }
}

/** What one of the models says and where it looks. */
class Column {
  runner = null;
  answer = null;

  constructor(explorer, model) {
    this.explorer = explorer;
    this.model = model;
    this.board = makeBoard(
      `Where the ${model.title} looks`,
      (...at) => explorer.move(...at),
      (at) => explorer.set({ over: at }),
    );
    this.spread = make("p.live-note.live-spread");
    this.heads = ["mean", ...Array(explorer.heads).keys()].map((head) =>
      this.mini(head),
    );
    this.element = make(
      "div",
      {},
      make(
        "p.live-name",
        {},
        make(`span.live-swatch.live-${model.variant}`),
        model.title,
      ),
      this.board.element,
      make(
        "div.live-heads",
        { role: "group", "aria-label": `Heads of the ${model.title}` },
        ...this.heads.map(({ button }) => button),
      ),
      this.spread,
    );
  }

  /** A small map of one head, or of the mean of all, to choose it by. */
  mini(head) {
    const { explorer } = this;
    const words = head === "mean" ? "all" : `${head + 1}`;
    const canvas = make("canvas", { "aria-hidden": "true" });
    const preview = (over) => (event) => {
      if (event.pointerType === "mouse") explorer.set({ headOver: over });
    };
    const button = make(
      "button",
      {
        type: "button",
        "aria-label": `${this.model.title}, ${
          head === "mean" ? "mean of all heads" : `head ${words}`
        }`,
        onclick: () => explorer.set({ head }),
        onpointerenter: preview(head),
        onpointerleave: preview(null),
      },
      canvas,
      words,
    );
    return { head, canvas, button };
  }

  draw() {
    const { explorer, board } = this;
    const { side, picture, looking, place } = explorer;
    const head = explorer.headOver ?? explorer.head;
    const weights = this.answer && this.weights(head, looking);
    Object.assign(board, { count: side, place });
    board.draw((context, size) => {
      context.imageSmoothingQuality = "high";
      context.drawImage(picture.drawing, 0, 0, size, size);
      if (weights) {
        paintCover(context, size, weights.map(brightness), side);
        this.links(context, size, weights, looking);
      }
      const frame = ([row, column]) => {
        const cell = size / side;
        paintFrame(context, column * cell, row * cell, cell);
      };
      if (explorer.over) {
        context.globalAlpha = 0.5;
        frame(place);
        context.globalAlpha = 1;
      }
      frame(looking);
    });
    for (const { head: each, canvas, button } of this.heads) {
      button.setAttribute("aria-pressed", each === explorer.head);
      if (!this.answer) continue;
      const values = this.weights(each, looking).map(brightness);
      paintMap(prepare(canvas, MINI), MINI, values, side);
    }
    this.showSpread(head, looking);
  }

  /** Lines from the patch that looks to those that it looks at most. */
  links(context, size, weights, from) {
    const { side } = this.explorer;
    const cell = size / side;
    const middle = (row, column) => [
      (column + 0.5) * cell,
      (row + 0.5) * cell,
    ];
    const best = ranking(weights, LINKS).filter(([, weight]) => weight > 0);
    for (const [key, weight] of best.reverse()) {
      const to = middle(Math.floor(key / side), key % side);
      const part = weight / best.at(-1)[1];
      paintLink(context, middle(...from), to, part, COLOURS[this.model.variant]);
    }
  }

  /** How a patch shares out its attention, by a head or by all of them. */
  weights(head, [row, column]) {
    const { side } = this.explorer;
    const rows = this.rows(row * side + column);
    if (head !== "mean") return Array.from(rows[head]);
    return Array.from(
      { length: side * side },
      (_, key) => rows.reduce((sum, each) => sum + each[key], 0) / rows.length,
    );
  }

  /** The same by every head: heads x patches. */
  rows(patch) {
    const { block, heads, side } = this.explorer;
    const weights = this.answer.attention[block];
    const count = Math.sqrt(weights.length / heads);
    const others = count - side * side; // a class token stands in front
    return Array.from({ length: heads }, (_, head) => {
      const start = (head * count + patch + others) * count;
      return weights.subarray(start + others, start + count);
    });
  }

  /** Entropies of the chosen heads: of the chosen patch, and of all. */
  showSpread(head, [row, column]) {
    if (!this.answer) {
      this.spread.textContent = " ";
      return;
    }
    const { side } = this.explorer;
    const chosen = (patch) => {
      const rows = this.rows(patch);
      return head === "mean" ? rows : [rows[head]];
    };
    const mean = (rows) =>
      rows.reduce((sum, each) => sum + entropy(each), 0) / rows.length;
    const here = mean(chosen(row * side + column));
    const all = mean(
      Array.from({ length: side * side }, (_, patch) => chosen(patch)).flat(),
    );
    this.spread.textContent =
      `Entropy ${here.toFixed(2)} nats (mean ${all.toFixed(2)})`;
  }

  inWords() {
    if (!this.answer) return "";
    const [[index, share]] = ranking(shares(this.answer.logits), 1);
    const name = this.explorer.classes[index];
    return `${this.model.title}: ${name}, ${Math.round(100 * share)} %.`;
  }
}

/** From a weight to a brightness between 0 and 1. */
function brightness(weight, _, weights) {
  return Math.min(Math.sqrt((weight * weights.length) / BRIGHTEST), 1);
}

/**
 * A stored answer. Its weights are bytes q in base64, each (q / 255) ** 2 but
 * for rounding: rows are made to sum to 1 again.
 */
function decode({ logits, attention }, { depth, heads }) {
  const bytes = Uint8Array.from(atob(attention), (c) => c.charCodeAt(0));
  const weights = Float32Array.from(bytes, (q) => (q / 255) ** 2);
  const length = weights.length / depth;
  const count = Math.sqrt(length / heads);
  for (let start = 0; start < weights.length; start += count) {
    const row = weights.subarray(start, start + count);
    const sum = row.reduce((total, weight) => total + weight, 0);
    for (let i = 0; i < count; i++) row[i] /= sum;
  }
  const blocks = Array.from({ length: depth }, (_, block) =>
    weights.subarray(block * length, (block + 1) * length),
  );
  return { logits, attention: blocks };
}

/** A bar as long as the part of 1. */
function bar(part, variant) {
  const filled = make(`span.live-${variant}`);
  filled.style.width = `${100 * part}%`;
  return make("span.live-share", { "aria-hidden": "true" }, filled);
}
