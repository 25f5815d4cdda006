/*
 * Put a live figure where a page has its still picture.
 *
 * Without JavaScript, or if a figure cannot start, the still picture and its
 * sentence stay.
 */

/** The module of each figure, by the name of its still picture's file. */
const FIGURES = {
  "live-hero": "./hero.mjs",
  "live-patches": "./explorer.mjs",
  "live-tokens": "./tokens.mjs",
  "live-attention": "./attention.mjs",
  "live-curves": "./curves.mjs",
};

for (const [name, module] of Object.entries(FIGURES)) {
  for (const still of document.querySelectorAll(`img[src*="${name}"]`)) {
    enliven(still, module);
  }
}

async function load(module) {
  try {
    return await import(module);
  } catch {
    throw new Error(
      "A part of it did not come, or this browser is too old for it: check " +
        "the connection and load the page again.",
    );
  }
}

/** Start a figure, and let it take the place of the still's paragraph. */
async function enliven(still, module) {
  const place = still.closest("p, figure") ?? still;
  const figure = document.createElement("section");
  figure.className = "live";
  try {
    const { start } = await load(module);
    await start(figure, still);
    place.replaceWith(figure);
  } catch (cause) {
    const note = document.createElement("p");
    note.className = "live-problem";
    note.setAttribute("role", "status");
    note.textContent = `The live figure could not start. ${cause.message}`;
    place.after(note);
  }
}
