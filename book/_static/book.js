// The theme's print button: its inline handler is one that the pages'
// Content-Security-Policy would refuse.
document.addEventListener("click", ({ target }) => {
  if (target.closest(".btn-download-pdf-button")) window.print();
});

// Paper is light.
const root = document.documentElement.dataset;
let shown;
addEventListener("beforeprint", () => { shown = root.theme; root.theme = "light"; });
addEventListener("afterprint", () => { root.theme = shown; });

// The search shows pieces of pages as text: its formulas in plain letters.
const SIGNS = { tau: "τ", sqrt: "√", cdot: "·", times: "×", pm: "±", top: "ᵀ", le: "≤",
  ge: "≥", approx: "≈", to: "→", sum: "Σ", log: "log ", sigma: "σ", mu: "μ" };
const plain = (tex) => tex
  .replace(/\\(?:operatorname|mathrm|text)/g, "")
  .replace(/\\frac\{([^{}]*)\}\{([^{}]*)\}/g, "$1 / $2")
  .replace(/\\([a-z]+) ?/gi, (_, name) => SIGNS[name] ?? "")
  .replace(/[{}]|\\[,;! ]/g, "").replaceAll("\\", "");
const results = document.querySelector("#search-results");
if (results) new MutationObserver(() => {
  const walker = document.createTreeWalker(results, NodeFilter.SHOW_TEXT);
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    // A piece may begin or end within one.
    const read = text.data.replace(/\\[([](.+?)(?:\\[)\]]|$)/gs, (_, tex) => plain(tex))
      .replace(/\\[)\]]/g, "");
    if (read !== text.data) text.data = read;
  }
}).observe(results, { childList: true, subtree: true });
