// The page of the room: joins, shows what is said and who is here, and comes back by itself.
import { Client } from "./client/rille.js";

const $ = (id) => document.getElementById(id);
const name = location.hash.slice(1) || "lobby";
const key = (sessionStorage.key_ ??= crypto.randomUUID());
let away = false;

const client = new Client(
  () => (away ? "ws://127.0.0.1:1/" : `${location.origin.replace(/^http/, "ws")}/ws`),
  { first: 500, most: 5000 },
);
let room = null;

function state(text, data) {
  $("state").textContent = text;
  $("state").dataset.state = data;
}

function show(text, from, className = "said") {
  const line = document.createElement("li");
  line.className = className;
  for (const [part, words] of [["name", from], ["text", text]]) {
    if (!words) continue;
    const span = line.appendChild(document.createElement("span"));
    span.className = part;
    span.textContent = words;
  }
  $("log").append(line);
  line.scrollIntoView();
}

function enter(own) {
  room = client.join(`room.${name}`, { since: { last: 50 }, key, name: own });
  room.on("message", ({ text, name: from }) => show(text, from));
  room.on("joined", () => state("connected", "open"));
  room.on("gap", () => show("Some of what was said meanwhile is gone.", null, "gap"));
  room.on("refused", () => show("The server did not take that.", null, "gap"));
  room.on("people", (people) => {
    const names = [...people.values()].map(([meta]) => meta?.name ?? "?").sort();
    $("people").textContent = `${names.length} here: ${names.join(", ")}`;
  });
  $("name").readOnly = true;
}

client.on("close", () => state("away", "lost"));
$("room").textContent = `# ${name}`;
window.addEventListener("hashchange", () => location.reload());

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!room) enter($("name").value.trim());
  const text = $("text").value.trim();
  if (text && client.send({ type: "say", group: room.name, text })) $("text").value = "";
});

// What a tunnel or a lift does: the line is gone, and nobody says goodbye.
$("away").addEventListener("click", () => {
  away = true;
  client.reconnect();
  setTimeout(() => { away = false; }, 3000);
});
