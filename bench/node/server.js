/**
 * Node Socket.IO, as a peer: what most people would run in place of Tidings.
 *
 * It checks a token, joins rooms and broadcasts what is posted, as the other peers do.
 * It is not durable: nothing is stored, numbered or replayed.
 */
"use strict";

const { createServer } = require("node:http");
const jwt = require("jsonwebtoken");
const { Server } = require("socket.io");

const SECRET = "secret";
const PORT = Number(process.argv[2]);

const io = new Server({ serveClient: false });

function publish(body) {
  const parsed = JSON.parse(body);
  const events = Array.isArray(parsed) ? parsed : [parsed];
  for (const { type, channel, data } of events) io.to(channel).emit("message", { type, channel, data });
}

const http = createServer((request, response) => {
  if (request.method === "GET") {
    response.end("ready");
    return;
  }
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    publish(Buffer.concat(chunks).toString());
    const answer = '{"ok":true}';
    response.writeHead(200, { "content-type": "application/json", "content-length": answer.length });
    response.end(answer);
  });
});

io.use((socket, next) => {
  jwt.verify(socket.handshake.auth.token, SECRET, { algorithms: ["HS256"] }, (error, claims) => {
    if (error) return next(new Error("Authentication error"));
    socket.data.user = claims.sub;
    next();
  });
});

io.on("connection", (socket) => {
  socket.on("subscribe", (channel, answer) => {
    socket.join(channel);
    answer({ ok: true });
  });
});

io.attach(http);
http.listen(PORT, "127.0.0.1");
