// Node's own socket.io server, as a control of the tests: whatever it fails is a wrong test.
//
// Guarantees: the protocol is the published server's alone; above it stands only what the tests need of an
// application: tokens, the hello, `subscribe`, `publish` and an error for every other event.
// It is not a stand-in for Tidings: no test of Tidings passes because of it.
import { createServer } from "node:http";

const TOKENS = {
  good: undefined,
  late: { code: "token_expired", message: "the token has ended", retryable: true },
  out: { code: "token_revoked", message: "the login has ended", retryable: true },
};
const UNKNOWN = { code: "unauthenticated", message: "no token that verifies", retryable: true };

function judge(socket, next) {
  const { token } = socket.handshake.auth;
  if (token === "good") return next();
  const error = new Error("Authentication error");
  error.data = TOKENS[token] ?? UNKNOWN;
  return next(error);
}

/** An application that answers as Tidings does, as far as the tests ask. */
function serve(io, socket) {
  let seq = 0;
  socket.emit("message", { type: "server.hello", data: { protocol: 1 } });
  const commands = {
    subscribe: (channel) => {
      socket.join(channel.channel ?? channel);
      return { ok: true, channel: channel.channel ?? channel, seq };
    },
    publish: ({ channel, type, data } = {}) => {
      if (typeof channel !== "string") return { ok: false, error: { code: "bad_request" } };
      seq += 1;
      io.to(channel).emit("message", { type, channel, seq, data });
      return { ok: true, channel, seq };
    },
  };
  socket.onAny((event, ...args) => {
    const answer = typeof args.at(-1) === "function" ? args.pop() : () => {};
    const command = commands[event] ?? (() => ({ ok: false, error: { code: "unknown_command" } }));
    answer(command(...args));
  });
}

/** Starts it; gives what `start` in `target.js` promises. */
export async function startReference({ heartbeat, connectTimeout, origins }) {
  const { Server } = await import("socket.io");
  const http = createServer();
  const io = new Server(http, {
    ...heartbeat,
    connectTimeout: connectTimeout ?? 10_000,
    maxHttpBufferSize: 1_000_000,
    cors: { origin: origins, credentials: true },
    serveClient: false,
  });
  io.use(judge);
  io.on("connection", (socket) => serve(io, socket));
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  return {
    heartbeat,
    url: `http://127.0.0.1:${http.address().port}`,
    good: "good",
    wrong: "nonsense",
    expired: "late",
    revoked: "out",
    stop: () => new Promise((resolve) => {
      io.close(resolve);
      http.closeAllConnections();
    }),
  };
}
