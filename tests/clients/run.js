// What a front end keeps of a run of a workflow: how it is, and of each step how it is, its progress and its tail.
//
// Guarantees: it is made of a snapshot and the messages after it, or of all messages, and both ways come to the same.
// It is not a client library: it is what docs/WORKFLOWS.md tells a front end to do, in one place.
const TAIL_BYTES = 4096;
const NOTHING = { current: 0, total: 0, percentage: 0 };

export class RunView {
  constructor(socket, channel, how) {
    this.status = "starting";
    this.steps = new Map();
    this.messages = [];
    socket?.on("message", (message) => {
      if (message.type === "channel.snapshot" && message.data.channel === channel) this.#restore(message.data.snapshot);
      if (message.channel === channel && message.seq) this.#apply(message);
    });
    socket?.emit("subscribe", { channel, ...how }, () => {});
  }

  /** The view of a state. */
  static of(state) {
    const view = new RunView();
    view.#restore(state);
    return view;
  }

  #restore(state) {
    this.status = state.status;
    this.steps = new Map(
      state.steps.map((step) => [step.stepId, {
        status: step.status, attempt: step.attempt, progress: step.progress, tail: step.tail ?? "",
        outputs: step.outputs ?? {}, error: step.error?.code,
      }]),
    );
  }

  #apply(message) {
    this.messages.push(message);
    const { type, data } = message;
    const [, , ...rest] = type.split(".");
    if (rest[0] === "step") this.#step(rest[1], data);
    else if (rest[0] === "updated") this.status = data.status;
    else if (rest[0] === "started") {
      this.status = "running";
      for (const { stepId, reused } of data.steps) {
        const status = reused ? "completed" : "pending";
        this.steps.set(stepId, { status, attempt: 0, progress: NOTHING, tail: "", outputs: reused ?? {}, error: undefined });
      }
    } else this.status = rest[0];
  }

  #step(what, data) {
    const step = this.steps.get(data.stepId);
    const change = {
      started: () => ({ status: "running", attempt: data.attempt, progress: NOTHING, tail: "", error: undefined }),
      output: () => ({ tail: (step.tail + data.content).slice(-TAIL_BYTES) }),
      progress: () => ({ progress: data.progress }),
      waiting: () => ({ status: "waiting" }),
      completed: () => ({ status: "completed", progress: data.progress, outputs: data.outputs ?? {} }),
      failed: () => ({ status: data.retryAt ? "pending" : "failed", error: data.code }),
      skipped: () => ({ status: "skipped" }),
      cancelled: () => ({ status: "cancelled" }),
    }[what];
    Object.assign(step, change?.());
  }

  /** All of it, to compare. */
  whole() {
    return { status: this.status, steps: Object.fromEntries(this.steps) };
  }
}
