// A front end's code with socket.io-client and the generated types. It is compiled, not run.

import { io, type Socket } from "socket.io-client";

import {
  type AnyMessage,
  type ClientToServerEvents,
  type MessageOf,
  type Schema,
  type ServerToClientEvents,
  type SessionState,
  type SnapshotOf,
  isOf,
  isSnapshotOf,
} from "../../schemas/tidings";

/** A typed socket: what it hears and what it may say are the server's. */
export const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io("http://127.0.0.1:4100", {
  auth: (give) => give({ token: "a token" }),
});

socket.on("message", (message) => show(message));
// @ts-expect-error: the server sends no such event.
socket.on("session.started", () => undefined);

/** A `switch` over the types of one kind of channel knows them all. */
export function show(message: AnyMessage): string {
  if (isOf("shell:terminal:{terminalId}", message)) {
    switch (message.type) {
      case "shell.opened":
        return `${message.data.cols} columns`;
      case "shell.output":
        return message.data.data;
      case "shell.resized":
        return `${message.data.cols} × ${message.data.rows}`;
      case "shell.exit":
        return `exited with ${message.data.code ?? "a signal"}`;
      case "shell.error":
        return message.data.message ?? "failed";
      default:
        // Nothing is left: a further event of terminals would be a fault here.
        return message satisfies never;
    }
  }
  return isOf("session:{sessionId}", message) && message.type === "session.completed" ? ended(message) : "something else";
}

function ended(message: Extract<MessageOf<"session:1">, { type: "session.completed" }>): string {
  return `${message.data.sessionId} ended with ${message.data.exitCode ?? "no code"}`;
}

/** The state of a kind of channel, out of its snapshot. */
export function status(message: AnyMessage): SessionState["status"] | undefined {
  if (isSnapshotOf("shell:terminal:{terminalId}", message)) console.log(message.data.seq, message.data.snapshot.cols);
  return isSnapshotOf("session:{sessionId}", message) ? message.data.snapshot.status : undefined;
}

/** The same by a channel's name. */
export const sessionOf = (snapshot: SnapshotOf<"session:1">): SessionState => snapshot;

/** The data of an event, by its channel and its type. */
export type Completed = Schema["session:{sessionId}"]["session.completed"];
// @ts-expect-error: no such event is told in the channels of sessions.
export type None = Schema["session:{sessionId}"]["shell.exit"];

export async function start(): Promise<string> {
  const answer = await socket.emitWithAck("session.start", { projectId: "p1", agent: "claude", prompt: "Fix the login" });
  if (!answer.ok) return answer.error.code;
  // With a `commandId` that was used, the first answer may not be kept.
  if (answer.repeated) return "it runs already";
  const subscribed = await socket.emitWithAck("subscribe", { channel: answer.data.channel, since: { seq: 0 }, snapshot: true });
  if (!subscribed.ok) return subscribed.error.message;
  return "results" in subscribed ? "several" : `${subscribed.exists} ${subscribed.snapshot} ${subscribed.seq}`;
}

export function ask(): void {
  socket.emit("session.list", (answer) => console.log(answer.ok ? answer.data.sessions.length : answer.error.code));
  socket.emit("session.list", { status: "running", limit: 20 }, (answer) => console.log(answer.ok && answer.data.cursor));
  socket.emit("session.cancel", { sessionId: "s1", commandId: "c1" }, (answer) => console.log(answer.ok));
  socket.emit("shell.input", { terminalId: "t1", data: "ls\r", inputSeq: 1 }, (answer) => console.log(answer.ok));
  // @ts-expect-error: which session?
  socket.emit("session.cancel", (answer) => console.log(answer));
  // @ts-expect-error: there is no such field.
  socket.emit("session.cancel", { sessionId: "s1", force: true }, () => undefined);
  // @ts-expect-error: an agent or a command, not both.
  socket.emit("session.start", { projectId: "p1", agent: "claude", command: ["ls"] }, () => undefined);
  // @ts-expect-error: there is no such command.
  socket.emit("session.destroy", { sessionId: "s1" }, () => undefined);
}

export async function state(): Promise<SessionState["status"] | undefined> {
  const answer = await socket.emitWithAck("session.get", { sessionId: "s1" });
  return answer.ok ? answer.data.status : undefined;
}
