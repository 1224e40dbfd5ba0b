// The walk of socket.io-client, in Node and in a browser: what every client of the matrix does (see ../matrix/walk.js).
//
// Guarantees: it uses the library as docs/PROTOCOL.md tells an application to, and says each thing as it comes.
// It is not the judge: the driver is.

/**
 * Walks. `io` is the library, `walk` the settings (`{url, token, wrong, channel, publication, live, last, transports}`),
 * `options` further ones of the library, and `say` takes a name and what belongs to it. Resolves at the end.
 */
export async function steps(io, walk, options, say) {
  const { url, transports } = walk;
  const common = { transports, forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 500, ...options };
  await refused(io(url, { ...common, auth: { token: walk.wrong }, reconnection: false }), say);
  const socket = io(url, { ...common, auth: (give) => give({ token: walk.token }) });
  await new Promise((resolve, reject) => {
    follow(socket, walk, say, resolve);
    socket.on("connect_error", (error) => error.message === "Authentication error" && reject(error));
  });
  socket.close();
}

/** Waits for the refusal, and says it. */
async function refused(socket, say) {
  const begun = Date.now();
  const error = await new Promise((resolve, reject) => {
    socket.on("connect_error", resolve);
    socket.on("connect", () => reject(new Error("a wrong token was let in")));
  });
  say("refused", { message: error.message, data: error.data, afterMs: Date.now() - begun });
  socket.close();
}

/** Follows the channel from the beginning, from where it was after each reconnect, up to the last note. */
function follow(socket, walk, say, done) {
  let position = { seq: 0 };
  socket.on("connect", () => {
    socket.emit("subscribe", { channel: walk.channel, since: position }, (answer) => {
      say("subscribed", { answer, transport: socket.io.engine.transport.name });
      if (position.epoch === undefined) position = { epoch: answer.epoch, seq: position.seq };
    });
  });
  socket.on("message", (message) => {
    if (message.type === "server.hello") say("hello", { data: message.data });
    // A notice about the channel has no number.
    if (message.channel !== walk.channel || message.seq === undefined) return;
    const { n } = message.data;
    say("note", { n, seq: message.seq });
    position = { epoch: position.epoch, seq: message.seq };
    if (n === walk.live) socket.emit("publish", walk.publication, (answer) => say("published", { answer }));
    if (n === walk.last) done();
  });
}
