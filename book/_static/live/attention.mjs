/*
 * Live figure: where two trained models look in a picture, and what they say.
 *
 * Both run in the page. Nothing of the picture leaves it.
 */
import { makeBoard } from "./board.mjs";
import { loadModel } from "./client.mjs";
import { chooser, make, slider } from "./dom.mjs";
import { paintFrame, paintGrid, paintMap, paintPicture } from "./draw.mjs";
import { picturePicker, resize } from "./pictures.mjs";
import { entropy, ranking, shares } from "./numbers.mjs";

const MODELS = new URL("./models/models.json", import.meta.url);
/** A patch that looks everywhere alike has 1, and this is the brightest. */
const BRIGHTEST = 8;
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
  /** What the reader has chosen. */
  picture = null;
  place = [3, 3];
  block = 0;
  head = "mean";
  mask = "trained";
  temperature = 1;
  /** Whether an answer is being computed, and whether it is out of date. */
  busy = false;
  stale = false;

  constructor(figure, models, classes) {
    this.figure = figure;
    this.classes = classes;
    this.columns = models.map((model) => new Column(this, model));
    this.seen = makeBoard("What both models see", (...at) => this.move(...at));
    this.status = make("p.live-note", { role: "status" });
    this.problem = make("p.live-problem", { role: "alert", hidden: true });
    this.controls = make("div.live-controls", { hidden: true });
    this.picker = picturePicker((picture) => this.show(picture), figure);
  }

  async begin() {
    const total = this.columns.reduce((sum, { model }) => sum + model.bytes, 0);
    const megabytes = (total / 1e6).toFixed(1);
    this.button = make(
      "button",
      { type: "button", onclick: () => this.load(total) },
      `Load both models (${megabytes} MB) and run them here`,
    );
    this.progress = make("progress", {
      max: total,
      value: 0,
      hidden: true,
      "aria-label": "Download of the models",
    });
    this.figure.setAttribute("aria-label", "The attention explorer");
    this.figure.append(
      make("p.live-title", {}, "The attention explorer"),
      this.picker.element,
      this.button,
      this.progress,
      this.problem,
      this.controls,
      make(
        "div.live-columns.live-main",
        {},
        make(
          "div",
          {},
          make("p.live-name", {}, "Picture"),
          this.seen.element,
          make(
            "p.live-note",
            {},
            "The 32 x 32 pixels that the models see. Choose a patch: click, " +
              "or use the arrow keys.",
          ),
        ),
        ...this.columns.map(({ element }) => element),
      ),
      this.status,
    );
    await this.picker.first("rocket");
  }

  /** Download the models; afterwards every change runs them. */
  async load(total) {
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
      this.button.disabled = false;
      return;
    } finally {
      this.progress.hidden = true;
    }
    this.button.hidden = true;
    this.addControls();
    await this.run();
  }

  addControls() {
    const { depth, num_heads: heads } = this.columns[0].runner.config;
    this.block = depth - 1;
    const redraw = (name) => (value) => {
      this[name] = value;
      this.draw();
    };
    const rerun = (name, convert) => (value) => {
      this[name] = convert(value);
      this.run();
    };
    const headNames = { mean: "mean of all" };
    for (let head = 0; head < heads; head++) headNames[head] = `${head + 1}`;
    const blocks = { min: 1, max: depth, step: 1, value: depth };
    const powers = { min: -2, max: 2, step: 0.25, value: 0 };
    const times = (power) =>
      power === 0 ? "as trained" : `× ${(2 ** power).toFixed(2)}`;
    this.controls.append(
      slider("Block", blocks, (value) => `${value} of ${depth}`, (value) =>
        redraw("block")(value - 1),
      ).element,
      chooser("Head", headNames, "mean", redraw("head")),
      slider("Temperature", powers, times, rerun("temperature", (x) => 2 ** x))
        .element,
      chooser(
        "Diagonal mask",
        MASKS,
        "trained",
        rerun("mask", (name) => name),
      ),
      make(
        "p.live-note",
        {},
        "Yellow patches get 8 times an even share or more, dark ones next to " +
          "nothing. Each model was trained with one setting of the mask and " +
          "with its own temperatures: with others you see how it answers to " +
          "what training never showed it, not how a model trained so would.",
      ),
    );
    this.controls.hidden = false;
  }

  show(picture) {
    this.picture = resize(picture, 32);
    for (const column of this.columns) column.answer = null;
    this.draw();
    this.run();
  }

  move(row, column) {
    this.place = [row, column];
    this.draw();
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.announce(), PAUSE);
  }

  /** Ask both models; if something changes meanwhile, ask again. */
  async run() {
    if (!this.columns.every(({ runner }) => runner)) return;
    if (this.busy) {
      this.stale = true;
      return;
    }
    this.setBusy(true);
    const mask = { trained: undefined, on: true, off: false };
    try {
      do {
        this.stale = false;
        const options = {
          mask: mask[this.mask],
          temperature: this.temperature,
        };
        const answers = await Promise.all(
          this.columns.map(({ runner }) => runner.run(this.picture, options)),
        );
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

  draw() {
    const [patch, side] = this.grid();
    this.seen.count = side;
    this.seen.place = this.place;
    this.seen.draw((context, size) => {
      paintPicture(context, size, this.picture, 32);
      paintGrid(context, size, side);
      this.frame(context, size);
    });
    for (const column of this.columns) column.draw(patch, side);
  }

  /** The chosen patch's index, and the patches on a side. */
  grid() {
    const config = this.columns[0].runner?.config;
    const side = config ? config.image_size / config.patch_size : 8;
    return [this.place[0] * side + this.place[1], side];
  }

  frame(context, size) {
    const cell = size / this.grid()[1];
    const [row, column] = this.place;
    paintFrame(context, column * cell, row * cell, cell);
  }

  announce() {
    const [row, column] = this.place.map((at) => at + 1);
    const words = this.columns.map((each) => each.inWords());
    this.status.textContent = [`Row ${row}, column ${column}.`, ...words]
      .filter(Boolean)
      .join(" ");
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
    this.board = makeBoard(`Where the ${model.title} looks`, (...at) =>
      explorer.move(...at),
    );
    this.spread = make("tbody");
    this.classes = make("tbody");
    const top1 = (100 * model.top1).toFixed(1);
    this.element = make(
      "div",
      { hidden: true },
      make("p.live-name", {}, model.title),
      this.board.element,
      make(
        "table",
        { "aria-label": `Entropy of the ${model.title}'s attention` },
        this.spread,
      ),
      make(
        "table",
        { "aria-label": `The five likeliest classes of the ${model.title}` },
        this.classes,
      ),
      make("p.live-note", {}, `Right on ${top1} % of the test images.`),
    );
  }

  draw(patch, side) {
    this.element.hidden = !this.answer;
    if (!this.answer) return;
    const { block, head, picture } = this.explorer;
    const rows = this.rows(block, patch, side);
    const chosen = head === "mean" ? rows : [rows[head]];
    const even = side * side;
    const map = Array.from({ length: even }, (_, key) => {
      const sum = chosen.reduce((total, row) => total + row[key], 0);
      return ((sum / chosen.length) * even) / BRIGHTEST;
    });
    this.board.count = side;
    this.board.place = this.explorer.place;
    this.board.draw((context, size) => {
      context.filter = "grayscale(1)";
      paintPicture(context, size, picture, 32);
      context.filter = "none";
      paintMap(context, size, map, side, 0.75);
      this.explorer.frame(context, size);
    });
    this.showSpread(chosen, side);
    this.showClasses();
  }

  /** How each head shares out the patch's attention: heads x patches. */
  rows(block, patch, side) {
    const { num_heads: heads } = this.runner.config;
    const weights = this.answer.attention[block];
    const count = Math.sqrt(weights.length / heads);
    const others = count - side * side; // a class token stands in front
    return Array.from({ length: heads }, (_, head) => {
      const start = (head * count + patch + others) * count;
      return weights.subarray(start + others, start + count);
    });
  }

  /** Entropies of the chosen heads: of the chosen patch, and of all. */
  showSpread(chosen, side) {
    const { block, head } = this.explorer;
    const all = Array.from({ length: side * side }, (_, patch) => {
      const rows = this.rows(block, patch, side);
      return head === "mean" ? rows : [rows[head]];
    });
    const mean = (rows) =>
      rows.reduce((sum, row) => sum + entropy(row), 0) / rows.length;
    const most = Math.log(side * side);
    const bars = [
      ["Entropy here", mean(chosen)],
      ["Entropy, all", mean(all.flat())],
    ].map(([name, nats]) => bar(name, nats / most, `${nats.toFixed(2)} nats`));
    this.spread.replaceChildren(...bars);
  }

  showClasses() {
    const best = ranking(shares(this.answer.logits), 5);
    const bars = best.map(([index, share]) => {
      const name = this.explorer.classes[index];
      return bar(name, share, `${(100 * share).toFixed(1)} %`);
    });
    this.classes.replaceChildren(...bars);
  }

  inWords() {
    if (!this.answer) return "";
    const [[index, share]] = ranking(shares(this.answer.logits), 1);
    const name = this.explorer.classes[index];
    return `${this.model.title}: ${name}, ${Math.round(100 * share)} %.`;
  }
}

/** A row of a table: a name, a bar as long as the part of 1, and words. */
function bar(name, part, words) {
  const filled = make("span", { "aria-hidden": "true" });
  filled.style.width = `${100 * part}%`;
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, name),
    make("td.live-bar", {}, filled),
    make("td.live-number", {}, words),
  );
}
