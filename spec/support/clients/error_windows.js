// error_windows.js URL: a page of `rille dev` in Chromium, which is never told to load anew.
//
// Prints {"event": "title", "text": …} of its first heading, and again whenever that has changed,
// until it is "done".
const fs = require("fs");
const os = require("os");
const path = require("path");
const { chromium } = require("playwright-core");

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "windows-"));

(async () => {
  const context = await chromium.launchPersistentContext(folder, {
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    headless: true,
    args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
  });
  const page = context.pages()[0] || await context.newPage();
  page.setDefaultTimeout(30_000);
  await page.goto(process.argv[2]);
  let last = "";
  while (last !== "done") {
    const changed = (before) => {
      const title = document.querySelector("h1");
      return title && title.textContent !== before ? title.textContent : null;
    };
    last = await (await page.waitForFunction(changed, last)).jsonValue();
    console.log(JSON.stringify({ event: "title", text: last }));
  }
  await context.close();
})().finally(() => fs.rmSync(folder, { recursive: true, force: true }));
