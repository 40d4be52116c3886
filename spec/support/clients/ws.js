// ws.js URL STEPS [OPTIONS]: the npm client `ws`, told what to do; one JSON object a line.
//
// Steps: ["text", s] ["text", s, n] (n times as long)   ["bytes", hex]   ["fragments", a, b, …]
//        ["ping", s]   ["receive", n]: until n messages more than the receives before it asked for
//        ["until", s]: until this message was the last
//        ["poll", ms, s, wanted]: send s every so often until wanted comes back
//        ["sleep", ms]   ["close", code, reason]   ["reset"]: RST   ["vanish"]: FIN without a close
// After the last step it stays until the connection is closed.
// Options: { headers, protocols, origin, ca: text of a certificate to trust }
// Events: open, message {kind, length, data if short, same: as what was sent last}, ping, pong,
//         close {code, reason}, refused {status, headers, body}, error
const WebSocket = require("ws");

const url = process.argv[2];
const steps = Object.values(JSON.parse(process.argv[3])); // {} is an empty list, too
const { protocols, ...options } = JSON.parse(process.argv[4] || "{}");
const print = (event, rest) => console.log(JSON.stringify({ event, ...rest }));

const ws = new WebSocket(url, protocols || [], { perMessageDeflate: false, ...options });
let sent = Buffer.alloc(0);
let messages = 0;
let expected = 0;
let pongs = 0;
let last = null;
let closed = false;
const waiting = [];

const changed = () => waiting.splice(0).forEach((go) => go());
const until = async (test) => {
  while (!test() && !closed) await new Promise((go) => waiting.push(go));
};
const sleep = (ms) => new Promise((go) => setTimeout(go, ms));
const say = (data, how) => {
  sent = Buffer.from(data);
  if (ws.readyState === WebSocket.OPEN) ws.send(data, how);
};

ws.on("message", (data, isBinary) => {
  messages += 1;
  last = isBinary ? null : data.toString();
  print("message", {
    kind: isBinary ? "bytes" : "text",
    length: data.length,
    data: data.length <= 2000 ? (isBinary ? data.toString("hex") : last) : undefined,
    same: data.equals(sent),
  });
  changed();
});
ws.on("ping", (data) => print("ping", { data: data.toString() }));
ws.on("pong", (data) => { pongs += 1; print("pong", { data: data.toString() }); changed(); });
ws.on("close", (code, reason) => {
  closed = true;
  print("close", { code, reason: reason.toString() });
  changed();
});
ws.on("error", (error) => print("error", { message: error.message }));
ws.on("unexpected-response", (request, response) => {
  let body = "";
  response.on("data", (chunk) => { body += chunk; });
  response.on("end", () => {
    print("refused", { status: response.statusCode, headers: response.headers, body });
    process.exit(0);
  });
});

const actions = {
  text: (s, n = 1) => say(s.repeat(n), { binary: false }),
  bytes: (hex) => say(Buffer.from(hex, "hex"), { binary: true }),
  fragments: (...parts) => {
    parts.forEach((part, i) => ws.send(part, { binary: false, fin: i === parts.length - 1 }));
    sent = Buffer.from(parts.join(""));
  },
  ping: async (s) => { const before = pongs; ws.ping(s); await until(() => pongs > before); },
  receive: (n = 1) => { expected += n; return until(() => messages >= expected); },
  until: (s) => until(() => last === s),
  poll: async (ms, s, wanted) => {
    while (last !== wanted && !closed) { say(s, { binary: false }); await sleep(ms); }
  },
  sleep,
  close: (code, reason) => ws.close(code, reason),
  reset: () => ws._socket.resetAndDestroy(),
  vanish: () => ws.terminate(),
};

ws.on("open", async () => {
  print("open", { protocol: ws.protocol });
  for (const [name, ...rest] of steps) await actions[name](...rest);
});
