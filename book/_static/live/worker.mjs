/*
 * A model in a thread of its own: the page stays quick while it computes.
 *
 * The first request holds the file of weights, every other one a picture.
 * Each is answered, in order, by its `id` and either `answer` or `error`.
 */
import { ViT, readSafetensors } from "./vit.mjs";

let model;

addEventListener("message", ({ data: { id, file, pixels, options } }) => {
  try {
    if (file) {
      model = new ViT(readSafetensors(file));
      postMessage({ id, answer: model.config });
      return;
    }
    const start = performance.now();
    const { logits, attention } = model.forward(pixels, options);
    const ms = performance.now() - start;
    const given = [logits, ...attention].map((array) => array.buffer);
    postMessage({ id, answer: { logits, attention, ms } }, given);
  } catch (error) {
    postMessage({ id, error: error.message });
  }
});
