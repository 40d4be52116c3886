// The page of the chat example.
//
// A message is known by its `ref`, which its sender made up, and once the server has it also by
// its `id`. What the server has not confirmed waits in `unsent` and is said again after a lost
// connection; the server says a `ref` once. What was missed meanwhile is asked for by the last id.

const $ = (id) => document.getElementById(id);
const store = {
  get: (key) => {
    try { return localStorage.getItem("chat." + key); } catch { return null; }
  },
  set: (key, value) => {
    try { localStorage.setItem("chat." + key, value); } catch { /* forbidden: forget it */ }
  },
};

// Ids may be handed out in another order than they are committed; asking for a few known ones
// again costs nothing, since they are recognised.
const OVERLAP = 20;
const FIRST_RETRY = 500; // ms; doubles, with jitter, up to
const LAST_RETRY = 20_000;
const GROUP_FOR = 5 * 60; // seconds in which one person's messages share a byline

const random = () =>
  Array.from(crypto.getRandomValues(new Uint32Array(3)), (n) => n.toString(36)).join("");
const me = store.get("me") || random();
store.set("me", me);

let name = store.get("name") || "";
let room = "";
let socket = null;
let retries = 0;
let timer = 0;
let lastId = 0;
let shown = new Map(); // ref to its <li>, with .message
let unsent = new Map(); // ref to text

// Connection ------------------------------------------------------------------------------

function setState(state, text) {
  $("state").dataset.state = state;
  if ($("state-text").textContent !== text) $("state-text").textContent = text;
}

function connect() {
  clearTimeout(timer);
  disconnect();
  const url = new URL(`/ws/chat/${room}`, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = new URLSearchParams({ name, after: Math.max(0, lastId - OVERLAP) });
  const mine = (socket = new WebSocket(url));
  if (!retries) setState("connecting", "Connecting…");
  mine.onmessage = (event) => mine === socket && receive(JSON.parse(event.data));
  mine.onclose = () => mine === socket && retry();
}

function disconnect() {
  const old = socket;
  socket = null; // its late events are nobody's
  old?.close(1000);
}

function retry() {
  socket = null;
  const longest = Math.min(LAST_RETRY, FIRST_RETRY * 2 ** retries++);
  setState("lost", navigator.onLine ? "Reconnecting…" : "Offline");
  $("people").textContent = "";
  timer = setTimeout(connect, longest * (0.5 + Math.random() / 2));
}

function retryNow() {
  if (room && name && !socket) connect();
}

function receive(message) {
  if (message.type === "history") {
    retries = 0;
    setState("open", "Connected");
    const messages = Array.isArray(message.messages) ? message.messages : []; // {} is empty, too
    if (message.gap && lastId) addGap();
    const wasAtEnd = isAtEnd();
    for (const each of messages) show(each, false);
    if (wasAtEnd || !lastId) scrollToEnd();
    lastId = Math.max(lastId, ...messages.map((each) => each.id));
    $("empty").hidden = shown.size > 0;
    for (const [ref, text] of unsent) say(ref, text);
  } else if (message.type === "message") {
    const wasAtEnd = isAtEnd();
    const isNews = show(message, true);
    lastId = Math.max(lastId, message.id);
    if (wasAtEnd) scrollToEnd();
    else if (isNews && !isOwn(message)) $("newest").hidden = false;
  } else if (message.type === "people") {
    showPeople(message.names);
  } else if (message.type === "refused") {
    unsent.delete(message.ref);
    markRefused(message.ref);
  }
}

function say(ref, text) {
  if (socket?.readyState === WebSocket.OPEN) {
    socket.send(JSON.stringify({ type: "say", ref, text }));
  }
}

// Messages --------------------------------------------------------------------------------

const isOwn = (message) => message.ref.startsWith(me + ".");
const EMOJI =
  /^[\p{Extended_Pictographic}\p{Emoji_Modifier}\p{Regional_Indicator}\u200d\ufe0f\s]+$/u;
const isEmoji = (text) => text.length <= 24 && EMOJI.test(text);
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat(undefined, {
  weekday: "long", day: "numeric", month: "long",
});

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text; // never markup
  return node;
}

// Show a message once, in the order of ids; true if it was not there. Those without an id yet
// stay last.
function show(message, isNew) {
  $("empty").hidden = true;
  const known = shown.get(message.ref);
  if (known) {
    if (known.message.id || !message.id) return false;
    unsent.delete(message.ref);
    known.remove();
  }
  const item = build(message);
  if (isNew && !known) item.classList.add("new");
  shown.set(message.ref, item);
  let before = null;
  for (let at = $("log").lastElementChild; at && message.id; at = at.previousElementSibling) {
    if (at.message && at.message.id && at.message.id < message.id) break;
    if (at.message) before = at;
  }
  $("log").insertBefore(item, before);
  group(item);
  if (before) group(before);
  return !known;
}

