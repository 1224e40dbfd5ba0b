// A channel whose newest messages are shown at once, and older ones page by page: the sample of docs/PROTOCOL.md.
// tests/clients/samples.test.js runs it.
//
// Guarantees: every message is there once, in order, whichever way it came.

/** The view of a channel over a `socket`; `get` asks a path over HTTP and gives the answer. */
export function view({ socket, channel, get }) {
  const messages = new Map(); // by number: what comes twice is there once
  let position, oldest;

  socket.on("message", (message) => {
    const { type, seq, data } = message;
    if (type === "channel.reset" && data.channel === channel) { // other numbers
      messages.clear();
      [position, oldest] = [{ epoch: data.epoch, seq: data.seq }, undefined];
    }
    if (message.channel !== channel || !seq) return;
    messages.set(seq, message);
    position.seq = seq;
  });
  socket.on("connect", () => {
    const from = position ? { since: position } : { last: 50 };
    socket.emit("subscribe", { channel, ...from }, ({ epoch, seq }) => { position ??= { epoch, seq }; });
  });

  const older = async () => {
    oldest ??= Math.min(position.seq + 1, ...messages.keys());
    const page = await get(`/api/channels/${channel}/events?before=${oldest}&limit=50`);
    if (page.epoch !== position.epoch) return true; // a reset is on its way
    page.events.forEach((message) => messages.set(message.seq, message));
    oldest = page.next ?? page.first;
    return page.more; // whether there is still older
  };
  return { older, shown: () => [...messages.values()].sort((one, other) => one.seq - other.seq) };
}
