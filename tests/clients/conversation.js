// What a front end keeps of a session with an agent: its messages, tools, requests, and the text in progress.
//
// Guarantees: it is made of a snapshot and the messages after it, or of all messages, and both ways
// come to the same; a text in progress is a beginning of what the agent says, whatever deltas are
// missing or repeated.
// It is not a client library: it is what docs/AGENTS.md tells a front end to do, in one place.
const ENDS = { "session.completed": "completed", "session.error": "error", "session.cancelled": "cancelled" };

export class Conversation {
  constructor() {
    this.status = "starting";
    this.messages = new Map();
    this.progress = new Map();
    this.tools = new Map();
    this.subagents = new Set();
    this.permissions = new Set();
    this.questions = new Set();
    this.queue = [];
    this.tokens = { input: 0, output: 0 };
    this.cost = 0;
    this.turns = 0;
    this.plan = null;
    this.output = "";
  }

  /** Begins anew from the state of the session. */
  restore(state) {
    const { conversation: known } = state;
    Object.assign(this, new Conversation());
    this.status = state.status;
    for (const { messageId, block, blocks } of known.messages) this.#speak(messageId, block, blocks);
    for (const { messageId, block, kind, text } of known.inProgress ?? []) {
      this.progress.set(`${messageId}/${block}/${kind}`, text);
    }
    for (const { executionId, name, status } of known.tools) this.tools.set(executionId, { name, status: status ?? null });
    for (const { executionId } of known.subagents) this.subagents.add(executionId);
    for (const { requestId } of known.permissions) this.permissions.add(requestId);
    for (const { requestId } of known.questions) this.questions.add(requestId);
    this.queue = known.queue.map(({ messageId }) => messageId);
    this.tokens = { input: known.usage.inputTokens, output: known.usage.outputTokens };
    this.cost = known.usage.costUsd;
    this.turns = known.usage.turns;
    this.plan = known.plan && { current: known.plan.current, total: known.plan.total };
    this.output = state.transcript.filter(({ type }) => type !== "system").map(({ content }) => content).join("");
  }

  /** Takes the next message of the session's channel. */
  apply({ type, data }) {
    switch (type) {
      case "session.started": this.status = "running"; break;
      case "session.stream_output": if (data.type !== "system") this.output += data.content; break;
      case "session.text_delta": this.#grow(data, "text"); break;
      case "session.thinking_delta": this.#grow(data, "thinking"); break;
      case "session.message": this.#speak(data.messageId, data.block, data.blocks); break;
      case "session.tool_started": this.tools.set(data.executionId, { name: data.name, status: null }); break;
      case "session.tool_completed": this.tools.get(data.executionId).status = data.status; break;
      case "session.subagent_started": this.subagents.add(data.executionId); break;
      case "session.subagent_completed": this.subagents.delete(data.executionId); break;
      case "session.permission_requested": this.permissions.add(data.requestId); break;
      case "session.permission_resolved": this.permissions.delete(data.requestId); break;
      case "session.question_requested": this.questions.add(data.requestId); break;
      case "session.question_resolved": this.questions.delete(data.requestId); break;
      case "session.message_queued": this.queue.push(data.messageId); break;
      case "session.message_dequeued": this.queue = this.queue.filter((id) => id !== data.messageId); break;
      case "session.progress": this.plan = { current: data.current, total: data.total }; break;
      case "session.usage":
        this.tokens.input += data.inputTokens;
        this.tokens.output += data.outputTokens;
        this.cost += data.costUsd ?? 0;
        break;
      case "session.turn_completed": this.turns += 1; this.progress.clear(); break;
      default: if (ENDS[type]) { this.status = ENDS[type]; this.progress.clear(); }
    }
  }

  // A delta that begins beyond what is there is waited out, of one that begins before the rest is taken.
  #grow({ messageId, block, offset, text }, kind) {
    if (this.messages.get(messageId)?.[block]) return;
    const key = `${messageId}/${block}/${kind}`;
    const known = this.progress.get(key) ?? "";
    if (offset <= known.length) this.progress.set(key, known + text.slice(known.length - offset));
  }

  #speak(messageId, first, blocks) {
    const known = this.messages.get(messageId) ?? [];
    blocks.forEach((block, index) => {
      known[first + index] = block;
      for (const kind of ["text", "thinking"]) this.progress.delete(`${messageId}/${first + index}/${kind}`);
    });
    this.messages.set(messageId, known);
  }

  /** All of it, to compare. */
  whole() {
    const { status, queue, tokens, turns, plan, output } = this;
    const [messages, tools, progress] = [this.messages, this.tools, this.progress].map((map) => Object.fromEntries(map));
    const cost = this.cost.toFixed(6);
    return {
      status, queue, tokens, turns, plan, output, messages, tools, progress, cost,
      subagents: [...this.subagents], permissions: [...this.permissions], questions: [...this.questions],
    };
  }
}

/** Somebody who watches a session: from its start, from wherever it was left, or from its state. */
export class Watch {
  constructor(socket, channel, how) {
    this.conversation = new Conversation();
    this.deltas = 0;
    const subscribe = () => {
      const from = this.position ? { since: this.position, snapshot: true } : how;
      socket.emit("subscribe", { channel, ...from }, ({ epoch }) => {
        this.position ??= { epoch, seq: 0 };
      });
    };
    socket.on("message", (message) => {
      if (message.type === "channel.snapshot" && message.data.channel === channel) {
        this.conversation.restore(message.data.snapshot);
        this.position = { epoch: message.data.epoch, seq: message.data.seq };
      }
      if (message.channel !== channel) return;
      this.deltas += /_delta$/.test(message.type) ? 1 : 0;
      if (this.lose?.(message)) return;
      this.conversation.apply(message);
      if (message.seq) this.position = { epoch: this.position.epoch, seq: message.seq };
    });
    socket.on("connect", subscribe);
    if (socket.connected) subscribe();
  }
}
