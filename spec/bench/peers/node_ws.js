// An echo on Node and its usual WebSocket library, `ws`, with compression off.
// NODE_PATH names the folder where `ws` is installed.
"use strict";

const { WebSocketServer } = require("ws");

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  backlog: 4096,
  perMessageDeflate: false,
});

server.on("connection", (socket) => {
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  socket.on("error", () => socket.terminate());
});

server.on("listening", () => {
  console.error(`node_ws: listening on http://127.0.0.1:${server.address().port}`);
});
