// chat_windows.js URL: two people in the chat example, in two Chromium windows.
//
// Prints, in this order: talked, reloaded, {"event": "restart"} (whoever reads this stops the
// server), lost (and starts it again), returned.
const fs = require("fs");
const os = require("os");
const path = require("path");
const { chromium } = require("playwright-core");

const print = (event, rest) => console.log(JSON.stringify({ event, ...rest }));
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "windows-"));
const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-sync", "--disable-background-networking", "--disable-component-update"];

async function enter(which, name) {
  const context = await chromium.launchPersistentContext(path.join(folder, name), {
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    headless: true,
    args: flags,
  });
  const page = context.pages()[0] || await context.newPage();
  page.setDefaultTimeout(20_000);
  page.on("pageerror", (error) => print("pageerror", { message: error.message }));
  await page.goto(`${which}/#lobby`);
  await page.fill("#name", name);
  await page.press("#name", "Enter");
  await state(page, "open");
  return page;
}

const state = (page, wanted) => page.waitForSelector(`#state[data-state="${wanted}"]`);
const said = ".message:not(.pending) .text";
const all = (page, css) => page.$$eval(css, (nodes) => nodes.map((node) => node.textContent));
const texts = (page) => all(page, said);
const shows = (page, text) => page.waitForFunction(
  ([css, wanted]) =>
    [...document.querySelectorAll(css)].some((node) => node.textContent === wanted),
  [said, text],
);
const say = async (page, text) => {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
};

(async () => {
  const ann = await enter(process.argv[2], "Ann");
  const bob = await enter(process.argv[2], "Bob");

  await say(ann, "hello from Ann");
  await shows(bob, "hello from Ann");
  await say(bob, "<b>hello</b> 🌒");
  await shows(ann, "<b>hello</b> 🌒");
  await shows(bob, "<b>hello</b> 🌒");
  await ann.waitForFunction(() => document.querySelector("#people").textContent.includes("2 here"));
  print("talked", {
    ann: await texts(ann),
    bob: await texts(bob),
    own: await all(bob, ".own .text"),
    markup: (await all(ann, ".text *")).length,
  });

  await bob.reload();
  await state(bob, "open");
  await shows(bob, "hello from Ann");
  print("reloaded", { bob: await texts(bob) });

  print("restart");
  await state(ann, "lost");
  await state(bob, "lost");
  await say(ann, "written while away");
  print("lost", { pending: (await all(ann, ".pending")).length });
  await state(ann, "open");
  await state(bob, "open");
  await shows(ann, "written while away");
  await shows(bob, "written while away");
  print("returned", { ann: await texts(ann), bob: await texts(bob) });

  await ann.context().close();
  await bob.context().close();
})().catch((error) => {
  print("failed", { message: String(error) });
}).finally(() => {
  fs.rmSync(folder, { recursive: true, force: true });
  process.exit(0);
});
