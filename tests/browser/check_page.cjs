// Open pages in Chromium and write what is wrong with each as JSON, one line a page.
// usage: node check_page.cjs CHROMIUM PAGE.html|http://…   (puppeteer-core and axe-core on NODE_PATH)
"use strict";
const path = require("path");
const axe = require("axe-core");
const puppeteer = require("puppeteer-core");

const WIDTHS = [390, 1280, 1920];

async function checked(browser, file, scheme) {
  const served = file.startsWith("http://");
  const address = served ? file : `file://${path.resolve(file)}`;
  const own = (url) => /^(file|data):/.test(url) || (served && new URL(url).origin === new URL(file).origin);
  const problems = [];
  const context = await browser.createBrowserContext(); // a page may keep its scheme in its local storage
  const page = await context.newPage();
  page.on("console", (message) => {
    if (["error", "warn"].includes(message.type())) problems.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => problems.push(`script: ${error}`));
  page.on("request", (request) => {
    if (!own(request.url())) problems.push(`request: ${request.url()}`);
  });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  for (const width of WIDTHS) {
    await page.setViewport({ width, height: 900 });
    await page.goto(address, { waitUntil: "load" });
    const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    if (over > 0) problems.push(`at ${width}: ${over} pixels too wide`);
  }
  await page.evaluate(() => document.querySelectorAll("details").forEach((each) => (each.open = true)));
  await new Promise((done) => setTimeout(done, 500)); // what a script does after the width has changed
  await page.evaluate(axe.source);
  const result = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  for (const each of result.violations) {
    if (["serious", "critical"].includes(each.impact)) problems.push(`axe: ${each.id}: ${each.nodes[0].html}`);
  }
  const sorted = await page.evaluate(() => {
    const table = document.querySelector("table.rows");
    if (!table) return null;
    table.querySelector("thead button").click();
    const result = { sort: table.querySelector("th").getAttribute("aria-sort") };
    const form = document.querySelector("form.controls");
    if (!form) return result;
    const input = form.querySelector("input");
    input.value = "no such text";
    input.dispatchEvent(new Event("input", { bubbles: true }));
    const rows = document.getElementById(form.dataset.for).tBodies[0].rows;
    result.left = [...rows].filter((row) => !row.hidden).length;
    result.count = form.querySelector(".count").textContent;
    return result;
  });
  await context.close();
  return { file: served ? file : path.basename(file), scheme, problems, sorted };
}

(async () => {
  const [chromium, ...files] = process.argv.slice(2);
  const browser = await puppeteer.launch({ executablePath: chromium, args: ["--no-sandbox"] });
  for (const file of files) {
    for (const scheme of ["light", "dark"]) console.log(JSON.stringify(await checked(browser, file, scheme)));
  }
  await browser.close();
})();
