import { mkdtempSync } from "node:fs";
import { io } from "socket.io-client";

const server = process.env.SERVER ?? "http://127.0.0.1:4100";
const post = async (path, body, token) => {
  const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
  const response = await fetch(server + path, { method: "POST", headers, body: JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.message); // a wrong password, for one
  return answer;
};
const login = async () => (await post("/api/auth/login", { username: "admin", password: process.argv[2] })).token;

// Run a real program as a session, in a project of its own.
let token = await login();
const project = await post("/api/projects", { name: "demo", root: mkdtempSync("/tmp/demo-") }, token);
const command = ["sh", "-c", "for n in 1 2 3 4 5; do echo tick $n; sleep 1; done"];
const { channel } = await post("/api/sessions", { projectId: project.id, command }, token);

// Watch it. Cut the network or restart the server meanwhile: nothing is missed, nothing comes twice.
let since = { seq: 0 };
const socket = io(server, { auth: (give) => give({ token }) });
socket.on("connect_error", async ({ message, data }) => {
  if (data?.code === "overloaded") return void setTimeout(() => socket.connect(), 5000); // the server is full
  if (message !== "Authentication error") return; // the network: the client tries again by itself
  token = await login(); // the token's time is over
  socket.disconnect().connect();
});
socket.on("connect", () => socket.emit("subscribe", { channel, since }, ({ epoch }) => { since.epoch = epoch; }));
socket.on("message", ({ type, seq, data }) => {
  if (seq) since.seq = seq;
  // What the program prints; lines of the type `system` are the server's own.
  if (type === "session.stream_output" && data.type !== "system") process.stdout.write(data.content);
  const end = /^session\.(completed|error|cancelled)$/.exec(type);
  if (end) { console.log(end[1], data.exitCode ?? data.code); socket.close(); }
});
