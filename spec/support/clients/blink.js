// blink.js URL OPTIONS: many clients of examples/client in one group, which lose their connections
// again and again, while numbered messages are said there. Prints one line: who heard what.
//
// OPTIONS: { group, clients, seconds, every, off, rate }: all but the first, who speaks, are without
// a network for `off` seconds in every `every`, each at a time of its own; `rate` messages a second.
// The server is examples/room.
const path = require("path");
const WebSocket = require("ws");

const url = process.argv[2];
const { group, clients, seconds, every, off, rate } = JSON.parse(process.argv[3]);
const sleep = (ms) => new Promise((go) => setTimeout(go, ms));
const until = async (test, ms) => {
  for (const end = Date.now() + ms; !test() && Date.now() < end;) await sleep(20);
};

class Visitor {
  constructor(Client, number) {
    const self = this;
    Object.assign(this, { away: false, socket: null, next: 1, heard: 0 });
    Object.assign(this, { doubled: 0, disordered: 0, gaps: 0, returns: 0, missed: 0 });
    // A network that can be cut: the server is not told, and nobody answers meanwhile.
    class Cut extends WebSocket {
      constructor(address) {
        super(self.away ? "ws://127.0.0.1:1/" : address, { perMessageDeflate: false });
        self.socket = this;
      }
    }
    this.client = new Client(url, { WebSocket: Cut, first: (off * 1000) / 4, most: off * 500 });
    this.group = this.client.join(group, { key: `visitor ${number}`, name: "V" });
    this.group.on("message", (message) => this.hear(message.ref));
    this.group.on("joined", ({ recovered }) => { this.returns += recovered ? 1 : 0; });
    this.group.on("gap", () => { this.gaps += 1; });
  }

  hear(n) {
    this.heard += 1;
    if (n < this.next) this.doubled += 1;
    else if (n > this.next) this.disordered += 1;
    this.next = Math.max(this.next, n + 1);
  }

  async blink(end) {
    await sleep(Math.random() * (every - off) * 1000);
    while (Date.now() < end) {
      this.away = true;
      this.socket.terminate();
      await sleep(off * 1000);
      this.away = false;
      await sleep((every - off) * 1000);
    }
  }
}

async function main() {
  const { Client } = await import(path.resolve("examples/client/rille.js"));
  const all = Array.from({ length: clients }, (_, i) => new Visitor(Client, i));
  await until(() => all.every((one) => one.group.joined), 15000);
  const [speaker, ...others] = all;

  const begin = Date.now(), end = begin + seconds * 1000;
  for (const one of others) one.blink(end - every * 1000);
  let said = 0;
  while (Date.now() < end) {
    const due = Math.min(rate * seconds, ((Date.now() - begin) / 1000) * rate);
    while (said < due) speaker.client.send({ type: "say", group, text: "x", ref: ++said });
    await sleep(5);
  }
  await until(() => all.every((one) => one.next > said), 15000);
  const sum = (name) => all.reduce((total, one) => total + one[name], 0);
  console.log(JSON.stringify({
    event: "heard",
    joined: all.filter((one) => one.group.joined).length,
    said, wanted: said * clients, heard: sum("heard"),
    doubled: sum("doubled"), disordered: sum("disordered"), gaps: sum("gaps"),
    returns: sum("returns"),
  }));
  process.exit(0);
}

main();
