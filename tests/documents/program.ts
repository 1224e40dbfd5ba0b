// A program that uses the generated types as a front end does. It is compiled, not run.

import {
  type Acknowledged,
  type AcknowledgedOnce,
  type AnyMessage,
  type ChannelOf,
  type Commands,
  type Durable,
  type Messages,
  type Notices,
  type Requests,
  type SessionState,
  isDurable,
  isKnown,
} from "../../schemas/tidings";

/** It narrows by `type`, although types that are not known here may come. */
export function shown(message: AnyMessage): string {
  switch (message.type) {
    case "session.stream_output":
      return message.data.content;
    case "session.completed":
      return `ended with ${message.data.exitCode ?? "no code"} as number ${message.seq.toFixed(0)}`;
    case "session.message":
      return message.data.blocks.map((block) => (block.type === "text" ? block.text : block.type)).join(" ");
    case "session.heartbeat":
      // An ephemeral message has no number.
      return `${message.data.phase} ${message.seq satisfies undefined}`;
    case "channel.gap":
      return `${message.data.from} to ${message.data.to}`;
    default:
      return isKnown(message) ? message.type : `unknown: ${String(message.type)}`;
  }
}

/** Whoever has a number can be gone on from. */
export function since(message: AnyMessage): number | undefined {
  return isDurable(message) ? message.seq : undefined;
}

/** A message of an unknown type tells nothing of its data. */
export function data(message: AnyMessage): unknown {
  if (isKnown(message)) return message.data;
  // @ts-expect-error: its data has no type.
  return message.data.sessionId;
}

export const started: Messages["session.started"] = {
  type: "session.started",
  channel: "session:s1",
  seq: 1,
  time: "2026-11-20T20:31:29.123Z",
  data: { sessionId: "s1", projectId: "p1" },
};

// @ts-expect-error: a durable message has a number.
export const unnumbered: Durable<"session.paused", { sessionId: string }> = {
  type: "session.paused",
  channel: "session:s1",
  time: "2026-11-20T20:31:29.123Z",
  data: { sessionId: "s1" },
};

/** A snapshot, by the name of its channel. */
export function status(snapshot: ChannelOf<`session:${string}`>["snapshot"]): SessionState["status"] {
  return snapshot.status;
}
export const board: ChannelOf<"project:p1">["message"]["type"] = "session.summary";
export const none: ChannelOf<"nowhere:1"> extends never ? true : false = true;

/** Commands and requests, with their answers. */
export declare function run<C extends keyof Commands>(name: C, input: Commands[C]["input"]): Promise<Acknowledged<C>>;
export declare function ask<R extends keyof Requests>(name: R, argument: Requests[R]["argument"]): Promise<Requests[R]["answer"]>;

export async function start(): Promise<string> {
  const acknowledged = await run("session.start", { projectId: "p1", agent: "claude", prompt: "Fix the login" });
  if (!acknowledged.ok) return acknowledged.error.code;
  const { channel, sessionId } = acknowledged.data;
  const subscribed = await ask("subscribe", { channel, since: { seq: 0 }, snapshot: true });
  if (!subscribed.ok) return subscribed.error.message;
  // @ts-expect-error: the input has no such field.
  await run("session.cancel", { sessionId, force: true });
  const output: Acknowledged<"session.output"> = await run("session.output", { sessionId });
  return output.ok ? output.data : output.error.code;
}

/** A command that must not happen twice: its answer may be gone when it is asked again. */
export declare function once<C extends keyof Commands>(
  name: C,
  input: Commands[C]["input"] & { commandId: string },
): Promise<AcknowledgedOnce<C>>;

export async function startOnce(commandId: string): Promise<string> {
  const acknowledged = await once("session.start", { projectId: "p1", agent: "claude", commandId });
  if (!acknowledged.ok) return acknowledged.error.code;
  // @ts-expect-error: it may be a repeat.
  acknowledged.data.sessionId;
  const listed = await once("session.list", { commandId });
  const known = listed.ok ? listed.data.sessions.length : 0;
  return acknowledged.data?.sessionId ?? `one of ${known}`;
}

export const hello = (notice: Notices["server.hello"]): number => notice.data.limits.maxSubscriptions;
