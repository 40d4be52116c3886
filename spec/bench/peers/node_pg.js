// Lookups and the tree walk on Node with its usual libraries, `ws` and `postgres`: what the
// servers of rille do in accounts.lua and tree.lua. The libraries are found through NODE_PATH,
// the database through libpq's variables; POOL is the number of its connections. Statements are
// prepared and pipelined, as `postgres` does by itself.
"use strict";

const postgres = require("postgres");
const { WebSocketServer } = require("ws");

const sql = postgres({ max: Number(process.env.POOL) });

async function select(socket, text) {
  const id = Number(text);
  const [account] = await sql`SELECT abalance FROM pgbench_accounts WHERE aid = ${id}`;
  socket.send(String(account.abalance));
}

async function walk(socket, text) {
  let id = Number(text);
  while (id) {
    const [folder] =
      await sql`SELECT id, name, parent_id FROM rille_bench_folder WHERE id = ${id}`;
    socket.send(folder.name);
    id = folder.parent_id;
  }
  socket.send(".");
}

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  backlog: 4096,
  perMessageDeflate: false,
});

server.on("connection", (socket, request) => {
  const answer = request.url === "/walk" ? walk : select;
  socket.on("message", (data) => answer(socket, data).catch(() => socket.terminate()));
  socket.on("error", () => socket.terminate());
});

server.on("listening", () => {
  console.error(`node_pg: listening on http://127.0.0.1:${server.address().port}`);
});
