// Opens pages in Firefox, tries their figures, and prints what was found as
// JSON: node firefox.cjs FIREFOX ADDRESS. See test_firefox.py.
const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const puppeteer = require("puppeteer-core");

const [executablePath, address] = process.argv.slice(2);
const AXE = readFileSync(join(__dirname, "axe.min.js"), "utf8");
const SERIOUS = `axe.run({ resultTypes: ["violations"] }).then(
  ({ violations }) => violations
    .filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id }) => id))`;
const drawing = (selector) =>
  `document.querySelector("${selector}").toDataURL()`;

/** For each page: what to wait for, and what to do and to find out there. */
const TRIALS = {
  explorer: {
    ready: ".live-attention select:enabled",
    async act(page) {
      const spread = `document.querySelector(".live-spread").textContent`;
      const before = await page.evaluate(spread);
      await page.focus(".live-board");
      await page.keyboard.press("ArrowUp");
      return {
        moved: (await page.evaluate(spread)) !== before,
        said: await page.$$eval("tbody td", (cells) => cells.length),
      };
    },
  },
  hero: {
    ready: ".live-hero canvas",
    async act(page) {
      const before = await page.evaluate(drawing(".live-crops canvas"));
      await page.focus(".live-board");
      await page.keyboard.press("End");
      await new Promise((done) => setTimeout(done, 1500));
      const after = await page.evaluate(drawing(".live-crops canvas"));
      return { moved: after !== before };
    },
  },
  patches: {
    ready: ".live-patches input[type=range]",
    async act(page) {
      await page.focus("input[type=range]");
      for (let i = 0; i < 3; i++) await page.keyboard.press("ArrowRight");
      const big = `document.querySelector(".live-big").textContent`;
      return { moved: (await page.evaluate(big)) === "144 pixels" };
    },
  },
  tokens: {
    ready: ".live-handle",
    async act(page) {
      const table = `document.querySelector("tbody").innerText`;
      const before = await page.evaluate(table);
      await page.focus(".live-handle");
      await page.keyboard.press("ArrowLeft");
      return { moved: (await page.evaluate(table)) !== before };
    },
  },
};

async function main() {
  const browser = await puppeteer.launch({
    browser: "firefox",
    executablePath,
    headless: true,
  });
  const found = {};
  try {
    for (const [name, { ready, act }] of Object.entries(TRIALS)) {
      const page = await browser.newPage();
      const errors = [];
      page.on("pageerror", (error) => errors.push(error.message));
      await page.goto(`${address}/${name}.html`);
      await page.waitForSelector(ready, { timeout: 60000 });
      const result = await act(page);
      await page.evaluate(AXE);
      found[name] = { ...result, errors, serious: await page.evaluate(SERIOUS) };
      await page.close();
    }
  } finally {
    await browser.close();
  }
  console.log(JSON.stringify(found));
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
