// room_windows.js URL: two people in the room example, in two Chromium windows. One is away for a
// moment while the other speaks. Prints: met, away, back.
const fs = require("fs");
const os = require("os");
const path = require("path");
const { chromium } = require("playwright-core");

const print = (event, rest) => console.log(JSON.stringify({ event, ...rest }));
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "windows-"));
const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-sync", "--disable-background-networking", "--disable-component-update"];

const state = (page, wanted) => page.waitForSelector(`#state[data-state="${wanted}"]`);
const texts = (page, css) =>
  page.$$eval(css, (nodes) => nodes.map((node) => node.textContent));
const shows = (page, css, text) => page.waitForFunction(
  ([where, wanted]) =>
    [...document.querySelectorAll(where)].some((node) => node.textContent === wanted),
  [css, text],
);
const say = async (page, text) => {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
};

async function enter(browser, url, name) {
  const page = await (await browser.newContext()).newPage();
  page.setDefaultTimeout(20_000);
  page.on("pageerror", (error) => print("pageerror", { message: error.message }));
  await page.goto(`${url}/#lobby`);
  await page.fill("#name", name);
  await page.press("#name", "Enter");
  await state(page, "open");
  return page;
}

async function main(url) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    headless: true,
    args: flags,
  });
  const ann = await enter(browser, url, "Ann"), bob = await enter(browser, url, "Bob");
  for (const page of [ann, bob]) await shows(page, "#people", "2 here: Ann, Bob");
  await say(ann, "one");
  await shows(bob, ".said .text", "one");
  print("met", { bob: await texts(bob, ".said .text") });

  await bob.click("#away");
  await state(bob, "lost");
  await say(ann, "two");
  await say(ann, "<b>three</b>");
  await shows(ann, ".said .text", "<b>three</b>");
  print("away", { bob: await texts(bob, ".said .text"), people: await texts(ann, "#people") });

  await state(bob, "open");
  await shows(bob, ".said .text", "<b>three</b>");
  await say(bob, "four");
  await shows(ann, ".said .text", "four");
  print("back", {
    ann: await texts(ann, ".said .text"),
    bob: await texts(bob, ".said .text"),
    gaps: (await texts(bob, ".gap")).length,
    people: await texts(ann, "#people"),
    markup: (await texts(bob, ".text *")).length,
  });
  await bob.close();
  await shows(ann, "#people", "1 here: Ann");
  print("left");
  await browser.close();
}

main(process.argv[2]).catch((error) => print("failed", { message: String(error) })).finally(() => {
  fs.rmSync(folder, { recursive: true, force: true });
  process.exit(0);
});
