// A viewer of a terminal: an emulator that shows what its channel tells.
//
// Guarantees: it does what docs/TERMINALS.md tells a front end to do, and no more; the emulator is xterm.js without
// a page.
// It is not the server's emulator: the two are held against each other.
import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";

import xterm from "@xterm/headless";

import { until } from "./server.js";

/** A viewer: a terminal emulator that shows a channel, as docs/TERMINALS.md tells. */
export class Viewer {
  constructor(socket, channel, { maxLag, from = {} } = {}) {
    Object.assign(this, { channel, snapshots: [], bytes: 0, ends: [], seqs: [], gaps: 0 });
    this.terminal = new xterm.Terminal({ cols: 80, rows: 24, scrollback: 5000, allowProposedApi: true });
    socket.on("message", (message) => this.#take(message));
    const subscribe = () => {
      const since = this.position ?? from.since;
      socket.emit("subscribe", { channel, snapshot: true, ...(since && { since }), ...(maxLag && { maxLag }) }, (answer) => {
        this.answer = answer;
        if (answer.ok) this.position ??= { epoch: answer.epoch, seq: 0 };
      });
    };
    socket.on("connect", subscribe);
    if (socket.connected) subscribe();
  }

  #take({ type, channel, seq, data }) {
    if (data?.channel === this.channel && type === "channel.snapshot") {
      const { cols, rows, screen, scrollback } = data.snapshot;
      this.snapshots.push(data);
      this.position = { epoch: data.epoch, seq: data.seq };
      this.terminal.reset();
      this.terminal.resize(cols, rows);
      this.terminal.write(scrollback.map((line) => `${line}\r\n`).join("") + "\r\n".repeat(rows - 1) + screen);
    }
    if (data?.channel === this.channel && /^channel\.(gap|reset)$/.test(type)) this.gaps += 1;
    if (channel !== this.channel || seq === undefined) return;
    this.seqs.push(seq);
    this.position.seq = seq;
    if (type === "shell.output") {
      this.bytes += data.data.length;
      this.terminal.write(data.data);
    }
    if (type === "shell.opened" || type === "shell.resized") this.terminal.resize(data.cols, data.rows);
    if (type === "shell.exit" || type === "shell.error") this.ends.push({ type, ...data });
  }

  /** What is on the screen: characters and how they look, cursor and modes. */
  async screen() {
    await new Promise((done) => this.terminal.write("", done));
    const { buffer, cols, rows, modes } = this.terminal;
    const cells = [];
    for (let y = 0; y < rows; y += 1) {
      const line = buffer.active.getLine(buffer.active.baseY + y);
      for (let x = 0; x < cols; x += 1) {
        const cell = line.getCell(x);
        const look = [cell.getFgColorMode(), cell.getFgColor(), cell.getBgColorMode(), cell.getBgColor()];
        const attributes = [cell.isBold(), cell.isItalic(), cell.isUnderline(), cell.isInverse(), cell.isDim()];
        // A character that was never written and a blank are the same to whoever looks.
        cells.push([cell.getChars() || " ", cell.getWidth(), ...look, ...attributes.map(Boolean)].join());
      }
    }
    const cursor = [buffer.active.cursorX, buffer.active.cursorY];
    return { type: buffer.active.type, size: [cols, rows], cursor, modes: { ...modes }, cells };
  }

  async text() {
    await new Promise((done) => this.terminal.write("", done));
    const { active } = this.terminal.buffer;
    const lines = [];
    for (let y = 0; y < active.length; y += 1) lines.push(active.getLine(y).translateToString(true));
    return lines.join("\n");
  }

  shows(text) {
    let shown;
    return until(
      async () => (shown = await this.text()).includes(text),
      () => `${text} in\n${shown}`,
    );
  }

  end() {
    return until(() => this.ends[0], () => `the end of ${this.channel}`);
  }
}

/** Two viewers that have seen everything see the same. */
export async function assertSame(one, other) {
  await until(async () => one.position.seq === other.position.seq, "both viewers to be at one place");
  const [left, right] = [await one.screen(), await other.screen()];
  assert.deepEqual(right.cells, left.cells);
  assert.deepEqual({ ...right, cells: 0 }, { ...left, cells: 0 });
}

/** The processes whose environment has this mark. */
export async function marked(mark) {
  const ids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const has = async (id) => (await readFile(`/proc/${id}/environ`, "latin1").catch(() => "")).includes(mark);
  const found = await Promise.all(ids.map(has));
  return ids.filter((_, at) => found[at]);
}
