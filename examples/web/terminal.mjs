// A terminal in a page: the sample of docs/TERMINALS.md. tests/clients/samples.test.js runs it.
//
// Guarantees: whoever comes back goes on where they were, or gets a fresh screen; what is typed goes in once.

/** Opens a terminal in a project over a connected `socket`; `Terminal` is xterm.js's. */
export function terminal({ socket, projectId, Terminal }) {
  socket.emit("shell.open", { projectId, cols: 80, rows: 24 }, ({ ok, data, error }) => {
    if (ok) watch(data.terminalId, data.channel);
  });

  function watch(terminalId, channel) {
    const term = new Terminal();
    let position;
    socket.on("message", ({ type, channel: from, seq, data }) => {
      if (type === "channel.snapshot" && data.channel === channel) {
        const { cols, rows, screen, scrollback } = data.snapshot;
        position = { epoch: data.epoch, seq: data.seq };
        term.reset();
        term.resize(cols, rows);
        term.write(scrollback.map((line) => line + "\r\n").join("") + "\r\n".repeat(rows - 1) + screen);
      }
      if (from !== channel || !seq) return;
      position.seq = seq;
      if (type === "shell.output") term.write(data.data);
      if (type === "shell.resized") term.resize(data.cols, data.rows);
      if (type === "shell.exit" || type === "shell.error") term.options.disableStdin = true;
    });
    const subscribe = () => socket.emit("subscribe",
      { channel, snapshot: true, since: position, maxLag: { bytes: 500_000 } }, () => {});
    socket.on("connect", subscribe);
    subscribe();

    let inputSeq = 0;
    const writer = crypto.randomUUID();
    term.onData((data) => socket.emit("shell.input", { terminalId, data, writer, inputSeq: ++inputSeq }, () => {}));
    term.onResize(({ cols, rows }) => socket.emit("shell.resize", { terminalId, cols, rows }, () => {}));
  }
}
