// rille_client.js: examples/client against a server that is played here. Prints one line for each
// thing that holds, and {"event": "failed"} for what does not.
const assert = require("assert");
const path = require("path");

let sockets = [];

class Played {
  constructor(url) {
    Object.assign(this, { url, readyState: 0, said: [], listeners: {} });
    sockets.push(this);
  }
  addEventListener(event, fn) { (this.listeners[event] ??= []).push(fn); }
  tell(event, value = {}) { for (const fn of this.listeners[event] ?? []) fn(value); }
  open() { this.readyState = 1; this.tell("open"); }
  hear(message) { this.tell("message", { data: JSON.stringify(message) }); }
  send(text) { this.said.push(JSON.parse(text)); }
  close(code = 1005) { this.end(code); }
  end(code) { this.readyState = 3; this.tell("close", { code, reason: "" }); }
}

const last = () => sockets[sockets.length - 1];
const sleep = (ms) => new Promise((go) => setTimeout(go, ms));
const place = (offset, epoch = "e1") => ({ group: "g", epoch, offset });

function begin(Client, options) {
  sockets = [];
  const client = new Client("ws://x/", { WebSocket: Played, first: 10, most: 40, random: () => 1, ...options });
  const group = client.join("g", { since: { last: 5 }, token: "t" });
  const heard = [];
  group.on("message", ({ n }) => heard.push(n));
  for (const event of ["gap", "refused"]) group.on(event, () => heard.push(event));
  group.on("joined", ({ recovered }) => heard.push(recovered ? "recovered" : "joined"));
  return { client, group, heard };
}

function joined(at, rest) { last().hear({ type: "joined", group: "g", history: place(at), ...rest }); }
function kept(n, epoch) { last().hear({ n, history: place(n, epoch) }); }

const tests = {
  async "joins with what it was given, and again behind the last message"({ client, group, heard }) {
    assert.equal(client.send({ a: 1 }), false);
    last().open();
    assert.deepEqual(last().said, [{ token: "t", type: "join", group: "g", since: { last: 5 } }]);
    kept(7); kept(8); joined(8);
    assert.deepEqual(heard, [7, 8, "joined"]);
    last().end(1006);
    assert.equal(group.joined, false);
    await sleep(60);
    last().open();
    assert.deepEqual(last().said[0].since, { epoch: "e1", offset: 8 });
    kept(9); joined(9, { recovered: true }); kept(10);
    assert.deepEqual(heard, [7, 8, "joined", 9, "recovered", 10]);
    assert.equal(sockets.length, 2);
  },

  async "tells nothing twice"({ heard }) {
    last().open();
    joined(3); kept(3); kept(4); kept(4); kept(2); kept(5);
    assert.deepEqual(heard, ["joined", 4, 5]);
  },

  async "asks once for a hole, and goes on in order"({ heard }) {
    last().open();
    joined(3); kept(4); kept(7); kept(8);
    assert.deepEqual(last().said[1].since, { epoch: "e1", offset: 4 });
    assert.equal(last().said.length, 2);
    kept(5); kept(6); kept(7); kept(8); joined(8, { recovered: true }); kept(9);
    assert.deepEqual(heard, ["joined", 4, 5, 6, 7, 8, "recovered", 9]);
  },

  async "tells of a gap, and then what there is behind it"({ heard, group }) {
    last().open();
    joined(3); kept(9); kept(10); joined(10, { gap: true }); kept(11);
    assert.deepEqual(heard, ["joined", "joined", "gap", 9, 10, 11]);
    last().end(1006);
    await sleep(60);
    last().open();
    kept(1, "e2"); // another life of the history: said between the gap and the answer
    last().hear({ type: "joined", group: "g", history: place(1, "e2"), gap: true });
    kept(2, "e2");
    assert.deepEqual(heard.slice(6), ["joined", "gap", 1, 2]);
    assert.deepEqual(group.mark, { epoch: "e2", offset: 2 });
  },

  async "leaves for good"({ client, group, heard }) {
    last().open();
    group.leave();
    assert.deepEqual(last().said[1], { type: "leave", group: "g" });
    kept(1);
    assert.deepEqual(heard, []);
    assert.notEqual(client.join("g"), group);
  },

  async "comes back later each time, until something comes"({ client }) {
    const delays = [];
    client.on("close", ({ delay }) => delays.push(delay));
    for (let i = 0; i < 4; i++) { last().end(1006); await sleep(60); }
    last().open();
    last().end(1012); await sleep(60);
    last().open(); last().hear({}); last().end(1006);
    assert.deepEqual(delays, [10, 20, 40, 40, 40, 10]);
  },

  async "stays away when it is told to"({ client }) {
    const delays = [];
    client.on("close", ({ code, delay }) => delays.push([code, delay]));
    last().open(); last().end(4001); await sleep(30);
    assert.deepEqual(delays, [[4001, null]]);
    assert.equal(sockets.length, 1);
  },

  async "is over when it is closed"({ client }) {
    last().open(); client.close(); await sleep(30);
    assert.equal(sockets.length, 1);
    assert.equal(client.connected, false);
  },

  async "knows who is here, in whichever order it hears"({ group }) {
    const change = (event, key, seq, ...metas) =>
      last().hear({ type: "presence", group: "g", changes: [{ event, key, seq, metas }] });
    last().open();
    change("join", "early", 8, 1);
    joined(0, { people: { seq: 5, keys: { ann: [1], bob: [2] } } });
    change("leave", "ann", 7); change("join", "ann", 6, 1); change("update", "bob", 4, 9);
    assert.deepEqual([...group.people].sort(), [["bob", [2]], ["early", [1]]]);
    change("update", "bob", 9, 3);
    assert.deepEqual(group.people.get("bob"), [3]);
  },

  async "passes on what is of no group"({ client }) {
    const heard = [];
    client.on("message", (message) => heard.push(message));
    last().open();
    last().hear({ a: 1 });
    last().tell("message", { data: "no JSON" });
    assert.deepEqual(heard, [{ a: 1 }, "no JSON"]);
  },

  async "lets a refusal be known"({ heard }) {
    last().open();
    last().hear({ type: "refused", group: "g" });
    assert.deepEqual(heard, ["refused"]);
  },
};

(async () => {
  const { Client } = await import(path.resolve("examples/client/rille.js"));
  for (const [name, test] of Object.entries(tests)) {
    const all = begin(Client);
    try {
      await test(all);
      console.log(JSON.stringify({ event: "holds", name }));
    } catch (error) {
      console.log(JSON.stringify({ event: "failed", name, message: String(error.stack) }));
    }
    all.client.close();
  }
})();
