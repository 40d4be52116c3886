// rille.js - a WebSocket that comes back, and joins its groups again where it had left them.
//
//   const client = new Client("wss://example.org/ws");
//   const room = client.join("room.lobby", { since: { last: 20 } });
//   room.on("message", (message) => show(message.text));
//   client.send({ type: "say", group: room.name, text: "hello" });
//
// No dependencies; for browsers, and for node with { WebSocket } of the package ws where there is
// none. The protocol is in README.md beside this file; rille.d.ts has the types.

const OPEN = 1;
const REMEMBERED = 200;

class Emitter {
  #listeners = new Map();

  on(event, fn) {
    if (!this.#listeners.has(event)) this.#listeners.set(event, new Set());
    this.#listeners.get(event).add(fn);
    return () => this.off(event, fn);
  }

  off(event, fn) {
    this.#listeners.get(event)?.delete(fn);
  }

  emit(event, ...values) {
    for (const fn of [...(this.#listeners.get(event) ?? [])]) fn(...values);
  }
}

// A group that this client is in, for as long as it wants to be, over all its connections.
export class Group extends Emitter {
  #client;
  #since; // what the next join says
  #joining = 0; // answers that are to come
  #held = []; // messages behind a hole
  #people = new Map(); // key to { metas, seq }

  constructor(client, name, { since, ...extra } = {}) {
    super();
    this.name = name;
    this.mark = since?.epoch ? since : null; // { epoch, offset } of the last message
    this.joined = false;
    this.extra = extra; // what else a join says
    this.#client = client;
    this.#since = since ?? null;
  }

  // Who is here: key to what is known of each of its connections.
  get people() {
    return new Map([...this.#people].filter(([, one]) => one.metas).map(([key, one]) => [key, one.metas]));
  }

  leave() {
    this.#client.forget(this);
  }

  // For the client

  ask() {
    const since = this.mark ?? this.#since;
    if (this.#client.send({ ...this.extra, type: "join", group: this.name, since })) this.#joining++;
  }

  lost() {
    this.joined = false;
    this.#joining = 0;
    this.#held = [];
  }

  // A message that is kept has its place. What was here already is not told again; a hole is what
  // the server had no room for: ask for it. What is behind it waits; most likely it comes again.
  take(message) {
    const { epoch, offset } = message.history ?? {};
    if (epoch) {
      const here = this.mark;
      if (here && here.epoch === epoch && offset <= here.offset) return;
      if (here && (here.epoch !== epoch || offset !== here.offset + 1)) {
        this.#held.push(message);
        if (!this.#joining) this.ask();
        return;
      }
      this.mark = { epoch, offset };
    }
    this.emit("message", message);
  }

  answer({ history, recovered = false, gap = false, people }) {
    if (this.#joining) this.#joining--;
    if (this.#joining) return; // an answer to what was asked before
    const held = this.#held;
    this.#held = [];
    if (gap) this.mark = null; // whatever there is behind it
    this.joined = true;
    if (people) this.#begin(people);
    this.emit("joined", { recovered, gap });
    if (gap) this.emit("gap");
    for (const message of held) this.take(message);
    if (history && !this.#joining && !this.#isAt(history))
      this.mark = { epoch: history.epoch, offset: history.offset };
  }

  #isAt({ epoch, offset }) {
    return this.mark?.epoch === epoch && this.mark.offset >= offset;
  }

  refuse(message) {
    this.#joining = 0;
    this.emit("refused", message);
  }

  // Presence: what is newer counts, in whichever order it comes.

  #begin({ seq = 0, keys = {} }) {
    for (const [key, one] of this.#people) if (one.seq <= seq) this.#people.delete(key);
    for (const [key, metas] of Object.entries(keys))
      if (!this.#people.has(key)) this.#people.set(key, { metas, seq });
    this.emit("people", this.people);
  }

  // Those who have left are remembered for a while, in case an older change of theirs is to come.
  #forget() {
    const gone = [...this.#people].filter(([, one]) => !one.metas).slice(0, -REMEMBERED);
    for (const [key] of gone) this.#people.delete(key);
  }

  change({ changes = [] }) {
    const fresh = changes.filter(({ key, seq }) => !(this.#people.get(key)?.seq >= seq));
    if (fresh.length === 0) return;
    for (const { event, key, metas, seq } of fresh) {
      this.#people.delete(key); // to the end
      this.#people.set(key, { metas: event === "leave" ? null : metas, seq });
    }
    this.#forget();
    for (const one of fresh) this.emit(one.event, one.key, one.metas ?? []);
    this.emit("people", this.people);
  }
}

export class Client extends Emitter {
  #options;
  #socket = null;
  #timer = null;
  #failures = 0; // since something came
  #closed = false;
  #groups = new Map();
  #wake = () => this.#now();

  constructor(url, options = {}) {
    super();
    this.url = url;
    this.#options = {
      WebSocket: globalThis.WebSocket,
      protocols: [],
      first: 250, // ms before the first attempt to come back, at most,
      most: 20000, // and before any
      random: Math.random,
      retry: (code) => code !== 1000 && code !== 1008 && code < 4000,
      ...options,
    };
    if (!this.#options.WebSocket) throw new Error("no WebSocket here: give one as an option");
    globalThis.addEventListener?.("online", this.#wake);
    this.#connect();
  }

  get connected() {
    return this.#socket?.readyState === OPEN;
  }

  // False: there is no connection, and nothing was sent.
  send(message) {
    if (!this.connected) return false;
    this.#socket.send(typeof message === "string" ? message : JSON.stringify(message));
    return true;
  }

  join(name, options) {
    let group = this.#groups.get(name);
    if (group) return group;
    group = new Group(this, name, options);
    this.#groups.set(name, group);
    group.ask();
    return group;
  }

  // Let go of this connection, and come back by another: after a change of network, say.
  reconnect() {
    const socket = this.#socket;
    if (!socket) return this.#now();
    this.#lost(socket, 1006, "reconnect");
    socket.close();
  }

  // For good.
  close(code = 1000, reason = "") {
    this.#end();
    this.#socket?.close(code, reason);
  }

  // For groups
  forget(group) {
    if (this.#groups.get(group.name) !== group) return;
    this.#groups.delete(group.name);
    this.send({ type: "leave", group: group.name });
  }

  #end() {
    this.#closed = true;
    clearTimeout(this.#timer);
    globalThis.removeEventListener?.("online", this.#wake);
  }

  #connect() {
    const { WebSocket, protocols } = this.#options;
    const url = typeof this.url === "function" ? this.url() : this.url;
    const socket = new WebSocket(url, protocols);
    this.#socket = socket;
    socket.addEventListener("open", () => {
      if (this.#closed || socket !== this.#socket) return;
      for (const group of this.#groups.values()) group.ask();
      this.emit("open");
    });
    socket.addEventListener("message", ({ data }) => {
      if (socket !== this.#socket) return;
      this.#failures = 0;
      this.#take(data);
    });
    socket.addEventListener("error", () => {}); // a close follows
    socket.addEventListener("close", ({ code, reason }) => this.#lost(socket, code, reason));
  }

  #take(data) {
    let message = null;
    if (typeof data === "string") {
      try {
        message = JSON.parse(data);
      } catch {
        // not ours to read
      }
    }
    const name = message?.history?.group ?? message?.group;
    const group = name === undefined ? undefined : this.#groups.get(name);
    if (!group) this.emit("message", message ?? data);
    else if (message.type === "joined") group.answer(message);
    else if (message.type === "refused") group.refuse(message);
    else if (message.type === "presence") group.change(message);
    else group.take(message);
  }

  // Everybody at a random time within a span that doubles: those who left together do not come
  // back together.
  #lost(socket, code, reason) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    for (const group of this.#groups.values()) group.lost();
    const { first, most, random, retry } = this.#options;
    if (!this.#closed && !retry(code)) this.#end();
    const delay = this.#closed ? null : random() * Math.min(most, first * 2 ** this.#failures++);
    if (delay !== null) this.#timer = setTimeout(() => this.#now(), delay);
    this.emit("close", { code, reason, delay });
  }

  #now() {
    clearTimeout(this.#timer);
    if (!this.#closed && !this.#socket) this.#connect();
  }
}
