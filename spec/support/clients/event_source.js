// event_source.js URL: the page of examples/events.lua in Chromium.
//
// Prints {"event": "open"}, then "said" (whoever reads this stops the server, says something after
// it came back) and "returned" with all that the page shows.
const { chromium } = require("playwright-core");

const print = (event, rest) => console.log(JSON.stringify({ event, ...rest }));
const items = () => [...document.querySelectorAll("li")].map((node) => node.textContent);
const shows = (page, n) => page.waitForFunction(
  (wanted) => document.querySelectorAll("li").length >= wanted, n);

(async () => {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"],
  });
  const page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  const opened = page.waitForRequest((request) => request.url().endsWith("/news"));
  await page.goto(process.argv[2]);
  await (await opened).response();
  await page.fill("input", "one");
  await page.click("button");
  await shows(page, 1);
  await page.fill("input", "two <b>");
  await page.click("button");
  await shows(page, 2);
  print("said", { items: await page.evaluate(items) });
  await shows(page, 3);
  print("returned", { items: await page.evaluate(items) });
  await browser.close();
})().catch((error) => {
  print("failed", { message: String(error) });
  process.exit(1);
});