function build(message) {
  const item = element("li", "message");
  item.message = message;
  item.classList.toggle("own", isOwn(message));
  item.classList.toggle("emoji", isEmoji(message.text));
  item.classList.toggle("pending", !message.id);
  const byline = element("p", "byline");
  const when = new Date(message.sent_at * 1000);
  const time = element("time", "", clock.format(when));
  time.dateTime = when.toISOString();
  time.title = when.toLocaleString();
  byline.append(element("span", "name", message.name), time);
  const text = element("p", "text", message.text);
  text.dir = "auto";
  item.append(byline, text);
  return item;
}

const dayOf = (message) => new Date(message.sent_at * 1000).toDateString();

// A new day gets a line; the first of a person's messages in a row gets the byline.
function group(item) {
  let previous = item.previousElementSibling;
  if (previous?.classList.contains("day")) {
    previous.remove();
    previous = item.previousElementSibling;
  }
  const last = previous?.message;
  const { message } = item;
  const newDay = !last || dayOf(last) !== dayOf(message);
  if (newDay) {
    const today = new Date().toDateString() === dayOf(message);
    item.before(element("li", "day", today ? "Today" : calendar.format(message.sent_at * 1000)));
  }
  const sameHand = !newDay && last.name === message.name && isOwn(last) === isOwn(message);
  item.classList.toggle("first", !sameHand || message.sent_at - last.sent_at > GROUP_FOR);
}

function addGap() {
  $("log").append(element("li", "gap", "Some messages are not shown"));
}

function markRefused(ref) {
  const item = shown.get(ref);
  if (!item) return;
  item.classList.add("refused");
  item.append(element("p", "note", "Not sent: too long, or empty"));
}

function showPeople(names) {
  const list = Array.isArray(names) ? names : [];
  const first = list.slice(0, 6).join(", ") + (list.length > 6 ? "…" : "");
  const here = list.length === 1 ? "Only you are here" : `${list.length} here: ${first}`;
  $("people").textContent = here;
  $("people").title = list.join(", ");
}

const scroller = $("scroller");
let atEnd = true; // as of the last scrolling
const isAtEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;

function scrollToEnd() {
  scroller.scrollTop = scroller.scrollHeight;
  $("newest").hidden = true;
}

// People at work --------------------------------------------------------------------------

function fit() {
  $("text").style.height = "auto";
  $("text").style.height = $("text").scrollHeight + "px";
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  const ref = `${me}.${random()}`;
  unsent.set(ref, text);
  show({ ref, name, text, sent_at: Math.floor(Date.now() / 1000) }, true);
  say(ref, text);
  $("text").value = "";
  fit();
  scrollToEnd();
  $("text").focus();
});

$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("composer").requestSubmit();
  }
});

$("text").addEventListener("input", fit);
$("newest").addEventListener("click", () => { scrollToEnd(); $("text").focus(); });
scroller.addEventListener("scroll", () => {
  if (isAtEnd()) $("newest").hidden = true;
  atEnd = isAtEnd();
}, { passive: true });
new ResizeObserver(() => { if (atEnd) scrollToEnd(); }).observe(scroller); // a keyboard came up

$("rename").addEventListener("click", ask);
addEventListener("online", retryNow);
addEventListener("hashchange", enter);
document.addEventListener("visibilitychange", () => { if (!document.hidden) retryNow(); });
addEventListener("pagehide", disconnect);
addEventListener("pageshow", (event) => { if (event.persisted) retryNow(); });

function ask() {
  $("name").value = name;
  $("room-name").value = room || "lobby";
  $("entrance").showModal();
  $("name").select();
}

$("entrance").addEventListener("cancel", (event) => { if (!name) event.preventDefault(); });
$("entrance").querySelector("form").addEventListener("submit", () => {
  const before = name;
  name = $("name").value.trim();
  store.set("name", name);
  if (room === $("room-name").value && name !== before) connect();
  location.hash = $("room-name").value;
  enter();
  $("text").focus();
});

// The room is in the address, so that it can be sent to somebody.
function enter() {
  const asked = location.hash.slice(1);
  const wanted = /^[A-Za-z0-9_-]{1,60}$/.test(asked) ? asked : "lobby";
  $("rename").textContent = name || "Come in";
  $("rename").setAttribute("aria-label", name ? `You are ${name}. Change name or room` : "Come in");
  $("room").textContent = wanted;
  document.title = `#${wanted}`;
  if (!name) {
    room = wanted;
    return ask();
  }
  if (wanted === room && socket) return;
  if (wanted !== room) {
    lastId = 0;
    shown = new Map();
    unsent = new Map();
    $("log").replaceChildren();
    $("newest").hidden = true;
  }
  room = wanted;
  retries = 0;
  connect();
}

enter();
