// The types of everything that goes over the wire of Tidings 0.1.0.
// Made from the server's own types by `tidings schema`: change those.

/** What every message has. */
export interface Envelope<T extends string, D> {
  /** What happened. */
  type: T;
  /** Where it was published. */
  channel: string;
  /** When it was published: RFC 3339, in UTC. */
  time: string;
  /** Who caused it, if a person did. */
  by?: { userId: string };
  /** The producer's idempotency id, if it gave one. */
  id?: string;
  data: D;
}

/** A message that was stored before anybody saw it, and is replayed. */
export interface Durable<T extends string, D> extends Envelope<T, D> {
  /** Its number in the channel: 1, 2, 3 … without a hole. */
  seq: number;
}

/** A message that is never stored or replayed. */
export interface Ephemeral<T extends string, D> extends Envelope<T, D> {
  seq?: undefined;
  /** So many ephemeral messages were left out before this one. */
  dropped?: number;
}

/** What the server itself says on a connection. It is in no channel's history. */
export interface Notice<T extends string, D> {
  type: T;
  /** The channel that it is about, if it is about one. */
  channel?: string;
  time: string;
  seq?: undefined;
  data: D;
}

declare const unknown: unique symbol;
/**
 * An event type that is none of these: a producer's own, or one of a later server. It is a string, which
 * `String(message.type)` gives; as a type it is none, or no `type` could be told from it.
 */
export interface UnknownType {
  readonly [unknown]: true;
  toString(): string;
}

/** A message whose type is none of these. */
export interface UnknownMessage {
  type: UnknownType;
  channel?: string;
  seq?: number;
  time: string;
  by?: { userId: string };
  id?: string;
  data: unknown;
}

/** What an agent can. */
export interface Abilities {
  /** Tells pieces of its texts before they are whole. */
  deltas: boolean;
  /** Its turn can be stopped: `session.interrupt`. */
  interrupt: boolean;
  /** Takes messages after the prompt: `session.send_message`. */
  messages: boolean;
  /** Asks people for permission: `session.resolve_permission` answers. */
  permissions: boolean;
  /** Asks people questions: `session.answer_question` answers. */
  questions: boolean;
  /** A conversation that has ended goes on in a new session: `resume` of `session.start`. */
  resume: boolean;
  /** Runs in a terminal: `pty` of `session.start`, which needs the right to execute. */
  terminal: boolean;
}

/** What the agent does, as its events tell. A paused or ended session overrides it. */
export type Activity = "idle" | "thinking" | "executing" | "waiting";

/** How the server speaks with an agent's program. */
export type AdapterKind = "lines" | "claude-code" | "codex" | "gemini" | "acp" | "events";

/** Answer of `agent.list`. */
export interface AgentListAnswer {
  /** The agents, by name. */
  agents: ListedAgent[];
}

/** Input of `agent.list`. */
export interface AgentListInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** Only those that may be started in this project. */
  projectId?: ProjectId | null;
}

/** What a person answered. */
export type ApprovalDecision = "approved" | "rejected";

/** What a person is needed for. */
export type AttentionKind = "permission" | "question" | "approval";

export interface AuthExpiring {
  /** When it ends. */
  expiresAt: Timestamp;
}

/** What is answered when all is well. */
export interface AuthRefreshAcknowledgement {
  /** When the new token ends. */
  expiresAt: Timestamp | null;
  /** That all is well. */
  ok: true;
}

/** What `auth.refresh` takes. */
export interface AuthRefreshArgument {
  /** A token of the same user. */
  token: Secret;
}

/** A subscription that is behind. */
export interface BehindView {
  /** How many messages it is behind. */
  lag: number;
  /** What it was given last. */
  seq: number;
  /** Whose it is. */
  userId: UserId;
}

/** A part of a message. */
export type Block = {
  /** The whole text. */
  text: string;
  type: "text";
} | {
  /** The whole text. */
  text: string;
  type: "thinking";
} | {
  /** The call. */
  executionId: string;
  /** The tool. */
  name: string;
  type: "tool_use";
} | {
  /** What the agent calls it. */
  kind: string;
  type: "other";
};

/** Why a program exited. */
export type Cause = "exited" | "closed" | "idle";

/** What became of a path. */
export type ChangeKind = "created" | "modified" | "removed" | "renamed";

/** A channel: a namespace and one to three further segments joined by colons, such as session:123. */
export type Channel = string;

export interface ChannelClosed {
  /** The channel. */
  channel: Channel;
  /** Why. */
  code: ErrorCode;
  /** For people. */
  message: string;
}

export interface ChannelGap {
  /** The channel. */
  channel: Channel;
  /** Its epoch. */
  epoch: Epoch;
  /** The first that will not come. */
  from: number;
  /** Why: `trimmed` or `lag`. */
  reason: string;
  /** The last that will not come. */
  to: number;
}

export interface ChannelPosition {
  /** The channel. */
  channel: Channel;
  /** Its epoch. */
  epoch: Epoch;
  /** The channel's head. */
  head: number;
  /** Whether it is at the head. */
  live: boolean;
  /** What it was given, or moved past. */
  seq: number;
}

export interface ChannelReset {
  /** The channel. */
  channel: Channel;
  /** Its epoch. */
  epoch: Epoch;
  /** Why. */
  reason: NotRecovered;
  /** Live goes on after this. */
  seq: number;
}

export interface ChannelSnapshot {
  /** The channel. */
  channel: Channel;
  /** Its epoch. */
  epoch: Epoch;
  /** Why it comes: `joined`, `not_recovered`, `gap`, `reset` or `lag`. */
  reason: string;
  /** What the state includes; messages go on with the next number. */
  seq: number;
  /** The state. */
  snapshot: unknown;
}

/** A channel as it stands. */
export interface ChannelView {
  /** Who is behind, and by how much: at most 1,000, and only for one channel at a time. */
  behind?: BehindView[];
  /** How many of them are behind. */
  behindSubscribers: number;
  /** The channel. */
  channel: Channel;
  /** The numbering. */
  epoch: Epoch;
  /** The oldest kept number; `head + 1` when nothing is kept. */
  first: number;
  /** The newest number. */
  head: number;
  /** Messages a second, over the last ten seconds. */
  messagesPerSecond: number;
  /** Live subscriptions. */
  subscribers: number;
}

/** A piece of output. */
export interface Chunk {
  /** The text; of a longer one than the service makes, the last 16 KiB. */
  content: string;
  /** Its message. */
  seq: number;
  /** Where it comes from. */
  type: Stream;
}

export type ConnectionClosed = Ending;

/** What is known of the agent inside a session. */
export interface Conversation {
  /** What the agent does; none as long as it told nothing that tells. */
  activity: Activity | null;
  /** The agent's own id of it: what it is resumed by. Of a session that this server runs, only its agent says it. */
  agentSessionId: string | null;
  /** What kind of agent it is now, as it says. */
  agentType?: string | null;
  /** The blocks that are being made. They come from ephemeral events and are shown only. */
  inProgress?: InProgress[];
  /** In which iteration it works. */
  iteration?: number | null;
  /** The newest messages, oldest first. */
  messages: Spoken[];
  /** The model that answers. */
  model: string | null;
  /** The permission requests that wait. */
  permissions: Permission[];
  /** The plan, if it has one. */
  plan: Plan | null;
  /** The questions that wait. */
  questions: OpenQuestion[];
  /** The messages that wait until the agent is free. */
  queue: Queued[];
  /** The subagents that run. */
  subagents: Subagent[];
  /** The newest tool calls and all that run, oldest first. */
  tools: Tool[];
  /** How the newest turn ended. */
  turn: Turn | null;
  /** What was used. */
  usage: Totals;
}

/** How much there is of a session. */
export interface Counts {
  /** Bytes of output, all streams together. */
  bytes: number;
  /** Bytes of the transcript, as JSON has them. */
  kept: number;
  /** Durable messages of its channel. */
  messages: number;
}

/** Where the cursor is, from 0. */
export interface Cursor {
  /** Whether it is shown. */
  visible: boolean;
  /** The column. */
  x: number;
  /** The row. */
  y: number;
}

/** Why a message waits no more. */
export type Dequeued = "sent" | "cancelled" | "ended";

/** What a block in progress is. */
export type DraftKind = "text" | "thinking";

/** How bytes are written in JSON. */
export type Encoding = "utf8" | "base64";

/** Why and how the server ends a connection. */
export interface Ending {
  /** Why. */
  code: ErrorCode;
  /** For people. */
  message: string;
  /** Whether the client should come back by itself. */
  retry: boolean;
}

/** What an entry of a folder is. */
export type EntryKind = "file" | "directory" | "symlink" | "other";

/** What a channel's numbering belongs to. It changes when the numbering cannot be trusted to continue. */
export type Epoch = string;

/** What went wrong, for programs and for people. */
export interface ErrorBody {
  code: ErrorCode;
  /** Fields that are refused, and why. */
  fields?: Record<string, string>;
  /** For people. */
  message: string;
  /** When to come back, in milliseconds. */
  retryAfterMs?: number;
  /** Whether the same request may succeed later (for 401: with a new token). */
  retryable: boolean;
}

/** What went wrong. More may be added. */
export type ErrorCode = "bad_request" | "invalid_channel" | "invalid_event" | "unknown_command" | "unauthenticated" | "token_expired" | "token_revoked" | "forbidden" | "not_found" | "conflict" | "too_large" | "invalid_data" | "rate_limited" | "internal" | "overloaded" | "unavailable" | "draining";

/** The type of an event: two to five segments joined by dots, such as session.started. */
export type EventType = string;

/** A path that changed. */
export interface FileChange {
  /** What it was called when that was told last, where it was renamed. */
  from?: string | null;
  /** What became of it. */
  kind: ChangeKind;
  /** The path from the project's root. */
  path: string;
}

/** Which messages pass. Conditions are joined by AND; absent ones pass everything. */
export interface Filter {
  /** Event types. */
  types?: Pattern[] | null;
  /** Top-level fields of `data`: the value, or one of the values. */
  where?: Record<string, unknown> | null;
}

/** An entry of a folder. */
export interface FolderEntry {
  /** What it is. */
  kind: EntryKind;
  /** When it was modified last. */
  modifiedAt: Timestamp;
  /** Its name. */
  name: string;
  /** In bytes. */
  size: number;
}

/** `fs.changed`. */
export interface FsChanged {
  /** What changed, each path once, at most `CHANGES`. */
  changes: FileChange[];
  /** The project. */
  projectId: ProjectId;
}

/** A part of a folder. */
export interface FsListAnswer {
  /** The `after` of the next part; none at the end. */
  cursor?: string | null;
  /** By name. */
  entries: FolderEntry[];
  /** The path, as it was asked for. */
  path: string;
}

/** Input of `fs.list`. */
export interface FsListInput {
  /** Only entries whose names come after this one: the `cursor` of the page before. */
  after?: string | null;
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The folder; the project's root by default. */
  path?: string | null;
  /** The project. */
  projectId: ProjectId;
}

/** A part of a file. */
export interface FsReadAnswer {
  /** Whether it is no text. */
  binary: boolean;
  /** The part, as `encoding` says. */
  content: string;
  /** `utf8` or `base64`. */
  encoding: string;
  /** When it was modified last. */
  modifiedAt: Timestamp;
  /** The offset of the next part; none at the end. */
  next?: number | null;
  /** Where the part begins. */
  offset: number;
  /** The path, as it was asked for. */
  path: string;
  /** Of the whole file, in bytes. */
  size: number;
}

/** Input of `fs.read`. */
export interface FsReadInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** At most so many bytes; as configured by default, and never more than that. */
  length?: number | null;
  /** From this byte on; 0 by default. */
  offset?: number;
  /** The file. */
  path: string;
  /** The project. */
  projectId: ProjectId;
}

/** `fs.rescan`. */
export interface FsRescan {
  /** The project. */
  projectId: ProjectId;
  /** Why. */
  reason: RescanReason;
}

/** Answer of `fs.watch`. */
export interface FsWatchAnswer {
  /** Whether those were all that are not ignored. */
  complete: boolean;
  /** How many directories were watched when the watch began. */
  directories: number;
  /** How long the watch stays after the last subscriber of the project has gone, in milliseconds. */
  lingerMs: number;
}

/** Input of `fs.watch`. */
export interface FsWatchInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The project. */
  projectId: ProjectId;
}

/** What was made. The id stands here by its own name, too. */
export interface GitAddAnswer {
  /** Where it is told. */
  channel: Channel;
  /** Its end, where that was waited for and came in time. */
  end?: GitEnd | null;
  /** What was made. */
  id: OperationId;
  /** The operation. */
  operationId: OperationId;
  /** Whether it waited for its turn when it got its place. */
  queued?: boolean;
}

/** Input of `git.add` and `git.unstage`. */
export interface GitAddInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** Which; `.` is all. */
  paths: string[];
  /** The project. */
  projectId: ProjectId;
  /**
   * How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
   * it is in the answer.
   */
  waitMs?: number | null;
}

/** A branch. */
export interface GitBranch {
  /** The commit that it points at. */
  commit: string;
  /** When it was committed. */
  committedAt: string;
  /** Whether it is checked out. */
  current: boolean;
  /** Its name. */
  name: string;
  /** Whether it is a remote's, as it was when that was last fetched. */
  remote: boolean;
  /** The first line of its message. */
  subject: string;
  /** How it stands to its upstream, in git's words, such as `ahead 1, behind 2` or `gone`. */
  track?: string;
  /** The branch that it follows. */
  upstream?: string;
}

/** Answer of `git.branches`. */
export interface GitBranchesAnswer {
  /** The branches, local ones first, at most 1,000. */
  branches: GitBranch[];
}

/** Input of `git.status`, `git.branches`, `git.worktrees` and `git.unlock`. */
export interface GitBranchesInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The project. */
  projectId: ProjectId;
}

/** Answer of every command that begins an operation, and of `git.cancel`. */
export interface GitCancelAnswer {
  /** Its end, where that was waited for and came in time. */
  end?: GitEnd | null;
  /** The operation. */
  operationId: OperationId;
  /** Whether it waited for its turn when it got its place. */
  queued?: boolean;
}

/** Input of `git.cancel`. */
export interface GitCancelInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The operation. */
  operationId: OperationId;
  /** The project. */
  projectId: ProjectId;
}

/** How a path differs. */
export type GitChange = "added" | "modified" | "deleted" | "renamed" | "copied" | "type_changed" | "untracked";

/** What was made. The id stands here by its own name, too. */
export interface GitCheckoutAnswer {
  /** Where it is told. */
  channel: Channel;
  /** Its end, where that was waited for and came in time. */
  end?: GitEnd | null;
  /** What was made. */
  id: OperationId;
  /** The operation. */
  operationId: OperationId;
  /** Whether it waited for its turn when it got its place. */
  queued?: boolean;
}

/** Input of `git.checkout`. */
export interface GitCheckoutInput {
  /** The branch; of one that only a remote has, a local one is made. */
  branch: string;
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** Whether it is a new one. */
  create?: boolean;
  /** Where a new one begins; `HEAD` by default. */
  from?: string | null;
  /** The project. */
  projectId: ProjectId;
  /**
   * How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
   * it is in the answer.
   */
  waitMs?: number | null;
}

/** What was made. The id stands here by its own name, too. */
export interface GitCloneAnswer {
  /** Where it is told. */
  channel: Channel;
  /** Its end, where that was waited for and came in time. */
  end?: GitEnd | null;
  /** What was made. */
  id: OperationId;
  /** The operation. */
  operationId: OperationId;
  /** Whether it waited for its turn when it got its place. */
  queued?: boolean;
}

/** Input of `git.clone`. */
export interface GitCloneInput {
  /** The branch to check out; by default the remote's. */
  branch?: string | null;
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** Only so many of the newest commits; by default all. */
  depth?: number | null;
  /** The project, whose directory is empty. */
  projectId: ProjectId;
  /** Where from. */
  url: string;
  /**
   * How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
   * it is in the answer.
   */
  waitMs?: number | null;
}

/** A commit. */
export interface GitCommit {
  /** Who wrote it. */
  author: string;
  /** When it was written. */
  authoredAt: string;
  /** The rest of its message, at most 4 KiB. */
  body?: string;
  /** When it was committed. */
  committedAt: string;
  /** The address of who wrote it. */
  email: string;
  /** Its id. */
  id: string;
  /** The ids of its parents. */
  parents: string[];
  /** Branches and tags that point at it. */
  refs: string[];
  /** The first line of its message. */
  subject: string;
}

/** What was made. The id stands here by its own name, too. */
export interface GitCommitAnswer {
  /** Where it is told. */
  channel: Channel;
  /** Its end, where that was waited for and came in time. */
  end?: GitEnd | null;
  /** What was made. */
  id: OperationId;
  /** The operation. */
  operationId: OperationId;
  /** Whether it waited for its turn when it got its place. */
  queued?: boolean;
}

/** Input of `git.commit`. */
export interface GitCommitInput {
  /** Stages what is changed in known files first. */
  all?: boolean;
  /** Replaces the last commit. */
  amend?: boolean;
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** What it is about. */
  message: string;
  /** The project. */
  projectId: ProjectId;
  /**
   * How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
   * it is in the answer.
   */
  waitMs?: number | null;
}

/** How many paths are changed. */
export interface GitCounts {
  /** In conflict. */
  conflicts?: number;
  /** Staged. */
  staged?: number;
  /** Changed and not staged. */
  unstaged?: number;
  /** Unknown to git. */
  untracked?: number;
}

/** Answer of `git.diff` and `git.show`. */
export interface GitDiffAnswer {
  /** The commit that was asked for. */
  commit?: GitCommit | null;
  /** What differs, at most 1,000 files. */
  files: GitFileChange[];
  /** How many more there are. */
  more: number;
  /** The differences as `git diff` prints them. */
  patch: string;
  /** Whether the patch was cut, at the end of a line. */
  truncated: boolean;
}

/** Input of `git.diff`. */
export interface GitDiffInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** Compares from this revision; by default from what is staged. */
  from?: string | null;
  /** Only these paths; by default all. */
  paths?: string[] | null;
  /** The project. */
  projectId: ProjectId;
  /** Compares the commit with what is staged, instead of that with the working tree. */
  staged?: boolean;
  /** To this one, which needs a `from`; by default to the working tree. */
  to?: string | null;
}

/** The end of an operation, for whoever waited for it: what its last event says. */
export interface GitEnd {
  /** Of what completed: the branch that is checked out now; none when it is no branch. */
  branch?: string | null;
  /** Of a failure: why, for programs. */
  code?: string | null;
  /** Of a failure: the paths that are in conflict, at most `CONFLICT_PATHS`. */
  conflicts?: string[];
  /** Of what completed: the commit that is checked out now, if there is one. */
  head?: string | null;
  /** Of a failure: why, and what to do, for people. */
  message?: string | null;
  /** Of a failure: the newest lines that git said, with secrets taken out. */
  output?: string;
  /** How it ended. */
  status: GitEndStatus;
}

/** How an operation ended. */
export type GitEndStatus = "completed" | "failed" | "cancelled";

/** What was made. The id stands here by its own name, too. */
export interface GitFetchAnswer {
  /** Where it is told. */
  channel: Channel;
  /** Its end, where that was waited for and came in time. */
  end?: GitEnd | null;
  /** What was made. */
  id: OperationId;
  /** The operation. */
  operationId: OperationId;
  /** Whether it waited for its turn when it got its place. */
  queued?: boolean;
}

/** Input of `git.fetch`. */
export interface GitFetchInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The project. */
  projectId: ProjectId;
  /** Forgets branches that the remote has no more. */
  prune?: boolean;
  /** The remote; by default the branch's, else `origin`. */
  remote?: string | null;
  /**
   * How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
   * it is in the answer.
   */
  waitMs?: number | null;
}

/** How much of a file changed. */
export interface GitFileChange {
  /** Lines that came; none of a binary file. */
  added: number | null;
  /** What it was called before. */
  from?: string | null;
  /** The path. */
  path: string;
  /** Lines that went; none of a binary file. */
  removed: number | null;
}

/** A path that is changed. */
export interface GitFileStatus {
  /** Whether it is in conflict. */
  conflict?: boolean;
  /** What it was called before. */
  from?: string | null;
  /** The path from the project's root. A folder of untracked files ends in `/`. */
  path: string;
  /** How what is staged differs from the commit. */
  staged?: GitChange | null;
  /** How the working tree differs from what is staged. */
  unstaged?: GitChange | null;
}

/** `git.head.changed`. */
export interface GitHeadChanged {
  /** The branch; none when a commit is checked out by itself. */
  branch?: string | null;
  /** The commit that is checked out; none before the first. */
  head?: string | null;
  /** The commit that was checked out before, where that is known. */
  previous?: string | null;
  /** The project. */
  projectId: ProjectId;
}

/** What an operation does. */
export type GitKind = "clone" | "checkout" | "add" | "unstage" | "commit" | "stash" | "fetch" | "pull" | "push" | "merge" | "rebase" | "worktree_add" | "worktree_remove";

/** Answer of `git.log`. */
export interface GitLogAnswer {
  /** The commits, newest first. */
  commits: GitCommit[];
  /** The `after` of the next page; absent on the last one. */
  cursor?: string | null;
}

/** Input of `git.log`. */
export interface GitLogInput {
  /** The `cursor` of the page before, which tells the `rev`, too. */
  after?: string | null;
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** At most so many commits: 1 to 500, 50 by default. */
  limit?: number | null;
  /** Only commits that changed these paths. */
  paths?: string[] | null;
  /** The project. */
  projectId: ProjectId;
  /** From this revision on; `HEAD` by default. */
  rev?: string | null;
}

/** What was made. The id stands here by its own name, too. */
export interface GitMergeAnswer {
  /** Where it is told. */
  channel: Channel;
  /** Its end, where that was waited for and came in time. */
  end?: GitEnd | null;
  /** What was made. */
  id: OperationId;
  /** The operation. */
  operationId: OperationId;
  /** Whether it waited for its turn when it got its place. */
  queued?: boolean;
}

/** Input of `git.merge`: a `rev` to merge, or what to do with a merge that is not finished. */
export type GitMergeInput = {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** Makes a merge commit also where none is needed. */
  noFastForward?: boolean;
  /** The project. */
  projectId: ProjectId;
  /** What to do with an unfinished one. */
  resume?: Resume | null;
  /** What to merge. */
  rev?: string | null;
  /**
   * How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
   * it is in the answer.
   */
  waitMs?: number | null;
} & ({
  resume?: null;
  rev: string;
} | {
  resume: string;
  rev?: null;
});

/** An operation that has not ended. */
export interface GitOpenOperation {
  /** Whether this server runs it. */
  hosted: boolean;
  /** What it does. */
  kind: GitKind;
  /** How far it is. */
  progress?: GitProgress | null;
  /** Whether it waits for its turn. */
  queued?: boolean;
  /** Since when it runs; of one that is queued, since when it waits. */
  startedAt: Timestamp;
}

/** `git.operation.cancelled`, an end. */
export interface GitOperationCancelled {
  /** What it was to do. */
  kind: GitKind;
  /** The operation. */
  operationId: OperationId;
  /** The project. */
  projectId: ProjectId;
}

/** `git.operation.completed`, an end. */
export interface GitOperationCompleted {
  /** The branch that is checked out now; none when it is no branch. */
  branch?: string | null;
  /** The commit that is checked out now, if there is one. */
  head?: string | null;
  /** What it did. */
  kind: GitKind;
  /** The operation. */
  operationId: OperationId;
  /** The project. */
  projectId: ProjectId;
}

/** `git.operation.failed`, an end. Codes: see `failure`, `server_stopped` and `internal`. */
export interface GitOperationFailed {
  /** Why, for programs. */
  code: string;
  /** The paths that are in conflict, at most `CONFLICT_PATHS`. */
  conflicts?: string[];
  /** What it was to do. */
  kind: GitKind;
  /** Why, and what to do, for people. */
  message: string;
  /** The operation. */
  operationId: OperationId;
  /** The newest lines that git said, with secrets taken out. */
  output?: string;
  /** The project. */
  projectId: ProjectId;
}

/** `git.operation.progress`. */
export interface GitOperationProgress {
  /** The operation. */
  operationId: OperationId;
  /** How far it is. */
  progress: GitProgress;
  /** The project. */
  projectId: ProjectId;
}

/** `git.operation.queued`: as many as are told so have exactly one end, whether they start or not. */
export interface GitOperationQueued {
  /** Whether it waits in this server, which ends it when it starts anew. Only the server says so. */
  hosted?: boolean;
  /** What it will do. */
  kind: GitKind;
  /** The operation. */
  operationId: OperationId;
  /** The project. */
  projectId: ProjectId;
}

/** `git.operation.started`. */
export interface GitOperationStarted {
  /** Whether this server runs it, and ends it when it starts anew. Only the server says so. */
  hosted?: boolean;
  /** What it does. */
  kind: GitKind;
  /** The operation. */
  operationId: OperationId;
  /** The project. */
  projectId: ProjectId;
}

/** How far a phase of an operation is. */
export interface GitProgress {
  /** How much of it is done. */
  current: number;
  /** What git says besides, such as how many bytes a second. */
  detail?: string | null;
  /** `current / total * 100`, whole; none where git does not know. */
  percentage?: number | null;
  /** What git does now, in its words, such as `Receiving objects`. */
  phase: string;
  /** Of how much; none where git does not know. */
  total?: number | null;
}

/** What was made. The id stands here by its own name, too. */
export interface GitPullAnswer {
  /** Where it is told. */
  channel: Channel;
  /** Its end, where that was waited for and came in time. */
  end?: GitEnd | null;
  /** What was made. */
  id: OperationId;
  /** The operation. */
  operationId: OperationId;
  /** Whether it waited for its turn when it got its place. */
  queued?: boolean;
}

/** Input of `git.pull`. */
export interface GitPullInput {
  /** Its branch, which needs a `remote`; by default the one that the branch follows. */
  branch?: string | null;
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** How two lines come together. */
  mode?: PullMode;
  /** The project. */
  projectId: ProjectId;
  /** The remote; by default the branch's. */
  remote?: string | null;
  /**
   * How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
   * it is in the answer.
   */
  waitMs?: number | null;
}

/** What was made. The id stands here by its own name, too. */
export interface GitPushAnswer {
  /** Where it is told. */
  channel: Channel;
  /** Its end, where that was waited for and came in time. */
  end?: GitEnd | null;
  /** What was made. */
  id: OperationId;
  /** The operation. */
  operationId: OperationId;
  /** Whether it waited for its turn when it got its place. */
  queued?: boolean;
}

/** Input of `git.push`. */
export interface GitPushInput {
  /** The branch; by default the one that is checked out. */
  branch?: string | null;
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** Replaces the remote's branch, unless it has commits that were never fetched. */
  forceWithLease?: boolean;
  /** The project. */
  projectId: ProjectId;
  /** The remote; `origin` by default. */
  remote?: string | null;
  /** Whether the branch follows the remote's from now on. */
  setUpstream?: boolean;
  /**
   * How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
   * it is in the answer.
   */
  waitMs?: number | null;
}

/** What was made. The id stands here by its own name, too. */
export interface GitRebaseAnswer {
  /** Where it is told. */
  channel: Channel;
  /** Its end, where that was waited for and came in time. */
  end?: GitEnd | null;
  /** What was made. */
  id: OperationId;
  /** The operation. */
  operationId: OperationId;
  /** Whether it waited for its turn when it got its place. */
  queued?: boolean;
}

/** Input of `git.rebase`: an `onto`, or what to do with a rebase that is not finished. */
export type GitRebaseInput = {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** Onto what. */
  onto?: string | null;
  /** The project. */
  projectId: ProjectId;
  /** What to do with an unfinished one. */
  resume?: Resume | null;
  /**
   * How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
   * it is in the answer.
   */
  waitMs?: number | null;
} & ({
  onto: string;
  resume?: null;
} | {
  onto?: null;
  resume: string;
});

/** Answer of `git.diff` and `git.show`. */
export interface GitShowAnswer {
  /** The commit that was asked for. */
  commit?: GitCommit | null;
  /** What differs, at most 1,000 files. */
  files: GitFileChange[];
  /** How many more there are. */
  more: number;
  /** The differences as `git diff` prints them. */
  patch: string;
  /** Whether the patch was cut, at the end of a line. */
  truncated: boolean;
}

/** Input of `git.show`. */
export interface GitShowInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The project. */
  projectId: ProjectId;
  /** The commit. */
  rev: string;
}

/** What was made. The id stands here by its own name, too. */
export interface GitStashAnswer {
  /** Where it is told. */
  channel: Channel;
  /** Its end, where that was waited for and came in time. */
  end?: GitEnd | null;
  /** What was made. */
  id: OperationId;
  /** The operation. */
  operationId: OperationId;
  /** Whether it waited for its turn when it got its place. */
  queued?: boolean;
}

/** Input of `git.stash`. */
export interface GitStashInput {
  /** What to do. */
  action: StashAction;
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** Which one, the newest being 0, which is the default. */
  index?: number;
  /** What a push is about. */
  message?: string | null;
  /** The project. */
  projectId: ProjectId;
  /** Whether a push takes files along that git does not know. */
  untracked?: boolean;
  /**
   * How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
   * it is in the answer.
   */
  waitMs?: number | null;
}

/** What a project's state keeps of git. */
export interface GitState {
  /** What has not ended, at most `OPEN_LIMIT`. */
  operations: Record<string, GitOpenOperation>;
  /** How the repository was when that was last told; none before. */
  status?: GitStatus | null;
}

/** How a repository is. */
export interface GitStatus {
  /** Commits that the upstream has not. */
  ahead?: number | null;
  /** Commits that only the upstream has. */
  behind?: number | null;
  /** The branch; none when a commit is checked out by itself. */
  branch?: string | null;
  /** How many paths are changed. */
  counts: GitCounts;
  /** Two states with the same digest are the same, also beyond what is listed. */
  digest: string;
  /** The commit that is checked out; none before the first. */
  head?: string | null;
  /** What was begun and is not finished. */
  unfinished?: GitUnfinished | null;
  /** The branch that it follows. */
  upstream?: string | null;
}

/** Answer of `git.status`. */
export interface GitStatusAnswer {
  /** Commits that the upstream has not. */
  ahead?: number | null;
  /** Commits that only the upstream has. */
  behind?: number | null;
  /** The branch; none when a commit is checked out by itself. */
  branch?: string | null;
  /** How many paths are changed. */
  counts: GitCounts;
  /** Two states with the same digest are the same, also beyond what is listed. */
  digest: string;
  /** What is changed, at most 1,000 paths. */
  files: GitFileStatus[];
  /** The commit that is checked out; none before the first. */
  head?: string | null;
  /** How many more there are. */
  more: number;
  /** What was begun and is not finished. */
  unfinished?: GitUnfinished | null;
  /** The branch that it follows. */
  upstream?: string | null;
}

/** `git.status.changed`. */
export interface GitStatusChanged {
  /** Commits that the upstream has not. */
  ahead?: number | null;
  /** Commits that only the upstream has. */
  behind?: number | null;
  /** The branch; none when a commit is checked out by itself. */
  branch?: string | null;
  /** How many paths are changed. */
  counts?: GitCounts;
  /** Two states with the same digest are the same, also beyond what is listed. */
  digest?: string;
  /** The first of what is changed, at most `STATUS_FILES`. */
  files: GitFileStatus[];
  /** The commit that is checked out; none before the first. */
  head?: string | null;
  /** How many more there are. */
  more: number;
  /** The project. */
  projectId: ProjectId;
  /** What was begun and is not finished. */
  unfinished?: GitUnfinished | null;
  /** The branch that it follows. */
  upstream?: string | null;
}

/** Input of `git.status`, `git.branches`, `git.worktrees` and `git.unlock`. */
export interface GitStatusInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The project. */
  projectId: ProjectId;
}

/** What was begun in a repository and is not finished. */
export type GitUnfinished = "merge" | "rebase" | "cherry_pick" | "revert";

/** Answer of `git.unlock`. */
export interface GitUnlockAnswer {
  /** The lock files that were taken away, from the project's root, at most 100. */
  removed: string[];
}

/** Input of `git.status`, `git.branches`, `git.worktrees` and `git.unlock`. */
export interface GitUnlockInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The project. */
  projectId: ProjectId;
}

/** What was made. The id stands here by its own name, too. */
export interface GitUnstageAnswer {
  /** Where it is told. */
  channel: Channel;
  /** Its end, where that was waited for and came in time. */
  end?: GitEnd | null;
  /** What was made. */
  id: OperationId;
  /** The operation. */
  operationId: OperationId;
  /** Whether it waited for its turn when it got its place. */
  queued?: boolean;
}

/** Input of `git.add` and `git.unstage`. */
export interface GitUnstageInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** Which; `.` is all. */
  paths: string[];
  /** The project. */
  projectId: ProjectId;
  /**
   * How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
   * it is in the answer.
   */
  waitMs?: number | null;
}

/** A working tree. */
export interface GitWorktree {
  /** The branch that is checked out there. */
  branch?: string | null;
  /** The commit that is checked out there. */
  head?: string | null;
  /** Its directory. */
  path: string;
  /** Whether its directory is gone. */
  prunable: boolean;
}

/** What was made. The id stands here by its own name, too. */
export interface GitWorktreeAddAnswer {
  /** Where it is told. */
  channel: Channel;
  /** Its end, where that was waited for and came in time. */
  end?: GitEnd | null;
  /** What was made. */
  id: OperationId;
  /** The operation. */
  operationId: OperationId;
  /** Whether it waited for its turn when it got its place. */
  queued?: boolean;
}

/** Input of `git.worktree_add`. */
export interface GitWorktreeAddInput {
  /** Its branch; by default a new one of its name. */
  branch?: string | null;
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** Whether that is a new one. */
  create?: boolean;
  /** Where a new one begins; `HEAD` by default. */
  from?: string | null;
  /** Its name: it lies in `.worktrees/{name}`. */
  name: string;
  /** The project. */
  projectId: ProjectId;
  /**
   * How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
   * it is in the answer.
   */
  waitMs?: number | null;
}

/** What was made. The id stands here by its own name, too. */
export interface GitWorktreeRemoveAnswer {
  /** Where it is told. */
  channel: Channel;
  /** Its end, where that was waited for and came in time. */
  end?: GitEnd | null;
  /** What was made. */
  id: OperationId;
  /** The operation. */
  operationId: OperationId;
  /** Whether it waited for its turn when it got its place. */
  queued?: boolean;
}

/** Input of `git.worktree_remove`. */
export interface GitWorktreeRemoveInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** Also when something in it is not committed. */
  force?: boolean;
  /** Its name. */
  name: string;
  /** The project. */
  projectId: ProjectId;
  /**
   * How long the end of the operation is waited for, in milliseconds: 0, the default, to 60,000. If it comes by then,
   * it is in the answer.
   */
  waitMs?: number | null;
}

/** Answer of `git.worktrees`. */
export interface GitWorktreesAnswer {
  /** The working trees, the project's own first. */
  worktrees: GitWorktree[];
}

/** Input of `git.status`, `git.branches`, `git.worktrees` and `git.unlock`. */
export interface GitWorktreesInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The project. */
  projectId: ProjectId;
}

/** Actions on the channels of a pattern, as in session:*=subscribe,publish. */
export type Grant = string;

/** The first word on a connection. Nothing in it is secret. */
export interface Hello {
  /** What it may do. */
  grants: Grant[];
  /** How much it may. */
  limits: HelloLimits;
  /** The time between pings, in milliseconds. */
  pingIntervalMs: number;
  /** The version of the protocol. */
  protocol: number;
  /** The server's time. */
  time: Timestamp;
  /** Who the connection is of. */
  user: HelloUser;
  /** The version of the server. */
  version: string;
}

/** How much a connection may. */
export interface HelloLimits {
  /** The largest data of a message, in bytes. */
  maxMessageBytes: number;
  /** The most channels that it may follow. */
  maxSubscriptions: number;
  /** How many events it may send at once before it is slowed down. */
  rateBurst: number;
  /** How many a second after that. */
  ratePerSecond: number;
}

/** Who a connection is of. */
export interface HelloUser {
  /** The user. */
  id: UserId;
  /** Its roles. */
  roles: Role[];
}

/** How much of something is done. */
export interface HowMuch {
  /** How much is done. */
  current: number;
  /** `current / total * 100`; where total is 0, 100 once it is done, else 0. */
  percentage: number;
  /** How much there is; 0 if nobody knows, or there is nothing. */
  total: number;
}

/** A block of a message that is being made. */
export interface InProgress {
  /** Which block of it. */
  block: number;
  /** What it is. */
  kind: DraftKind;
  /** Its length in UTF-16 code units: the `offset` of the delta that comes next. */
  length: number;
  /** The message. */
  messageId: string;
  /** The tool call of the subagent that speaks; none for the agent itself. */
  parentExecutionId?: string | null;
  /** The text so far. */
  text: string;
}

/** A token that belongs to no login, as `tidings token` makes them. The token itself is kept nowhere. */
export interface IssuedToken {
  /** When it was made. */
  createdAt: Timestamp;
  /** When it ends. */
  expiresAt: Timestamp;
  /** Its grants, beside those of its roles. */
  grants: Grant[];
  /** Its `jti`, by which it is revoked. */
  id: string;
  /** What it is for, as whoever made it said. */
  name?: string | null;
  /** Its roles. */
  roles: Role[];
  /** Whose it is. */
  userId: UserId;
  /** The name of that user; absent for a subject that is no user here. */
  username?: string | null;
}

/** An agent that the caller may start. */
export interface ListedAgent {
  /** How the server speaks with it. */
  adapter: AdapterKind;
  /** What it can. */
  can: Abilities;
  /** Its name: `agent` of `session.start`. */
  name: string;
  /** Whether a start without a prompt is refused. */
  needsPrompt: boolean;
  /**
   * The projects in which the caller may start it, of an agent that is for some projects only; absent for one that
   * is for all.
   */
  projects?: ProjectId[] | null;
}

/** A run of a list. */
export interface ListedRun {
  /** Where it is told. */
  channel: Channel;
  /** When it ended. */
  endedAt: Timestamp | null;
  /** Why it failed, if it did. */
  error: RunFailure | null;
  /** The run. */
  id: RunId;
  /** How many of its steps have ended. */
  progress: HowMuch;
  /** The project that it runs in. */
  projectId: ProjectId | null;
  /** The run that it repeats. */
  rerunOf: RunId | null;
  /** When it started. */
  startedAt: Timestamp | null;
  /** Who started it. */
  startedBy: UserId | null;
  /** How it is. */
  status: RunStatus;
  /** What people call it. */
  title: string;
  /** What the agents of its steps used. */
  usage: RunUsage;
}

/** A session of a list. */
export interface ListedSession {
  /** The agent that runs. */
  agent: string | null;
  /** Where it is told. */
  channel: Channel;
  /** When it ended. */
  endedAt: Timestamp | null;
  /** Why it failed, if it did. */
  error: SessionFailure | null;
  /** The exit code, once the program exited. */
  exitCode: number | null;
  /** The session. */
  id: SessionId;
  /** The project that it runs in. */
  projectId: ProjectId | null;
  /** When it started. */
  startedAt: Timestamp | null;
  /** How it is. */
  status: SessionStatus;
  /** The terminal that it runs in. */
  terminalId?: TerminalId | null;
  /** What people call it. */
  title: string | null;
  /** When its newest message was published. */
  updatedAt: Timestamp | null;
  /** The working tree that it runs in. */
  worktree?: string | null;
}

/** A terminal of a list. */
export interface ListedShell {
  /** Where it is told. */
  channel: Channel;
  /** The exit code, once the program exited. */
  code: number | null;
  /** How many columns. */
  cols: number;
  /** When it ended. */
  endedAt: Timestamp | null;
  /** Why it failed, if it did. */
  error: ShellFailure | null;
  /** The terminal. */
  id: TerminalId;
  /** When it was opened. */
  openedAt: Timestamp | null;
  /** The project that it runs in. */
  projectId: ProjectId | null;
  /** How many rows. */
  rows: number;
  /** The session whose program runs in it. */
  sessionId?: SessionId | null;
  /** The signal that ended it, if one did. */
  signal: number | null;
  /** How it is. */
  status: ShellStatus;
  /** What people call it. */
  title: string | null;
  /** When its newest message was published. */
  updatedAt: Timestamp | null;
}

/** Who logged in. */
export interface LoginUser {
  /** The id. */
  id: UserId;
  /** The roles. */
  roles: Role[];
  /** The name. */
  username: string;
}

/** When to skip ahead instead of catching up. Absent parts do not limit. */
export interface MaxLag {
  /** Skip when more than about so many bytes of data behind. */
  bytes?: number | null;
  /** Skip when more than so many messages behind. */
  messages?: number | null;
}

/** Who the caller is. */
export interface MeUser {
  id: UserId;
  roles: Role[];
  /** Absent for a token that another application minted. */
  username?: string | null;
}

/** What membership in a project makes of somebody. What each grants: docs/ACCESS.md. */
export type Membership = "viewer" | "operator" | "owner";

/** An event as a producer sends it. */
export interface NewEvent {
  /** Where; by default what the ids in `data` name. */
  channel?: Channel | null;
  /** Its data, which is passed on byte for byte. */
  data: Record<string, unknown>;
  /** An idempotency id: a repeat within 24 hours gives the first place. */
  id?: string | null;
  /** Its type. */
  type: EventType;
}

/** Why a position could not be gone on from. */
export type NotRecovered = "trimmed" | "epoch" | "future";

/** A request that waits for answers. */
export interface OpenQuestion {
  /** The call that waits, if it has started. */
  executionId?: string | null;
  /** The questions. */
  questions: Question[];
  /** The request. */
  requestId: string;
  /** Its event. */
  seq: number;
  /** Whether something of them is left out here: the event has all. */
  truncated?: boolean;
}

/** An operation on a repository. */
export type OperationId = string;

/** How a tool or a subagent ended. */
export type Outcome = "success" | "error" | "blocked";

/** A login that goes on, as its owner sees it. */
export interface OwnLogin {
  /** The address that it began from. */
  address?: string | null;
  /** What the client called itself. */
  agent?: string | null;
  /** When it began; absent for one that an older version of the server began. */
  createdAt?: Timestamp | null;
  /** Whether the request came with a token of this login. */
  current: boolean;
  /** When it ends, if it is not refreshed. */
  expiresAt: Timestamp;
  /** What it is ended by. */
  id: string;
  /** When it got tokens last. */
  refreshedAt?: Timestamp | null;
}

/** A pattern: a channel or an event type in which * stands for one segment, at the end for one or more. */
export type Pattern = string;

/** A permission request that waits. */
export interface Permission {
  /** The call that waits, if it has started. */
  executionId?: string | null;
  /** When it is withdrawn by itself. */
  expiresAt?: Timestamp | null;
  /** What it would be called with; of a longer one its beginning, as a string. */
  input: unknown;
  /** The answers that there are. */
  options: PermissionOption[];
  /** The request. */
  requestId: string;
  /** Its event, which has all of the input. None of one that an older server was told of. */
  seq?: number | null;
  /** The tool that wants to run. */
  tool: string;
}

/** How a permission request was resolved. */
export type PermissionDecision = "allowed" | "rejected" | "withdrawn";

/** What an option means. */
export type PermissionKind = "allow_once" | "allow_always" | "reject_once" | "reject_always";

/** What a permission request may be answered with. */
export interface PermissionOption {
  /** What the answer names. */
  id: string;
  /** What it means. */
  kind: PermissionKind;
  /** For people. */
  label: string;
}

/** What a running session does. */
export type Phase = "running" | "working" | "waiting" | "idle" | "paused" | "stopping";

/** Where an event was put. */
export interface PlacedEvent {
  channel: Channel;
  /** Absent for an ephemeral event, as `seq`. */
  epoch?: Epoch | null;
  seq?: number | null;
}

/** The agent's plan. */
export interface Plan {
  /** How many parts are done. */
  current: number;
  /** The parts. */
  steps: PlanStep[];
  /** How many there are. */
  total: number;
}

/** A part of a plan. */
export interface PlanStep {
  /** How it is. */
  status: PlanStepStatus;
  /** What is to be done. */
  text: string;
}

/** How a part of a plan is. */
export type PlanStepStatus = "pending" | "in_progress" | "completed";

/** An error over HTTP: RFC 9457, and the fields that an error has everywhere. */
export interface Problem {
  code: ErrorCode;
  /** For people: the message. */
  detail: string;
  /** Fields that are refused, and why. */
  fields?: Record<string, string>;
  /** For people. */
  message: string;
  /** When to come back, in milliseconds. */
  retryAfterMs?: number;
  /** Whether the same request may succeed later (for 401: with a new token). */
  retryable: boolean;
  /** The status. */
  status: number;
  /** The name of the status. */
  title: string;
  /** Always `about:blank`: the code says more. */
  type: string;
}

export type ProjectGetAnswer = ProjectState;

/** Input of `project.get` and `project.remove`. */
export interface ProjectGetInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The project. */
  projectId: ProjectId;
}

/** A project: a directory in which programs may run, and its members. */
export type ProjectId = string;

/** Answer of `project.list`. */
export interface ProjectListAnswer {
  /** For the next page; absent on the last one. */
  cursor?: ProjectId | null;
  /** The projects, newest first. */
  projects: ProjectShown[];
}

/** Input of `project.list`. */
export interface ProjectListInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The `cursor` of the page before; without it, the first page. */
  cursor?: ProjectId | null;
  /** At most so many: 1 to 500, 100 by default. */
  limit?: number | null;
}

/** `project.member_removed`: somebody is no member any more. */
export interface ProjectMemberRemoved {
  /** The project. */
  projectId: ProjectId;
  /** Who. */
  userId: UserId;
}

/** `project.member_set`: somebody became a member, or another kind of member. */
export interface ProjectMemberSet {
  /** What they are now. */
  membership: Membership;
  /** The project. */
  projectId: ProjectId;
  /** Who. */
  userId: UserId;
}

/** What was made. The id stands here by its own name, too. */
export interface ProjectRegisterAnswer {
  /** Where it is told. */
  channel: Channel;
  /** What was made. */
  id: ProjectId;
  /** What the caller is there; absent for whoever is no member. */
  membership?: Membership | null;
  /** Its name. */
  name: string;
  /** The project. */
  projectId: ProjectId;
  /** Its directory. */
  root: string;
}

/** Input of `project.register`. */
export interface ProjectRegisterInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** Its name, for people: 1 to 100 characters. */
  name: string;
  /** An existing directory, absolute; symbolic links are followed once, now. */
  root: string;
}

/** `project.registered`: a directory became a project. The first event of its channel. */
export interface ProjectRegistered {
  /** Its name, for people. */
  name: string;
  /** The project. */
  projectId: ProjectId;
  /** Its directory: absolute, without symbolic links. */
  root: string;
}

/** `project.removed`: nothing can be started in it any more. Its history stays readable to administrators. */
export interface ProjectRemoveAnswer {
  /** The project. */
  projectId: ProjectId;
}

/** Input of `project.get` and `project.remove`. */
export interface ProjectRemoveInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The project. */
  projectId: ProjectId;
}

/** `project.member_removed`: somebody is no member any more. */
export interface ProjectRemoveMemberAnswer {
  /** The project. */
  projectId: ProjectId;
  /** Who. */
  userId: UserId;
}

/** Input of `project.remove_member`. */
export interface ProjectRemoveMemberInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The project. */
  projectId: ProjectId;
  /** Who. */
  userId: UserId;
}

/** `project.removed`: nothing can be started in it any more. Its history stays readable to administrators. */
export interface ProjectRemoved {
  /** The project. */
  projectId: ProjectId;
}

/** `project.member_set`: somebody became a member, or another kind of member. */
export interface ProjectSetMemberAnswer {
  /** What they are now. */
  membership: Membership;
  /** The project. */
  projectId: ProjectId;
  /** Who. */
  userId: UserId;
}

/** Input of `project.set_member`. */
export interface ProjectSetMemberInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** What they are from now on. */
  membership: Membership;
  /** The project. */
  projectId: ProjectId;
  /** Who; also a user whom only tokens minted elsewhere name. */
  userId: UserId;
}

/** A project as lists and the answer of `project.register` show it. */
export interface ProjectShown {
  /** What the caller is there; absent for whoever is no member. */
  membership?: Membership | null;
  /** Its name. */
  name: string;
  /** The project. */
  projectId: ProjectId;
  /** Its directory. */
  root: string;
}

/** The state of a project: the fold of its channel. Its JSON is the snapshot. */
export interface ProjectState {
  /** How its repository is, and what is done with it now. */
  git: GitState;
  /** Its members and what they are. */
  members: Record<string, Membership>;
  /** Its name. */
  name: string;
  /** The project; none before it was registered. */
  projectId: ProjectId | null;
  /** Whether it was removed: nothing may be started in it. */
  removed: boolean;
  /** Its directory: absolute, without symbolic links. */
  root: string;
  /** The board: its runs of workflows, in the same way. */
  runs: Summary[];
  /** The board: its sessions, the one that changed last first, at most `BOARD_LIMIT`. */
  sessions: Summary[];
  /** Its terminals on the board, in the same way. */
  shells: Summary[];
}

/** What is answered when all is well. */
export interface PublishAcknowledgement {
  /** Where. */
  channel: Channel;
  /** The numbering. */
  epoch: Epoch;
  /** That all is well. */
  ok: true;
  /** Its number; absent for an ephemeral event. */
  seq?: number | null;
}

/** What `publish` takes. */
export interface PublishArgument {
  /** Where. */
  channel: Channel;
  /** The data, which is passed on byte for byte. */
  data: Record<string, unknown>;
  /** An idempotency id: a repeat within 24 hours gives the first place. */
  id?: string | null;
  /** The event type. */
  type: EventType;
}

/** How a pull brings two lines together. */
export type PullMode = "fast_forward" | "merge" | "rebase";

/** A question. */
export interface Question {
  /** Whether an answer may be another text. It may where no answer is offered. */
  freeText?: boolean;
  /** In a word or two. */
  header?: string | null;
  /** Whether several of them may be chosen. */
  multiple?: boolean;
  /** The answers that it offers. */
  options?: QuestionOption[];
  /** The question, and what its answer is named by. */
  question: string;
}

/** The answer to one question: a text, or several where several may be chosen. */
export type QuestionAnswer = string | string[];

/** How a question was resolved. */
export type QuestionDecision = "answered" | "declined" | "withdrawn";

/** An answer that a question offers. */
export interface QuestionOption {
  /** What it means. */
  description?: string | null;
  /** The answer, and what it is chosen by. */
  label: string;
}

/** A message that waits until the agent is free. */
export interface Queued {
  /** The sender's key for it. */
  clientMessageId?: string | null;
  /** The text, the first 2 KiB of it. */
  content: string;
  /** The message. */
  messageId: string;
  /** Its event, which has all of it. None of one that an older server was told of. */
  seq?: number | null;
  /** Who. */
  userId?: UserId | null;
}

/** What is answered when it is not. */
export interface Refused {
  /** Why. */
  error: ErrorBody;
  /** That it is not. */
  ok: false;
}

/** What a repeat of a command is told whose answer is not kept any more. */
export interface Repeated {
  /** That the command with this `commandId` ran before and all went well. Its answer is not kept. */
  repeated: true;
}

/** Why not every change was told. */
export type RescanReason = "overflow" | "too_many" | "limit" | "gone" | "untold";

/** What to do with a merge or a rebase that is not finished. */
export type Resume = "abort" | "continue";

/** A role of a user. What each grants: docs/ACCESS.md. */
export type Role = "admin" | "operator" | "viewer";

/** Why something failed. */
export interface RunFailure {
  /** For programs. */
  code: string;
  /** For people. */
  message: string;
}

/** A run of a workflow. Ids sort by the time of their start. */
export type RunId = string;

/** The state of a run: the fold of its channel. Its JSON is the snapshot. */
export interface RunState {
  /** Who cancelled it. */
  cancelledBy?: UserId | null;
  /** The text of its definition. */
  definition: string;
  /** From its start to its end, in milliseconds. */
  durationMs: number;
  /** When it ended. */
  endedAt?: Timestamp | null;
  /** Why it failed. */
  error?: RunFailure | null;
  /** The file of the project that it was read from. */
  file?: string | null;
  /** What it was given, with the defaults of the rest. */
  inputs: Record<string, string | number | boolean>;
  /** How many of its steps have ended. */
  progress: HowMuch;
  /** The project that it runs in. */
  projectId: ProjectId | null;
  /** The run that it repeats, in part or whole. */
  rerunOf?: RunId | null;
  /** The run; none before its first event. */
  runId: RunId | null;
  /** When it started. */
  startedAt: Timestamp | null;
  /** Who started it. */
  startedBy: UserId | null;
  /** How it is. */
  status: RunStatus;
  /** Its steps, in the order of the definition. */
  steps: StepState[];
  /** The places of the steps that have a tail, the one that printed longest ago first. */
  tails?: number[];
  /** What people call it. */
  title: string;
  /** When its newest message was published. */
  updatedAt: Timestamp | null;
  /** What the agents of its steps used. */
  usage: RunUsage;
}

/** How a run is. */
export type RunStatus = "starting" | "running" | "waiting" | "cancelling" | "completed" | "failed" | "cancelled";

/** How a step is. */
export type RunStepStatus = "pending" | "running" | "waiting" | "completed" | "failed" | "skipped" | "cancelled";

/** What agents used. */
export interface RunUsage {
  /** What it cost, in US dollars, as far as agents say so. */
  costUsd?: number;
  /** Tokens read. */
  inputTokens?: number;
  /** Tokens made. */
  outputTokens?: number;
}

/** A message of a user. */
export interface Said {
  /** The sender's key for it. */
  clientMessageId?: string | null;
  /** The text, the first KiB of it. */
  content: string;
  /** Its id. */
  messageId?: string | null;
  /** Its message in the channel. */
  seq: number;
  /** Who. */
  userId?: UserId | null;
}

/** A text that must never be seen: its `Debug` shows nothing. */
export type Secret = string;

export interface ServerDraining {
  /** How many milliseconds from now to come back, once the stop is over; another number for each client. */
  reconnectAfterMs: number;
}

export type ServerHello = Hello;

/** `session.agent_started`: the agent told who it is. It comes again when its conversation begins anew. */
export interface SessionAgentStarted {
  /** The agent's own id of the conversation: what it is resumed by. */
  agentSessionId?: string | null;
  /** What kind of agent it is now, as it says, such as `CODING`. */
  agentType?: string | null;
  /** Which time it begins, where it works in several. */
  iteration?: number | null;
  /** The model that answers. */
  model?: string | null;
  /** The session. */
  sessionId: SessionId;
  /** The names of its tools. */
  tools?: string[];
  /** The version of the agent's program. */
  version?: string | null;
}

/** Answer of a command that names a session and has nothing more to say. */
export interface SessionAnswerQuestionAnswer {
  /** The session. */
  sessionId: SessionId;
}

/** Input of `session.answer_question`: `answers` to all questions of the request, or `decline`. */
export type SessionAnswerQuestionInput = {
  /**
   * By the question, what is answered: one of its options, or a text where it takes one; a list of them where
   * several may be chosen.
   */
  answers?: Record<string, QuestionAnswer> | null;
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** Not to answer, and why not. */
  decline?: string | null;
  /** The request that waits. */
  requestId: string;
  /** The session. */
  sessionId: SessionId;
} & ({
  answers: Record<string, unknown>;
  decline?: null;
} | {
  answers?: null;
  decline: string;
});

/** Answer of a command that names a session and has nothing more to say. */
export interface SessionCancelAnswer {
  /** The session. */
  sessionId: SessionId;
}

/** Input of `session.get`, `.cancel`, `.interrupt`, `.pause` and `.resume`. */
export interface SessionCancelInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The session. */
  sessionId: SessionId;
}

/** Answer of a command that names a session and has nothing more to say. */
export interface SessionCancelMessageAnswer {
  /** The session. */
  sessionId: SessionId;
}

/** Input of `session.cancel_message`. */
export interface SessionCancelMessageInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The message that waits. */
  messageId: string;
  /** The session. */
  sessionId: SessionId;
}

/** `session.cancelled`, an end: somebody asked for it. */
export interface SessionCancelled {
  /** The session. */
  sessionId: SessionId;
}

/** `session.completed`, an end: the program exited by itself. */
export interface SessionCompleted {
  /** Its exit code; other than 0 usually means that it was not content. */
  exitCode?: number | null;
  /** The session. */
  sessionId: SessionId;
}

/**
 * `session.error`, an end. Codes of the service: `spawn_failed`, `killed` (by a signal that the
 * server did not send), `timeout`, `silent`, `output_limit`, `output_lost`, `input_stuck`, `no_result` (an
 * agent ended in the middle of a turn), `agent_failed` (its last turn did), `worktree_failed`,
 * `terminal_failed` (there is none to run in), `start_lost`, `server_stopped`, `internal`.
 */
export interface SessionError {
  /** Why, for programs. */
  code?: string;
  /** The exit code, if the program exited. */
  exitCode?: number | null;
  /** Why, for people. */
  message?: string;
  /** The session. */
  sessionId: SessionId;
  /** The number of the signal that ended it, if one did. */
  signal?: number | null;
}

/** Why a session ended in an error. */
export interface SessionFailure {
  /** For programs. */
  code: string;
  /** For people. */
  message: string;
}

export type SessionGetAnswer = SessionState;

/** Input of `session.get`, `.cancel`, `.interrupt`, `.pause` and `.resume`. */
export interface SessionGetInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The session. */
  sessionId: SessionId;
}

/** `session.heartbeat`, ephemeral: the session is alive, also when it prints nothing. */
export interface SessionHeartbeat {
  /** Since its start, in milliseconds. */
  elapsedMs: number;
  /** What it does. */
  phase: Phase;
  /** The session. */
  sessionId: SessionId;
  /** Since it last printed (or started), in milliseconds. */
  silentMs: number;
}

/** A session. Ids sort by the time of their start (those made of an idempotency key by its hour). */
export type SessionId = string;

/** Answer of a command that names a session and has nothing more to say. */
export interface SessionInterruptAnswer {
  /** The session. */
  sessionId: SessionId;
}

/** Input of `session.get`, `.cancel`, `.interrupt`, `.pause` and `.resume`. */
export interface SessionInterruptInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The session. */
  sessionId: SessionId;
}

/** Answer of `session.list`. */
export interface SessionListAnswer {
  /** For the next page; absent on the last one. */
  cursor?: SessionId | null;
  /** The sessions, newest first; there may be fewer than asked for and a cursor all the same. */
  sessions: ListedSession[];
}

/** Input of `session.list`. */
export interface SessionListInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The `cursor` of the page before. */
  cursor?: SessionId | null;
  /** At most so many: 1 to 200, 50 by default. */
  limit?: number | null;
  /** Only those of this project. */
  projectId?: ProjectId | null;
  /** Only those that are so. */
  status?: SessionStatus | null;
}

/**
 * `session.message`: blocks of a message, whole. It replaces the deltas of these blocks. The blocks
 * of one message may come in several events with the same `messageId`, in their order.
 */
export interface SessionMessage {
  /** Which block of the message the first of these is, from 0. */
  block?: number;
  /** The blocks. */
  blocks: Block[];
  /** The message. */
  messageId: string;
  /** The model that made it. */
  model?: string | null;
  /** The tool call of the subagent that speaks; none for the agent itself. */
  parentExecutionId?: string | null;
  /** Who speaks; the agent if it does not say. */
  role?: Speaker;
  /** The session. */
  sessionId: SessionId;
}

/** `session.message_dequeued`: exactly one for each `MessageQueued`. */
export interface SessionMessageDequeued {
  /** The message. */
  messageId: string;
  /** Why. */
  reason: Dequeued;
  /** The session. */
  sessionId: SessionId;
}

/**
 * `session.message_queued`: the agent is busy; the message goes to it when it is free. Its text is
 * in the `UserMessage` that tells when it went.
 */
export interface SessionMessageQueued {
  /** The sender's key for it. */
  clientMessageId?: string | null;
  /** What it says, redacted. */
  content?: string;
  /** The message. */
  messageId: string;
  /** The session. */
  sessionId: SessionId;
}

/** Input of `session.output`. */
export interface SessionOutputInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The session. */
  sessionId: SessionId;
  /** Only this stream; by default standard output and standard error, in the order they were read. */
  type?: Stream | null;
}

/** Answer of a command that names a session and has nothing more to say. */
export interface SessionPauseAnswer {
  /** The session. */
  sessionId: SessionId;
}

/** Input of `session.get`, `.cancel`, `.interrupt`, `.pause` and `.resume`. */
export interface SessionPauseInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The session. */
  sessionId: SessionId;
}

/** `session.paused`: all processes of the program stand still. Time goes on: limits count it. */
export interface SessionPaused {
  /** The session. */
  sessionId: SessionId;
}

/** `session.permission_requested`: the agent waits for a person. State until it is resolved. */
export interface SessionPermissionRequested {
  /** The call that waits, if it has started. */
  executionId?: string | null;
  /** When it is withdrawn by itself. */
  expiresAt?: Timestamp | null;
  /** What it would be called with; where that is longer than 64 KiB as JSON, a string: its beginning. */
  input?: unknown;
  /** The answers that there are. */
  options: PermissionOption[];
  /** The request; `session.resolve_permission` names it. */
  requestId: string;
  /** The session. */
  sessionId: SessionId;
  /** The tool that wants to run. */
  tool: string;
}

/** `session.permission_resolved`: answered, or withdrawn. Exactly one for each request. */
export interface SessionPermissionResolved {
  /** How. */
  decision: PermissionDecision;
  /** The option that was chosen. */
  optionId?: string | null;
  /** The request. */
  requestId: string;
  /** The session. */
  sessionId: SessionId;
}

/** `session.progress`: the agent's plan, whole, and how much of it is done. */
export interface SessionProgress {
  /** How many parts are done. */
  current: number;
  /** The session. */
  sessionId: SessionId;
  /** The parts, if the agent names them. */
  steps?: PlanStep[];
  /** How many there are. */
  total: number;
}

/** `session.question_requested`: the agent asks a person, and waits. State until it is resolved. */
export interface SessionQuestionRequested {
  /** The call that waits, if it has started. */
  executionId?: string | null;
  /** The questions; all of them are answered at once. */
  questions: Question[];
  /** The request; `session.answer_question` names it. */
  requestId: string;
  /** The session. */
  sessionId: SessionId;
}

/** `session.question_resolved`: answered, declined or withdrawn. Exactly one for each request. */
export interface SessionQuestionResolved {
  /** What was answered, by the question. */
  answers?: Record<string, QuestionAnswer>;
  /** How. */
  decision: QuestionDecision;
  /** The request. */
  requestId: string;
  /** The session. */
  sessionId: SessionId;
}

/** `session.raw`: something that the adapter does not know, as the agent printed it. */
export interface SessionRaw {
  /** What it was; where that is longer than 64 KiB, a string: its beginning. */
  data: unknown;
  /** The session. */
  sessionId: SessionId;
  /** The agent's format: the name of the adapter. */
  source: string;
}

/** Answer of a command that names a session and has nothing more to say. */
export interface SessionResolvePermissionAnswer {
  /** The session. */
  sessionId: SessionId;
}

/** Input of `session.resolve_permission`: an `optionId`, or a `decision` of which the request has an option. */
export type SessionResolvePermissionInput = {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The first of the request's options of this kind. */
  decision?: PermissionKind | null;
  /** What to tell the agent besides, such as why not. */
  message?: string | null;
  /** One of the request's options. */
  optionId?: string | null;
  /** The request that waits. */
  requestId: string;
  /** The session. */
  sessionId: SessionId;
} & ({
  decision?: null;
  optionId: string;
} | {
  decision: string;
  optionId?: null;
});

/** Answer of a command that names a session and has nothing more to say. */
export interface SessionResumeAnswer {
  /** The session. */
  sessionId: SessionId;
}

/** Input of `session.get`, `.cancel`, `.interrupt`, `.pause` and `.resume`. */
export interface SessionResumeInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The session. */
  sessionId: SessionId;
}

/** `session.resumed`: they go on. */
export interface SessionResumed {
  /** The session. */
  sessionId: SessionId;
}

/** What was made. The id stands here by its own name, too. */
export interface SessionSendMessageAnswer {
  /** Where it is told. */
  channel: Channel;
  /** What was made. */
  id: string;
  /** The message. */
  messageId: string;
  /** Whether it waits until the agent is free. */
  queued: boolean;
  /** The session. */
  sessionId: SessionId;
}

/** Input of `session.send_message`. */
export interface SessionSendMessageInput {
  /** The sender's key for this message: a repeat changes nothing and gets the same answer. */
  clientMessageId?: string | null;
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** A line, or several, for the program's standard input. The last newline is added. */
  content: string;
  /** The session. */
  sessionId: SessionId;
}

/** Answer of `session.start`. */
export interface SessionStartAnswer {
  /** Where it is told. */
  channel: Channel;
  /** The session. */
  id: SessionId;
  /** The same, by the name that events have for it. */
  sessionId: SessionId;
}

/** Input of `session.start`: an `agent` or a `command`, not both. */
export type SessionStartInput = {
  /** A configured agent. */
  agent?: string | null;
  /** How many columns that has: 1 to 500, 80 by default. */
  cols?: number | null;
  /** A free command line: a program and its arguments. Needs the right to execute. */
  command?: string[] | null;
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The same key of the same user in the same project starts once within 24 hours. */
  idempotencyKey?: string | null;
  /** Where it runs. */
  projectId: ProjectId;
  /** What to do: in place of `{prompt}` in the agent's command, else a line on standard input. */
  prompt?: string | null;
  /**
   * Runs it in a terminal of its own, which people watch and type into: `session.terminal_opened` names it.
   * Needs the right to execute. An agent runs as its `terminal` is configured.
   */
  pty?: boolean;
  /** An earlier session of the same agent in the same project, whose conversation goes on in this one. */
  resume?: SessionId | null;
  /** How many rows: 1 to 200, 24 by default. */
  rows?: number | null;
  /** What people call it; by default the prompt's first line, or the program. */
  title?: string | null;
  /**
   * Runs it in a working tree of the project's repository instead of the project's directory. With `resume`, by
   * default the earlier session's.
   */
  worktree?: Worktree | null;
} & ({
  agent: string;
  command?: null;
} | {
  agent?: null;
  command: unknown[];
});

/** `session.started`: the first event of a session. */
export interface SessionStarted {
  /** The configured agent that runs. */
  agent?: string | null;
  /** The free command line that runs, redacted, the first 4 KiB of it. */
  command?: string[] | null;
  /**
   * Whether this server runs the program itself, and so tells its end when the server died. Only the server says
   * so.
   */
  hosted?: boolean;
  /** The project that it runs in. */
  projectId?: ProjectId | null;
  /** What it was asked, redacted, the first 8 KiB of it. */
  prompt?: string | null;
  /** A digest of what was asked for, where an idempotency key was given: a repeat must be the same. */
  request?: string | null;
  /** The session. */
  sessionId: SessionId;
  /** What people call it. */
  title?: string | null;
  /** The working tree of the project that it runs in, `.worktrees/{worktree}`; none for its root. */
  worktree?: string | null;
}

/** The state of a session: the fold of its channel. Its JSON is the snapshot. */
export interface SessionState {
  /** The agent that runs. */
  agent: string | null;
  /** The free command line that runs. */
  command: string[] | null;
  /** What is known of the agent inside, of an agent that tells. */
  conversation: Conversation;
  /** How much there is of it. */
  counts: Counts;
  /** When it ended. */
  endedAt: Timestamp | null;
  /** Why it failed, if it did. */
  error: SessionFailure | null;
  /** The exit code, once the program exited. */
  exitCode: number | null;
  /** Whether this server runs the program. */
  hosted: boolean;
  /** Whether its program stands still. */
  paused: boolean;
  /** The project that it runs in. */
  projectId: ProjectId | null;
  /** What it was asked. */
  prompt: string | null;
  /** See `Started::request`. */
  request?: string | null;
  /** The session; none before its first event. */
  sessionId: SessionId | null;
  /** The signal that ended it, if one did. */
  signal?: number | null;
  /** When it started. */
  startedAt: Timestamp | null;
  /** Who started it. */
  startedBy: UserId | null;
  /** How it is. */
  status: SessionStatus;
  /** The terminal that it runs in. */
  terminalId?: TerminalId | null;
  /** What people call it. */
  title: string | null;
  /** The newest part of the output, oldest first. */
  transcript: Chunk[];
  /** When its newest message was published. */
  updatedAt: Timestamp | null;
  /** The newest messages of users, oldest first. */
  userMessages: Said[];
  /** The working tree that it runs in. */
  worktree?: string | null;
}

/** How a session is. */
export type SessionStatus = "starting" | "running" | "completed" | "error" | "cancelled";

/** `session.stream_output`: a piece of output, at most 16 KiB, cut between characters. */
export interface SessionStreamOutput {
  /** The text, redacted; bytes that are no UTF-8 are replaced by U+FFFD. */
  content: string;
  /** How many bytes of this stream's content came before it. */
  offset?: number | null;
  /** The session. */
  sessionId: SessionId;
  /** Where it comes from; standard output if it does not say. */
  type?: Stream;
}

/** `session.subagent_completed`: it ended. */
export interface SessionSubagentCompleted {
  /** How long it took, in milliseconds, as the server saw it. */
  durationMs?: number | null;
  /** The tool call that it ran in. */
  executionId: string;
  /** The session. */
  sessionId: SessionId;
  /** How it ended. */
  status: Outcome;
}

/**
 * `session.subagent_started`: an agent of the agent's begins. What it says and does carries its
 * `executionId` as `parentExecutionId`.
 */
export interface SessionSubagentStarted {
  /** What it is to do, in few words. */
  description?: string | null;
  /** The tool call that it runs in. */
  executionId: string;
  /** The session. */
  sessionId: SessionId;
  /** What kind of agent it is, as the agent calls it. */
  subagentType?: string | null;
}

/** A thing of a project as its board shows it, such as a session. Made by the handler of the thing. */
export interface SessionSummary {
  /** The channel with the whole of it. */
  channel: Channel;
  /** The thing's id. */
  id: string;
  /** How it is, in its domain's words. */
  status: string;
  /** What people call it. */
  title?: string | null;
  /** When it changed. */
  updatedAt: Timestamp;
}

/**
 * `session.terminal_opened`: the program runs in this terminal. It ends with the session, and the session
 * with it.
 */
export interface SessionTerminalOpened {
  /** The session. */
  sessionId: SessionId;
  /** The terminal. */
  terminalId: TerminalId;
}

/**
 * `session.text_delta` and `session.thinking_delta`, ephemeral: a piece of a message that is being
 * made. Worth nothing once the `AgentMessage` of the same `messageId` with this block is there.
 */
export interface SessionTextDelta {
  /** Which block of the message, from 0. */
  block: number;
  /** The message that it is a piece of. */
  messageId: string;
  /**
   * How much of the block came before it, in UTF-16 code units (what `length` of a JavaScript
   * string counts). Whoever has less waits for what lies between; whoever has more cuts it.
   */
  offset: number;
  /** The tool call of the subagent that speaks; none for the agent itself. */
  parentExecutionId?: string | null;
  /** The session. */
  sessionId: SessionId;
  /** The text. */
  text: string;
}

/**
 * `session.text_delta` and `session.thinking_delta`, ephemeral: a piece of a message that is being
 * made. Worth nothing once the `AgentMessage` of the same `messageId` with this block is there.
 */
export interface SessionThinkingDelta {
  /** Which block of the message, from 0. */
  block: number;
  /** The message that it is a piece of. */
  messageId: string;
  /**
   * How much of the block came before it, in UTF-16 code units (what `length` of a JavaScript
   * string counts). Whoever has less waits for what lies between; whoever has more cuts it.
   */
  offset: number;
  /** The tool call of the subagent that speaks; none for the agent itself. */
  parentExecutionId?: string | null;
  /** The session. */
  sessionId: SessionId;
  /** The text. */
  text: string;
}

/** `session.tool_completed`: a tool call ended. */
export interface SessionToolCompleted {
  /** How long it took, in milliseconds, as the server saw it. */
  durationMs?: number | null;
  /** The call. */
  executionId: string;
  /** What it gave; where that is longer than 64 KiB as JSON, a string: its beginning. */
  output?: unknown;
  /** The tool call of the subagent that called it; none for the agent itself. */
  parentExecutionId?: string | null;
  /** The exit code, of a tool that runs a program. */
  returnCode?: number | null;
  /** The session. */
  sessionId: SessionId;
  /** How it ended. */
  status: Outcome;
}

/** `session.tool_started`: a tool was called. */
export interface SessionToolStarted {
  /** The call. Its `ToolCompleted` has the same. */
  executionId: string;
  /** What it was called with; where that is longer than 64 KiB as JSON, a string: its beginning. */
  input?: unknown;
  /** The tool. */
  name: string;
  /** The tool call of the subagent that called it; none for the agent itself. */
  parentExecutionId?: string | null;
  /** The session. */
  sessionId: SessionId;
}

/** `session.turn_completed`: the agent has answered what it was asked. It may be asked again. */
export interface SessionTurnCompleted {
  /** How long it took, in milliseconds, as the agent says, else as the server saw it. */
  durationMs?: number | null;
  /** Why it ended, as the agent calls it, such as `error_max_turns`. */
  reason?: string | null;
  /** Its last word, at most 256 KiB of it; of a failure, why. */
  result?: string | null;
  /** The session. */
  sessionId: SessionId;
  /** Whether it did what was asked. An agent that calls its failure a success is told from its words. */
  status: TurnStatus;
  /** Whether `result` is only the beginning of its last word. */
  truncated?: boolean;
}

/** `session.usage`: what a turn used, told once for each turn. The state has the sum. */
export interface SessionUsage {
  /** Tokens read from a cache. */
  cacheReadTokens?: number;
  /** Tokens written to a cache. */
  cacheWriteTokens?: number;
  /** What it cost, in US dollars, where the agent says so. */
  costUsd?: number | null;
  /** Tokens read, without those from a cache. */
  inputTokens?: number;
  /** Tokens made, reasoning included. */
  outputTokens?: number;
  /** The session. */
  sessionId: SessionId;
}

/** `session.user_message`: a message was accepted and goes to the program's standard input. */
export interface SessionUserMessage {
  /** The sender's key for it. */
  clientMessageId?: string | null;
  /** What it says, redacted (the program gets it as it was sent). */
  content?: string;
  /** The message. */
  messageId?: string | null;
  /** The session. */
  sessionId: SessionId;
}

/** Answer of a command that names a terminal and has nothing more to say. */
export interface ShellCloseAnswer {
  /** The terminal. */
  terminalId: TerminalId;
}

/** Input of `shell.get` and `shell.close`. */
export interface ShellCloseInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The terminal. */
  terminalId: TerminalId;
}

/**
 * `shell.error`, an end. Codes of the service: `spawn_failed`, `output_lost`, `start_lost`,
 * `server_stopped`, `internal`.
 */
export interface ShellError {
  /** Why, for programs. */
  code?: string;
  /** Why, for people. */
  message?: string;
  /** The terminal. */
  terminalId: TerminalId;
}

/** `shell.exit`, an end: the program is gone, and everything that ran in the terminal with it. */
export interface ShellExit {
  /** The exit code; none when a signal ended the program. */
  code?: number | null;
  /** Why. */
  reason?: Cause;
  /** The number of the signal that ended it, if one did. */
  signal?: number | null;
  /** The terminal. */
  terminalId: TerminalId;
}

/** Why a terminal ended in an error. */
export interface ShellFailure {
  /** For programs. */
  code: string;
  /** For people. */
  message: string;
}

export type ShellGetAnswer = ShellState;

/** Input of `shell.get` and `shell.close`. */
export interface ShellGetInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The terminal. */
  terminalId: TerminalId;
}

/** Answer of `shell.input`. */
export interface ShellInputAnswer {
  /** Its number, if it had one. */
  inputSeq?: number | null;
  /** Whether it was there before and nothing happened now. */
  repeated: boolean;
  /** The terminal. */
  terminalId: TerminalId;
}

/** Input of `shell.input`. */
export interface ShellInputInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** What is typed, at most 64 KiB. Nothing is added to it: Enter is `\r`, an interrupt `\u0003`. */
  data: string;
  /** How `data` is written. */
  encoding?: Encoding;
  /** 1, 2, 3 … of one user and `writer`: a repeat is ignored, a hole refused. */
  inputSeq?: number | null;
  /** The terminal. */
  terminalId: TerminalId;
  /** Who counts, for a user who types at several places: a new name for whoever begins at 1. */
  writer?: string | null;
}

/** Answer of `shell.list`. */
export interface ShellListAnswer {
  /** For the next page; absent on the last one. */
  cursor?: TerminalId | null;
  /** The terminals, newest first; there may be fewer than asked for and a cursor all the same. */
  shells: ListedShell[];
}

/** Input of `shell.list`. */
export interface ShellListInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The `cursor` of the page before. */
  cursor?: TerminalId | null;
  /** At most so many: 1 to 200, 50 by default. */
  limit?: number | null;
  /** Only those of this project. */
  projectId?: ProjectId | null;
  /** Only those that are so. */
  status?: ShellStatus | null;
}

/** Answer of `shell.open`. */
export interface ShellOpenAnswer {
  /** Where it is told. */
  channel: Channel;
  /** The terminal. */
  id: TerminalId;
  /** The same, by the name that events have for it. */
  terminalId: TerminalId;
}

/** Input of `shell.open`. */
export interface ShellOpenInput {
  /** How many columns: 1 to 500, 80 by default. */
  cols?: number;
  /** A program and its arguments; the configured shell by default. */
  command?: string[] | null;
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /**
   * Its directory, relative to the project's root or absolute, and inside it once symbolic links are
   * followed; the root by default.
   */
  cwd?: string | null;
  /** Variables beside those that every program gets; none may be called `TIDINGS_*`. */
  env?: Record<string, string>;
  /** Where it runs. */
  projectId: ProjectId;
  /** How many rows: 1 to 200, 24 by default. */
  rows?: number;
}

/** `shell.opened`: the first event of a terminal. */
export interface ShellOpened {
  /** How many columns it has. */
  cols: number;
  /** The command line that was asked for, redacted, the first 4 KiB of it; none for the configured shell. */
  command?: string[] | null;
  /** Its directory, relative to the project's root; none for the root itself. */
  cwd?: string | null;
  /**
   * Whether this server runs the program itself, and so tells its end when the server died. Only the server says
   * so.
   */
  hosted?: boolean;
  /** The project that it runs in. */
  projectId?: ProjectId | null;
  /** How many rows it has. */
  rows: number;
  /** The session whose program runs in it; none for one that a person opened. */
  sessionId?: SessionId | null;
  /** The terminal. */
  terminalId: TerminalId;
  /** What people call it, until the program gives its window a title: the program's name. */
  title?: string | null;
}

/** `shell.output`: what the program wrote, at most 32 KiB, cut between characters. */
export interface ShellOutput {
  /**
   * Text and control sequences, for a terminal emulator. They are not redacted: a sequence with a
   * hole in it would draw something else. Bytes that are no UTF-8 are replaced by U+FFFD.
   */
  data: string;
  /** How many bytes of output came before it. */
  offset?: number | null;
  /** The terminal. */
  terminalId: TerminalId;
}

/** Answer of a command that names a terminal and has nothing more to say. */
export interface ShellResizeAnswer {
  /** The terminal. */
  terminalId: TerminalId;
}

/** Input of `shell.resize`. */
export interface ShellResizeInput {
  /** How many columns: 1 to 500. */
  cols: number;
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** How many rows: 1 to 200. */
  rows: number;
  /** The terminal. */
  terminalId: TerminalId;
}

/** `shell.resized`: from here on the output is for this size. The last resize wins. */
export interface ShellResized {
  /** How many columns it has. */
  cols: number;
  /** How many rows it has. */
  rows: number;
  /** The terminal. */
  terminalId: TerminalId;
}

/** The state of a terminal: the fold of its channel. Its JSON is the snapshot. */
export interface ShellState {
  /** How many bytes of output there are so far. */
  bytes: number;
  /** The exit code, once the program exited. */
  code: number | null;
  /** How many columns. */
  cols: number;
  /** The command line that was asked for. */
  command: string[] | null;
  /** Where the cursor is. */
  cursor: Cursor;
  /** Its directory, relative to the project's root. */
  cwd: string | null;
  /** When it ended. */
  endedAt: Timestamp | null;
  /** Why it failed, if it did. */
  error: ShellFailure | null;
  /** Whether this server runs the program. */
  hosted: boolean;
  /** The program's name. */
  name: string | null;
  /** When it was opened. */
  openedAt: Timestamp | null;
  /** Who opened it. */
  openedBy: UserId | null;
  /** The project that it runs in. */
  projectId: ProjectId | null;
  /** Why it exited, once it did. */
  reason: Cause | null;
  /** How many rows. */
  rows: number;
  /** Text and control sequences that draw the screen and set cursor and modes. */
  screen: string;
  /** The newest lines that left the screen at its top, oldest first. */
  scrollback: string[];
  /** The session whose program runs in it. */
  sessionId?: SessionId | null;
  /** The signal that ended it, if one did. */
  signal: number | null;
  /** How it is. */
  status: ShellStatus;
  /** The terminal; none before its first event. */
  terminalId: TerminalId | null;
  /** What people call it: the title that the program gave its window, else `ShellState::name`. */
  title: string | null;
  /** When its newest message was published. */
  updatedAt: Timestamp | null;
  /** Whether the screen's first line goes on the last of these. */
  wrapped?: boolean;
}

/** How a terminal is. */
export type ShellStatus = "opening" | "running" | "exited" | "error";

/** A thing of a project as its board shows it, such as a session. Made by the handler of the thing. */
export interface ShellSummary {
  /** The channel with the whole of it. */
  channel: Channel;
  /** The thing's id. */
  id: string;
  /** How it is, in its domain's words. */
  status: string;
  /** What people call it. */
  title?: string | null;
  /** When it changed. */
  updatedAt: Timestamp;
}

/** A position to go on from. A seq above 0 needs its epoch. */
export interface Since {
  /** The numbering that `seq` is of. */
  epoch?: Epoch | null;
  /** The last message that the client has; 0 for none. */
  seq: number;
}

/** Why a step is not run. */
export type SkipReason = "condition" | "needs";

/** Who speaks. */
export type Speaker = "assistant" | "user";

/** A message of the agent, or to its subagent. */
export interface Spoken {
  /** Which block the first of these is. */
  block: number;
  /** The blocks. */
  blocks: Block[];
  /** The message. */
  messageId: string;
  /** The tool call of the subagent that speaks; none for the agent itself. */
  parentExecutionId?: string | null;
  /** Who speaks. */
  role: Speaker;
  /** Its newest event. */
  seq: number;
}

/** What to do with the stash. */
export type StashAction = "push" | "pop" | "apply" | "drop";

/** What kind of step it is. */
export type StepKind = "command" | "session" | "approval";

/** A step of a run as its graph has it. */
export interface StepShape {
  /** What it does. */
  kind?: StepKind;
  /** Its values, of a matrix. */
  matrix?: Record<string, string | number | boolean>;
  /** The step of the definition. */
  name: string;
  /** The steps of the definition that end before it begins. */
  needs?: string[];
  /** What it gave in the run before, where it is not run again. */
  reused?: Record<string, string> | null;
  /** The step of the run: `test`, or of a matrix `test.2`. */
  stepId: string;
}

/** A step of a run. */
export interface StepState {
  /** Who answered. */
  answeredBy?: UserId | null;
  /** Which attempt is, or was last, under way; 0 before the first. */
  attempt: number;
  /** How long all its attempts took together, in milliseconds. */
  durationMs: number;
  /** When it ended. */
  endedAt?: Timestamp | null;
  /** Why its last attempt failed. */
  error?: RunFailure | null;
  /** The exit code of its last attempt. */
  exitCode?: number | null;
  /** What it does. */
  kind: StepKind;
  /** Its values, of a matrix. */
  matrix?: Record<string, string | number | boolean>;
  /** What a person is asked. */
  message?: string | null;
  /** The step of the definition. */
  name: string;
  /** The steps of the definition that end before it begins. */
  needs: string[];
  /** How many bytes all its attempts printed. */
  outputBytes: number;
  /** What it gave. */
  outputs?: Record<string, string>;
  /** How much of it is done. */
  progress: HowMuch;
  /** When its next attempt starts. */
  retryAt?: Timestamp | null;
  /** Whether it is not run because the run before gave it. */
  reused?: boolean;
  /** The session of its last attempt. */
  sessionId?: SessionId | null;
  /** Why it is not run. */
  skipped?: SkipReason | null;
  /** When its last attempt started. */
  startedAt?: Timestamp | null;
  /** How it is. */
  status: RunStepStatus;
  /** Its id: `test`, or of a matrix `test.2`. */
  stepId: string;
  /** The newest of what its last attempt printed. */
  tail?: string;
  /** Whether its failure counts as a success. */
  tolerated?: boolean;
  /** What the agents of all its attempts used. */
  usage?: RunUsage | null;
}

/** Where output comes from. */
export type StepStream = "stdout" | "stderr";

/** Where output comes from. */
export type Stream = "stdout" | "stderr" | "system";

/** A subagent that runs. */
export interface Subagent {
  /** What it is to do. */
  description?: string | null;
  /** The tool call that it runs in. */
  executionId: string;
  /** What kind of agent it is. */
  subagentType?: string | null;
}

export type SubscribeAcknowledgement = Subscribed | {
  ok: true;
  results: (Subscribed | Refused)[];
};

export type SubscribeArgument = Channel | SubscribeRequest | (Channel | SubscribeRequest)[];

/** What a client asks for one channel. */
export interface SubscribeRequest {
  /** The channel. */
  channel: Channel;
  /** Only what passes. */
  filter?: Filter | null;
  /** The newest so many messages first. */
  last?: number | null;
  /** Skip ahead when too far behind. */
  maxLag?: MaxLag | null;
  /** Go on from here. */
  since?: Since | null;
  /** The state first. */
  snapshot?: boolean;
}

/** The answer to a subscribe request. */
export interface Subscribed {
  /** The channel. */
  channel: Channel;
  /** Its epoch. */
  epoch: Epoch;
  /** Whether it exists: something durable was published to it, ever. One that does not may begin later. */
  exists: boolean;
  /** The first kept number, where `reason` is `trimmed`. */
  first?: number | null;
  /** That all is well. */
  ok: true;
  /** Why not. */
  reason?: NotRecovered | null;
  /** Whether everything after `since` is still there. */
  recovered?: boolean | null;
  /** Its head at the moment of attaching. */
  seq: number;
  /** Whether a `channel.snapshot` comes now, before what is live. */
  snapshot: boolean;
}

/** A thing of a project as its board shows it, such as a session. Made by the handler of the thing. */
export interface Summary {
  /** The channel with the whole of it. */
  channel: Channel;
  /** The thing's id. */
  id: string;
  /** How it is, in its domain's words. */
  status: string;
  /** What people call it. */
  title?: string | null;
  /** When it changed. */
  updatedAt: Timestamp;
}

/** A terminal. Ids sort by the time of their start. */
export type TerminalId = string;

/** An instant in UTC: RFC 3339 with milliseconds. */
export type Timestamp = string;

/** A tool call. */
export interface Tool {
  /** How long it took, in milliseconds. */
  durationMs?: number | null;
  /** The call. */
  executionId: string;
  /** What it was called with; of a longer one its beginning, as a string. */
  input: unknown;
  /** The tool. */
  name: string;
  /** What it gave; of a longer one its beginning, as a string. */
  output?: unknown;
  /** The tool call of the subagent that called it; none for the agent itself. */
  parentExecutionId?: string | null;
  /** The exit code, of a tool that runs a program. */
  returnCode?: number | null;
  /** The event of its start. */
  seq: number;
  /** When it started. */
  startedAt: Timestamp;
  /** How it ended; none while it runs. */
  status?: Outcome | null;
}

/** What all turns used together. */
export interface Totals {
  /** Tokens read from a cache. */
  cacheReadTokens: number;
  /** Tokens written to a cache. */
  cacheWriteTokens: number;
  /** What it cost, in US dollars, as far as the agent says. */
  costUsd: number;
  /** Tokens read, without those from a cache. */
  inputTokens: number;
  /** Tokens made. */
  outputTokens: number;
  /** How many turns were completed. */
  turns: number;
}

/** How the newest turn ended. */
export interface Turn {
  /** Why it ended, as the agent calls it. */
  reason?: string | null;
  /** Its last word, the first 2 KiB of it. */
  result?: string | null;
  /** The event of its end. None of a turn that an older server was told of. */
  seq?: number | null;
  /** Whether it did what was asked. */
  status: TurnStatus;
  /** Whether `result` is only the beginning of it: the event of this turn has more. */
  truncated?: boolean;
}

/** How a turn ended. */
export type TurnStatus = "success" | "error" | "cancelled";

/** What is answered when all is well. */
export interface UnsubscribeAcknowledgement {
  /** That all is well. */
  ok: true;
}

/** What `unsubscribe` takes: a channel, several, or all of them. */
export type UnsubscribeArgument = Channel | Channel[] | {
  /** Only `true`. */
  all: boolean;
};

/** A user as the API shows it. */
export interface User {
  /** When it was made. */
  createdAt: Timestamp;
  /** Whether it may not log in. */
  disabled: boolean;
  /** The id; the `sub` of its tokens. */
  id: UserId;
  /** Its roles. */
  roles: Role[];
  /** The name to log in with. */
  username: string;
}

/** `user.attention_requested` and `user.attention_resolved`: what waits for a person. */
export interface UserAttentionRequested {
  /** The channel of that which waits. */
  channel: Channel;
  /** Which one: of a permission or a question, its `requestId`; of an approval, its `stepId`. */
  id: string;
  /** What it is. */
  kind: AttentionKind;
  /** The person. */
  userId: UserId;
}

/** `user.attention_requested` and `user.attention_resolved`: what waits for a person. */
export interface UserAttentionResolved {
  /** The channel of that which waits. */
  channel: Channel;
  /** Which one: of a permission or a question, its `requestId`; of an approval, its `stepId`. */
  id: string;
  /** What it is. */
  kind: AttentionKind;
  /** The person. */
  userId: UserId;
}

/** A user. */
export type UserId = string;

/** `user.notice`: something to tell a person, with whatever its producer adds. */
export interface UserNotice {
  /** The text, for people. */
  text?: string | null;
  /** Whom; not needed where the channel is named. */
  userId?: UserId | null;
  [more: string]: unknown;
}

/** The state of a user's channel: the fold of it. Its JSON is the snapshot. */
export interface UserState {
  /** How much of it was left out: the oldest, where more waits than a state has. */
  leftOut: number;
  /** What waits for this person, the oldest first. */
  open: Waiting[];
}

/** Something that waits for a person. */
export interface Waiting {
  /** The channel of that which waits. */
  channel: Channel;
  /** Which one: of a permission or a question, its `requestId`; of an approval, its `stepId`. */
  id: string;
  /** What it is. */
  kind: AttentionKind;
  /** The message that told of it. */
  seq: number;
  /** Since when. */
  since: Timestamp;
}

/** A definition: its text in YAML or JSON, or the JSON itself. */
export type WorkflowDefinition = string | Record<string, unknown>;

/** What is wrong with a definition, and where. */
export interface WorkflowFlaw {
  /** The line, from 1. */
  line: number;
  /** Why it is refused, for people. */
  reason: string;
}

/** An input of a definition. */
export interface WorkflowInput {
  /** What it is when nothing is given. */
  default?: string | number | boolean | null;
  /** For people. */
  description?: string | null;
  /** The texts of a choice. */
  options?: string[];
  /** What it is held to: `string`, `number`, `boolean` or `choice`; absent where that is any of the first three. */
  type?: string | null;
}

/** Answer of a command that names a run and has nothing more to say. */
export interface WorkflowRunApproveAnswer {
  /** The run. */
  runId: RunId;
}

/** Input of `workflow.run.approve`. */
export interface WorkflowRunApproveInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The answer. The first one counts. */
  decision: ApprovalDecision;
  /** The run. */
  runId: RunId;
  /** The step that waits. */
  stepId: string;
}

/** Answer of a command that names a run and has nothing more to say. */
export interface WorkflowRunCancelAnswer {
  /** The run. */
  runId: RunId;
}

/** Input of `workflow.run.get` and `.cancel`. */
export interface WorkflowRunCancelInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The run. */
  runId: RunId;
}

/** `workflow.run.cancelled`, an end: somebody asked for it. */
export interface WorkflowRunCancelled {
  /** From its start, in milliseconds. */
  durationMs?: number;
  /** The run. */
  runId: RunId;
  /** What its session steps used. */
  usage?: RunUsage;
}

/** `workflow.run.completed`, an end. */
export interface WorkflowRunCompleted {
  /** From its start, in milliseconds. */
  durationMs?: number;
  /** The run. */
  runId: RunId;
  /** What its session steps used. */
  usage?: RunUsage;
}

/**
 * `workflow.run.failed`, an end. Codes: `step_failed`, `definition_invalid` (this version of the server
 * does not take what an older one took), `expression_failed`, `project_removed`, `root_refused`, `internal`.
 */
export interface WorkflowRunFailed {
  /** Why, for programs. */
  code: string;
  /** From its start, in milliseconds. */
  durationMs?: number;
  /** Why, for people. */
  message?: string;
  /** The run. */
  runId: RunId;
  /** What its session steps used. */
  usage?: RunUsage;
}

export type WorkflowRunGetAnswer = RunState;

/** Input of `workflow.run.get` and `.cancel`. */
export interface WorkflowRunGetInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The run. */
  runId: RunId;
}

/** Answer of `workflow.run.list`. */
export interface WorkflowRunListAnswer {
  /** For the next page; absent on the last one. */
  cursor?: RunId | null;
  /** The runs, newest first; there may be fewer than asked for and a cursor all the same. */
  runs: ListedRun[];
}

/** Input of `workflow.run.list`. */
export interface WorkflowRunListInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The `cursor` of the page before. */
  cursor?: RunId | null;
  /** At most so many: 1 to 200, 50 by default. */
  limit?: number | null;
  /** Only those of this project. */
  projectId?: ProjectId | null;
  /** Only those that are so. */
  status?: RunStatus | null;
}

/** Input of `workflow.run.output`. */
export interface WorkflowRunOutputInput {
  /** Which attempt, from 1; the last one by default. */
  attempt?: number | null;
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The run. */
  runId: RunId;
  /** The step. */
  stepId: string;
}

/** Answer of `workflow.run.start` and `workflow.run.rerun`. */
export interface WorkflowRunRerunAnswer {
  /** Where it is told. */
  channel: Channel;
  /** The run. */
  id: RunId;
  /** The same, by the name that events have for it. */
  runId: RunId;
}

/** Input of `workflow.run.rerun`. */
export interface WorkflowRunRerunInput {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /**
   * The step from which it is run again, with everything that follows from it; what else completed is
   * kept. Without it, all steps are run again.
   */
  from?: string | null;
  /** The run that ended. */
  runId: RunId;
}

/** Answer of `workflow.run.start` and `workflow.run.rerun`. */
export interface WorkflowRunStartAnswer {
  /** Where it is told. */
  channel: Channel;
  /** The run. */
  id: RunId;
  /** The same, by the name that events have for it. */
  runId: RunId;
}

/** Input of `workflow.run.start`: a `definition` or a `file`, not both. */
export type WorkflowRunStartInput = {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The definition. */
  definition?: WorkflowDefinition | null;
  /** A file of the project that holds it: a path from the project's root. */
  file?: string | null;
  /** What the definition wants to be given, each of its type: texts, numbers and flags. Numbers keep their spelling. */
  inputs?: Record<string, string | number | boolean>;
  /** Where it runs. */
  projectId: ProjectId;
  /** What people call it; by default the definition's name, or its file's. */
  title?: string | null;
} & ({
  definition: string | Record<string, unknown>;
  file?: null;
} | {
  definition?: null;
  file: string;
});

/** `workflow.run.started`: the first event of a run. */
export interface WorkflowRunStarted {
  /** The text of its definition: what a later life of the server goes on by. */
  definition: string;
  /** The file of the project that it was read from. */
  file?: string | null;
  /** What it was given, with the defaults of the rest. */
  inputs?: Record<string, string | number | boolean>;
  /** The project that it runs in. */
  projectId: ProjectId;
  /** The run that it repeats, in part or whole. */
  rerunOf?: RunId | null;
  /** The run. */
  runId: RunId;
  /** Its graph, in the order of the definition. */
  steps: StepShape[];
  /** What people call it. */
  title: string;
}

/** `workflow.run.step.cancelled`, an end. */
export interface WorkflowRunStepCancelled {
  /** Which attempt; 0 if none was under way. */
  attempt?: number;
  /** From the start of the attempt, in milliseconds. */
  durationMs?: number;
  /** The run. */
  runId: RunId;
  /** The step. */
  stepId: string;
  /** What its agent used. */
  usage?: RunUsage | null;
}

/** `workflow.run.step.completed`, an end. */
export interface WorkflowRunStepCompleted {
  /** Which attempt. */
  attempt?: number;
  /** From the start of the attempt, in milliseconds. */
  durationMs?: number;
  /** What it gave. */
  outputs?: Record<string, string>;
  /** How much was done. */
  progress?: HowMuch;
  /** The run. */
  runId: RunId;
  /** The step. */
  stepId: string;
  /** What its agent used. */
  usage?: RunUsage | null;
}

/**
 * `workflow.run.step.failed`: an end, unless it has `retryAt`. Codes: `exit_code`, `killed` (by a signal
 * that the server did not send), `timeout`, `spawn_failed`, `output_limit`, `outputs_invalid`,
 * `expression_failed`, `rejected`, `server_stopped`, `internal`; of a session its own, or the refusal's.
 */
export interface WorkflowRunStepFailed {
  /** Which attempt; 0 if it failed before it could start. */
  attempt?: number;
  /** Why, for programs. */
  code: string;
  /** From the start of the attempt, in milliseconds. */
  durationMs?: number;
  /** The exit code, if a program exited. */
  exitCode?: number | null;
  /** Why, for people. */
  message?: string;
  /** When the next attempt starts, if there will be one. */
  retryAt?: Timestamp | null;
  /** The run. */
  runId: RunId;
  /** The number of the signal that ended a program, if one did. */
  signal?: number | null;
  /** The step. */
  stepId: string;
  /** Whether the definition says to go on as if it had succeeded. */
  tolerated?: boolean;
  /** What its agent used. */
  usage?: RunUsage | null;
}

/** `workflow.run.step.output`: a piece of output, at most 16 KiB, cut between characters. */
export interface WorkflowRunStepOutput {
  /** Which attempt. */
  attempt: number;
  /** The text, redacted; bytes that are no UTF-8 are replaced by U+FFFD. */
  content: string;
  /** How many bytes of this stream of this attempt came before it. */
  offset?: number;
  /** The run. */
  runId: RunId;
  /** The step. */
  stepId: string;
  /** Where it comes from. */
  type?: StepStream;
}

/** `workflow.run.step.progress`: how much of the step is done. */
export interface WorkflowRunStepProgress {
  /** Which attempt. */
  attempt?: number;
  /** How much. */
  progress: HowMuch;
  /** The run. */
  runId: RunId;
  /** The step. */
  stepId: string;
}

/** `workflow.run.step.session`: the session in which this attempt works. Its channel tells the rest. */
export interface WorkflowRunStepSession {
  /** Which attempt. */
  attempt: number;
  /** The run. */
  runId: RunId;
  /** The session. */
  sessionId: SessionId;
  /** The step. */
  stepId: string;
}

/** `workflow.run.step.skipped`, an end. */
export interface WorkflowRunStepSkipped {
  /** Why. */
  reason: SkipReason;
  /** The run. */
  runId: RunId;
  /** The step. */
  stepId: string;
}

/** `workflow.run.step.started`: an attempt began. */
export interface WorkflowRunStepStarted {
  /** Which attempt, from 1. */
  attempt: number;
  /** The run. */
  runId: RunId;
  /** The step. */
  stepId: string;
}

/** `workflow.run.step.waiting`: the step waits for a person, who answers with `workflow.run.approve`. */
export interface WorkflowRunStepWaiting {
  /** What the person is asked. */
  message?: string;
  /** The run. */
  runId: RunId;
  /** The step. */
  stepId: string;
}

/** A thing of a project as its board shows it, such as a session. Made by the handler of the thing. */
export interface WorkflowRunSummary {
  /** The channel with the whole of it. */
  channel: Channel;
  /** The thing's id. */
  id: string;
  /** How it is, in its domain's words. */
  status: string;
  /** What people call it. */
  title?: string | null;
  /** When it changed. */
  updatedAt: Timestamp;
}

/** `workflow.run.updated`: its status changed, or how much of it is done. */
export interface WorkflowRunUpdated {
  /** How many of its steps have ended. */
  progress: HowMuch;
  /** The run. */
  runId: RunId;
  /** How it is. */
  status: RunStatus;
}

/** Answer of `workflow.validate`. */
export interface WorkflowValidateAnswer {
  /** What is wrong with it, in the order of the text; at most 20. */
  flaws: WorkflowFlaw[];
  /** What a run of it has to be, or may be, given. */
  inputs: Record<string, WorkflowInput>;
  /** The graph of a run of it. */
  steps: StepShape[];
  /** Whether a run of it could start. */
  valid: boolean;
}

/** Input of `workflow.validate`: a `definition` or a `file`, not both. */
export type WorkflowValidateInput = {
  /** The command's id: a repeat within 24 hours gets the first answer, and nothing happens. Commands that only read run again. */
  commandId?: string;
  /** The definition. */
  definition?: WorkflowDefinition | null;
  /** A file of the project that holds it. */
  file?: string | null;
  /** Where it would run. */
  projectId: ProjectId;
} & ({
  definition: string | Record<string, unknown>;
  file?: null;
} | {
  definition?: null;
  file: string;
});

/** A working tree that something is to run in: it is made, as by `git.worktree_add`, unless it is there. */
export interface Worktree {
  /** The branch of one that is made; by default one of its name, a new one unless it is there. */
  branch?: string | null;
  /** Whether that is a new one. */
  create?: boolean;
  /** Where a new one begins; `HEAD` by default. */
  from?: string | null;
  /** Its name: it lies in `.worktrees/{name}`. */
  name: string;
}

/** The messages of channels, by their types. */
export interface Messages {
  /** Files of a watched project changed. */
  "fs.changed": Durable<"fs.changed", FsChanged>;
  /** Not every change was told: look anew. */
  "fs.rescan": Durable<"fs.rescan", FsRescan>;
  /** An operation has its place behind others and will start; an end without a start is possible. */
  "git.operation.queued": Durable<"git.operation.queued", GitOperationQueued>;
  /** An operation on the repository started. */
  "git.operation.started": Durable<"git.operation.started", GitOperationStarted>;
  /** How far an operation is; at most about one a second. */
  "git.operation.progress": Durable<"git.operation.progress", GitOperationProgress>;
  /** An operation did what was asked. */
  "git.operation.completed": Durable<"git.operation.completed", GitOperationCompleted>;
  /** An operation failed; the code and the message say what to do. */
  "git.operation.failed": Durable<"git.operation.failed", GitOperationFailed>;
  /** Somebody cancelled an operation, and it ended. */
  "git.operation.cancelled": Durable<"git.operation.cancelled", GitOperationCancelled>;
  /** What is changed in the working tree is different. */
  "git.status.changed": Durable<"git.status.changed", GitStatusChanged>;
  /** Another commit or branch is checked out. */
  "git.head.changed": Durable<"git.head.changed", GitHeadChanged>;
  /** A directory became a project. */
  "project.registered": Durable<"project.registered", ProjectRegistered>;
  /** Somebody became a member, or another kind of member. */
  "project.member_set": Durable<"project.member_set", ProjectMemberSet>;
  /** Somebody is no member any more. */
  "project.member_removed": Durable<"project.member_removed", ProjectMemberRemoved>;
  /** Nothing can be started in the project any more. */
  "project.removed": Durable<"project.removed", ProjectRemoved>;
  /** How a session of the project is: a copy of its starts and ends, for the project's board. */
  "session.summary": Durable<"session.summary", SessionSummary>;
  /** How a terminal of the project is: a copy of its start and its end, for the project's board. */
  "shell.summary": Durable<"shell.summary", ShellSummary>;
  /** How a run of a workflow of the project is: a copy whenever its status changes, for the project's board. */
  "workflow.run.summary": Durable<"workflow.run.summary", WorkflowRunSummary>;
  /** A session started. */
  "session.started": Durable<"session.started", SessionStarted>;
  /** The program printed, or the server says something of it. */
  "session.stream_output": Durable<"session.stream_output", SessionStreamOutput>;
  /** A message to the program was accepted. */
  "session.user_message": Durable<"session.user_message", SessionUserMessage>;
  /** A message waits until the agent is free. */
  "session.message_queued": Durable<"session.message_queued", SessionMessageQueued>;
  /** A message waits no more: it was passed on, or taken back. */
  "session.message_dequeued": Durable<"session.message_dequeued", SessionMessageDequeued>;
  /** The program was stopped and keeps its place. */
  "session.paused": Durable<"session.paused", SessionPaused>;
  /** The program goes on. */
  "session.resumed": Durable<"session.resumed", SessionResumed>;
  /** The program runs in a terminal, which can be watched now. */
  "session.terminal_opened": Durable<"session.terminal_opened", SessionTerminalOpened>;
  /** The program runs; every 5 seconds. */
  "session.heartbeat": Ephemeral<"session.heartbeat", SessionHeartbeat>;
  /** The program exited by itself. */
  "session.completed": Durable<"session.completed", SessionCompleted>;
  /** The session ended by a failure, a limit or a stop. */
  "session.error": Durable<"session.error", SessionError>;
  /** Somebody cancelled the session, and it ended. */
  "session.cancelled": Durable<"session.cancelled", SessionCancelled>;
  /** The agent told who it is. */
  "session.agent_started": Durable<"session.agent_started", SessionAgentStarted>;
  /** A piece of a message that is being made. */
  "session.text_delta": Ephemeral<"session.text_delta", SessionTextDelta>;
  /** A piece of a thought that is being made. */
  "session.thinking_delta": Ephemeral<"session.thinking_delta", SessionThinkingDelta>;
  /** Blocks of a message, whole. */
  "session.message": Durable<"session.message", SessionMessage>;
  /** A tool was called. */
  "session.tool_started": Durable<"session.tool_started", SessionToolStarted>;
  /** A tool call ended. */
  "session.tool_completed": Durable<"session.tool_completed", SessionToolCompleted>;
  /** An agent of the agent began. */
  "session.subagent_started": Durable<"session.subagent_started", SessionSubagentStarted>;
  /** An agent of the agent ended. */
  "session.subagent_completed": Durable<"session.subagent_completed", SessionSubagentCompleted>;
  /** The agent waits for a person. */
  "session.permission_requested": Durable<"session.permission_requested", SessionPermissionRequested>;
  /** A permission request was answered or withdrawn. */
  "session.permission_resolved": Durable<"session.permission_resolved", SessionPermissionResolved>;
  /** The plan, and how much of it is done. */
  "session.progress": Durable<"session.progress", SessionProgress>;
  /** What a turn used. */
  "session.usage": Durable<"session.usage", SessionUsage>;
  /** The agent has answered what it was asked. */
  "session.turn_completed": Durable<"session.turn_completed", SessionTurnCompleted>;
  /** Something that the adapter does not know. */
  "session.raw": Durable<"session.raw", SessionRaw>;
  /** The agent asks a person, and waits. */
  "session.question_requested": Durable<"session.question_requested", SessionQuestionRequested>;
  /** A question was answered, declined or withdrawn. */
  "session.question_resolved": Durable<"session.question_resolved", SessionQuestionResolved>;
  /** A terminal was opened. */
  "shell.opened": Durable<"shell.opened", ShellOpened>;
  /** The program wrote to its terminal. */
  "shell.output": Durable<"shell.output", ShellOutput>;
  /** The terminal has another size, and the program knows. */
  "shell.resized": Durable<"shell.resized", ShellResized>;
  /** The program exited, by itself or because it was told to. */
  "shell.exit": Durable<"shell.exit", ShellExit>;
  /** The terminal ended by a failure or a stop of the server. */
  "shell.error": Durable<"shell.error", ShellError>;
  /** Something waits for this person. A copy, made by the handler of that which waits. */
  "user.attention_requested": Durable<"user.attention_requested", UserAttentionRequested>;
  /** It waits no more: somebody answered, or it was withdrawn. A copy, as the request. */
  "user.attention_resolved": Durable<"user.attention_resolved", UserAttentionResolved>;
  /** Something to tell a person. */
  "user.notice": Durable<"user.notice", UserNotice>;
  /** A run started: its graph. A start of the server goes on with what is open: only the server says so. */
  "workflow.run.started": Durable<"workflow.run.started", WorkflowRunStarted>;
  /** The status of a run changed, or how much of it is done. */
  "workflow.run.updated": Durable<"workflow.run.updated", WorkflowRunUpdated>;
  /** Every step ended, and none failed. */
  "workflow.run.completed": Durable<"workflow.run.completed", WorkflowRunCompleted>;
  /** Every step ended, and some failed. */
  "workflow.run.failed": Durable<"workflow.run.failed", WorkflowRunFailed>;
  /** Somebody cancelled the run, and all its steps ended. */
  "workflow.run.cancelled": Durable<"workflow.run.cancelled", WorkflowRunCancelled>;
  /** An attempt of a step started. */
  "workflow.run.step.started": Durable<"workflow.run.step.started", WorkflowRunStepStarted>;
  /** The session in which a step works. */
  "workflow.run.step.session": Durable<"workflow.run.step.session", WorkflowRunStepSession>;
  /** The program of a step printed. */
  "workflow.run.step.output": Durable<"workflow.run.step.output", WorkflowRunStepOutput>;
  /** How much of a step is done. */
  "workflow.run.step.progress": Durable<"workflow.run.step.progress", WorkflowRunStepProgress>;
  /** A step waits for a person. */
  "workflow.run.step.waiting": Durable<"workflow.run.step.waiting", WorkflowRunStepWaiting>;
  /** A step did what it was to do. */
  "workflow.run.step.completed": Durable<"workflow.run.step.completed", WorkflowRunStepCompleted>;
  /** An attempt of a step failed: the end of the step, unless it is tried again. */
  "workflow.run.step.failed": Durable<"workflow.run.step.failed", WorkflowRunStepFailed>;
  /** A step is not run. */
  "workflow.run.step.skipped": Durable<"workflow.run.step.skipped", WorkflowRunStepSkipped>;
  /** A step was ended, or not begun, with its run. */
  "workflow.run.step.cancelled": Durable<"workflow.run.step.cancelled", WorkflowRunStepCancelled>;
}

/** What the server says on a connection, by its types. */
export interface Notices {
  /** First on every connection: who it is, what it may, and how much. */
  "server.hello": Notice<"server.hello", ServerHello>;
  /** A channel's state as of exactly `seq`, in place of all that was known of it. */
  "channel.snapshot": Notice<"channel.snapshot", ChannelSnapshot>;
  /** These numbers will not come on this subscription. */
  "channel.gap": Notice<"channel.gap", ChannelGap>;
  /** The numbering is another one; live goes on after `seq`. */
  "channel.reset": Notice<"channel.reset", ChannelReset>;
  /** Where the subscription stands. */
  "channel.position": Notice<"channel.position", ChannelPosition>;
  /** The server ended the subscription. */
  "channel.closed": Notice<"channel.closed", ChannelClosed>;
  /** The token ends soon: send `auth.refresh`. */
  "auth.expiring": Notice<"auth.expiring", AuthExpiring>;
  /** The server is stopping. */
  "server.draining": Notice<"server.draining", ServerDraining>;
  /** Last on a connection that the server ends. */
  "connection.closed": Notice<"connection.closed", ConnectionClosed>;
}

const KNOWN: ReadonlySet<string> = new Set<keyof Messages | keyof Notices>([
  "fs.changed",
  "fs.rescan",
  "git.operation.queued",
  "git.operation.started",
  "git.operation.progress",
  "git.operation.completed",
  "git.operation.failed",
  "git.operation.cancelled",
  "git.status.changed",
  "git.head.changed",
  "project.registered",
  "project.member_set",
  "project.member_removed",
  "project.removed",
  "session.summary",
  "shell.summary",
  "workflow.run.summary",
  "session.started",
  "session.stream_output",
  "session.user_message",
  "session.message_queued",
  "session.message_dequeued",
  "session.paused",
  "session.resumed",
  "session.terminal_opened",
  "session.heartbeat",
  "session.completed",
  "session.error",
  "session.cancelled",
  "session.agent_started",
  "session.text_delta",
  "session.thinking_delta",
  "session.message",
  "session.tool_started",
  "session.tool_completed",
  "session.subagent_started",
  "session.subagent_completed",
  "session.permission_requested",
  "session.permission_resolved",
  "session.progress",
  "session.usage",
  "session.turn_completed",
  "session.raw",
  "session.question_requested",
  "session.question_resolved",
  "shell.opened",
  "shell.output",
  "shell.resized",
  "shell.exit",
  "shell.error",
  "user.attention_requested",
  "user.attention_resolved",
  "user.notice",
  "workflow.run.started",
  "workflow.run.updated",
  "workflow.run.completed",
  "workflow.run.failed",
  "workflow.run.cancelled",
  "workflow.run.step.started",
  "workflow.run.step.session",
  "workflow.run.step.output",
  "workflow.run.step.progress",
  "workflow.run.step.waiting",
  "workflow.run.step.completed",
  "workflow.run.step.failed",
  "workflow.run.step.skipped",
  "workflow.run.step.cancelled",
  "server.hello",
  "channel.snapshot",
  "channel.gap",
  "channel.reset",
  "channel.position",
  "channel.closed",
  "auth.expiring",
  "server.draining",
  "connection.closed",
]);

/** The kinds of channels: the names, the messages and the snapshot of each. */
export interface Channels {
  "project:{projectId}": {
    name: `project:${string}`;
    message: Messages["fs.changed" | "fs.rescan" | "git.operation.queued" | "git.operation.started" | "git.operation.progress" | "git.operation.completed" | "git.operation.failed" | "git.operation.cancelled" | "git.status.changed" | "git.head.changed" | "project.registered" | "project.member_set" | "project.member_removed" | "project.removed" | "session.summary" | "shell.summary" | "workflow.run.summary"];
    snapshot: ProjectState;
  };
  "session:{sessionId}": {
    name: `session:${string}`;
    message: Messages["session.started" | "session.stream_output" | "session.user_message" | "session.message_queued" | "session.message_dequeued" | "session.paused" | "session.resumed" | "session.terminal_opened" | "session.heartbeat" | "session.completed" | "session.error" | "session.cancelled" | "session.agent_started" | "session.text_delta" | "session.thinking_delta" | "session.message" | "session.tool_started" | "session.tool_completed" | "session.subagent_started" | "session.subagent_completed" | "session.permission_requested" | "session.permission_resolved" | "session.progress" | "session.usage" | "session.turn_completed" | "session.raw" | "session.question_requested" | "session.question_resolved"];
    snapshot: SessionState;
  };
  "shell:terminal:{terminalId}": {
    name: `shell:terminal:${string}`;
    message: Messages["shell.opened" | "shell.output" | "shell.resized" | "shell.exit" | "shell.error"];
    snapshot: ShellState;
  };
  "user:{userId}": {
    name: `user:${string}`;
    message: Messages["user.attention_requested" | "user.attention_resolved" | "user.notice"];
    snapshot: UserState;
  };
  "workflow:run:{runId}": {
    name: `workflow:run:${string}`;
    message: Messages["workflow.run.started" | "workflow.run.updated" | "workflow.run.completed" | "workflow.run.failed" | "workflow.run.cancelled" | "workflow.run.step.started" | "workflow.run.step.session" | "workflow.run.step.output" | "workflow.run.step.progress" | "workflow.run.step.waiting" | "workflow.run.step.completed" | "workflow.run.step.failed" | "workflow.run.step.skipped" | "workflow.run.step.cancelled"];
    snapshot: RunState;
  };
}

/** The data of what is told in each kind of channel, by the types: `Schema["session:{sessionId}"]["session.completed"]`. */
export interface Schema {
  "project:{projectId}": {
    "fs.changed": FsChanged;
    "fs.rescan": FsRescan;
    "git.operation.queued": GitOperationQueued;
    "git.operation.started": GitOperationStarted;
    "git.operation.progress": GitOperationProgress;
    "git.operation.completed": GitOperationCompleted;
    "git.operation.failed": GitOperationFailed;
    "git.operation.cancelled": GitOperationCancelled;
    "git.status.changed": GitStatusChanged;
    "git.head.changed": GitHeadChanged;
    "project.registered": ProjectRegistered;
    "project.member_set": ProjectMemberSet;
    "project.member_removed": ProjectMemberRemoved;
    "project.removed": ProjectRemoved;
    "session.summary": SessionSummary;
    "shell.summary": ShellSummary;
    "workflow.run.summary": WorkflowRunSummary;
  };
  "session:{sessionId}": {
    "session.started": SessionStarted;
    "session.stream_output": SessionStreamOutput;
    "session.user_message": SessionUserMessage;
    "session.message_queued": SessionMessageQueued;
    "session.message_dequeued": SessionMessageDequeued;
    "session.paused": SessionPaused;
    "session.resumed": SessionResumed;
    "session.terminal_opened": SessionTerminalOpened;
    "session.heartbeat": SessionHeartbeat;
    "session.completed": SessionCompleted;
    "session.error": SessionError;
    "session.cancelled": SessionCancelled;
    "session.agent_started": SessionAgentStarted;
    "session.text_delta": SessionTextDelta;
    "session.thinking_delta": SessionThinkingDelta;
    "session.message": SessionMessage;
    "session.tool_started": SessionToolStarted;
    "session.tool_completed": SessionToolCompleted;
    "session.subagent_started": SessionSubagentStarted;
    "session.subagent_completed": SessionSubagentCompleted;
    "session.permission_requested": SessionPermissionRequested;
    "session.permission_resolved": SessionPermissionResolved;
    "session.progress": SessionProgress;
    "session.usage": SessionUsage;
    "session.turn_completed": SessionTurnCompleted;
    "session.raw": SessionRaw;
    "session.question_requested": SessionQuestionRequested;
    "session.question_resolved": SessionQuestionResolved;
  };
  "shell:terminal:{terminalId}": {
    "shell.opened": ShellOpened;
    "shell.output": ShellOutput;
    "shell.resized": ShellResized;
    "shell.exit": ShellExit;
    "shell.error": ShellError;
  };
  "user:{userId}": {
    "user.attention_requested": UserAttentionRequested;
    "user.attention_resolved": UserAttentionResolved;
    "user.notice": UserNotice;
  };
  "workflow:run:{runId}": {
    "workflow.run.started": WorkflowRunStarted;
    "workflow.run.updated": WorkflowRunUpdated;
    "workflow.run.completed": WorkflowRunCompleted;
    "workflow.run.failed": WorkflowRunFailed;
    "workflow.run.cancelled": WorkflowRunCancelled;
    "workflow.run.step.started": WorkflowRunStepStarted;
    "workflow.run.step.session": WorkflowRunStepSession;
    "workflow.run.step.output": WorkflowRunStepOutput;
    "workflow.run.step.progress": WorkflowRunStepProgress;
    "workflow.run.step.waiting": WorkflowRunStepWaiting;
    "workflow.run.step.completed": WorkflowRunStepCompleted;
    "workflow.run.step.failed": WorkflowRunStepFailed;
    "workflow.run.step.skipped": WorkflowRunStepSkipped;
    "workflow.run.step.cancelled": WorkflowRunStepCancelled;
  };
}

const KINDS: { readonly [K in keyof Channels]: ReadonlySet<string> } = {
  "project:{projectId}": new Set(["fs.changed", "fs.rescan", "git.operation.queued", "git.operation.started", "git.operation.progress", "git.operation.completed", "git.operation.failed", "git.operation.cancelled", "git.status.changed", "git.head.changed", "project.registered", "project.member_set", "project.member_removed", "project.removed", "session.summary", "shell.summary", "workflow.run.summary"]),
  "session:{sessionId}": new Set(["session.started", "session.stream_output", "session.user_message", "session.message_queued", "session.message_dequeued", "session.paused", "session.resumed", "session.terminal_opened", "session.heartbeat", "session.completed", "session.error", "session.cancelled", "session.agent_started", "session.text_delta", "session.thinking_delta", "session.message", "session.tool_started", "session.tool_completed", "session.subagent_started", "session.subagent_completed", "session.permission_requested", "session.permission_resolved", "session.progress", "session.usage", "session.turn_completed", "session.raw", "session.question_requested", "session.question_resolved"]),
  "shell:terminal:{terminalId}": new Set(["shell.opened", "shell.output", "shell.resized", "shell.exit", "shell.error"]),
  "user:{userId}": new Set(["user.attention_requested", "user.attention_resolved", "user.notice"]),
  "workflow:run:{runId}": new Set(["workflow.run.started", "workflow.run.updated", "workflow.run.completed", "workflow.run.failed", "workflow.run.cancelled", "workflow.run.step.started", "workflow.run.step.session", "workflow.run.step.output", "workflow.run.step.progress", "workflow.run.step.waiting", "workflow.run.step.completed", "workflow.run.step.failed", "workflow.run.step.skipped", "workflow.run.step.cancelled"]),
};

/** The commands: the input and the answer of each. */
export interface Commands {
  /** Lists the agents that the caller may start, and what each can. */
  "agent.list": { input: AgentListInput; answer: AgentListAnswer };
  /** Reads a file of a project, or a part of it. */
  "fs.read": { input: FsReadInput; answer: FsReadAnswer };
  /** Lists a folder of a project. */
  "fs.list": { input: FsListInput; answer: FsListAnswer };
  /** Tells changes of a project's files and repository for as long as somebody subscribes to it. */
  "fs.watch": { input: FsWatchInput; answer: FsWatchAnswer };
  /** How the repository is, and what is changed in it. */
  "git.status": { input: GitStatusInput; answer: GitStatusAnswer };
  /** What differs, as numbers and as a patch. */
  "git.diff": { input: GitDiffInput; answer: GitDiffAnswer };
  /** Commits, newest first. */
  "git.log": { input: GitLogInput; answer: GitLogAnswer };
  /** A commit, and what it changed. */
  "git.show": { input: GitShowInput; answer: GitShowAnswer };
  /** Branches, local and remote. */
  "git.branches": { input: GitBranchesInput; answer: GitBranchesAnswer };
  /** The working trees of the repository. */
  "git.worktrees": { input: GitWorktreesInput; answer: GitWorktreesAnswer };
  /** Stages paths. */
  "git.add": { input: GitAddInput; answer: GitAddAnswer };
  /** Takes paths out of what is staged. */
  "git.unstage": { input: GitUnstageInput; answer: GitUnstageAnswer };
  /** Commits what is staged. */
  "git.commit": { input: GitCommitInput; answer: GitCommitAnswer };
  /** Checks a branch out, or makes one. */
  "git.checkout": { input: GitCheckoutInput; answer: GitCheckoutAnswer };
  /** Puts changes aside, or brings them back. */
  "git.stash": { input: GitStashInput; answer: GitStashAnswer };
  /** Makes a further working tree, in .worktrees. */
  "git.worktree_add": { input: GitWorktreeAddInput; answer: GitWorktreeAddAnswer };
  /** Removes a working tree. */
  "git.worktree_remove": { input: GitWorktreeRemoveInput; answer: GitWorktreeRemoveAnswer };
  /** Fills the empty directory of a project from a remote. */
  "git.clone": { input: GitCloneInput; answer: GitCloneAnswer };
  /** Brings a remote's commits. */
  "git.fetch": { input: GitFetchInput; answer: GitFetchAnswer };
  /** Fetches, and brings the branch up to date. */
  "git.pull": { input: GitPullInput; answer: GitPullAnswer };
  /** Gives a remote the commits of a branch. */
  "git.push": { input: GitPushInput; answer: GitPushAnswer };
  /** Merges, or goes on with a merge, or takes it back. */
  "git.merge": { input: GitMergeInput; answer: GitMergeAnswer };
  /** Rebases, or goes on with a rebase, or takes it back. */
  "git.rebase": { input: GitRebaseInput; answer: GitRebaseAnswer };
  /** Ends an operation that runs, or takes one away that waits. */
  "git.cancel": { input: GitCancelInput; answer: GitCancelAnswer };
  /** Takes lock files away that nobody holds any more. */
  "git.unlock": { input: GitUnlockInput; answer: GitUnlockAnswer };
  /** Makes a project of an existing directory. */
  "project.register": { input: ProjectRegisterInput; answer: ProjectRegisterAnswer };
  /** Lists the projects that the caller may see, newest first. */
  "project.list": { input: ProjectListInput; answer: ProjectListAnswer };
  /** Shows a project: its directory, its members, its board. */
  "project.get": { input: ProjectGetInput; answer: ProjectGetAnswer };
  /** Ends a project and its memberships; its directory is not touched. */
  "project.remove": { input: ProjectRemoveInput; answer: ProjectRemoveAnswer };
  /** Makes somebody a member of a project, or another kind of member. */
  "project.set_member": { input: ProjectSetMemberInput; answer: ProjectSetMemberAnswer };
  /** Ends somebody's membership of a project. */
  "project.remove_member": { input: ProjectRemoveMemberInput; answer: ProjectRemoveMemberAnswer };
  /** Starts an agent, or with the right to execute a free command line, in a project. */
  "session.start": { input: SessionStartInput; answer: SessionStartAnswer };
  /** Passes a message to the program; to a busy agent when it is free. */
  "session.send_message": { input: SessionSendMessageInput; answer: SessionSendMessageAnswer };
  /** Ends the program: TERM (HUP in a terminal), and after a grace KILL. The session ends once it is gone. */
  "session.cancel": { input: SessionCancelInput; answer: SessionCancelAnswer };
  /** Takes a message back that waits for a busy agent. */
  "session.cancel_message": { input: SessionCancelMessageInput; answer: SessionCancelMessageAnswer };
  /** Answers a permission request of the agent. The first answer counts. */
  "session.resolve_permission": { input: SessionResolvePermissionInput; answer: SessionResolvePermissionAnswer };
  /** Answers questions of the agent, or declines to. The first answer counts. */
  "session.answer_question": { input: SessionAnswerQuestionInput; answer: SessionAnswerQuestionAnswer };
  /** Stops the turn of the agent, which stays. */
  "session.interrupt": { input: SessionInterruptInput; answer: SessionInterruptAnswer };
  /** Makes all processes of the program stand still; time goes on. */
  "session.pause": { input: SessionPauseInput; answer: SessionPauseAnswer };
  /** Lets the processes of the program go on. */
  "session.resume": { input: SessionResumeInput; answer: SessionResumeAnswer };
  /** Lists the sessions that the caller may see, newest first. */
  "session.list": { input: SessionListInput; answer: SessionListAnswer };
  /** The state of a session, as its channel's snapshot has it. */
  "session.get": { input: SessionGetInput; answer: SessionGetAnswer };
  /** What the program printed, as plain text: the newest 8 MiB that are kept. */
  "session.output": { input: SessionOutputInput; answer: string };
  /** Opens a terminal in a project: its shell, or a program. */
  "shell.open": { input: ShellOpenInput; answer: ShellOpenAnswer };
  /** Types into the terminal. Numbered inputs are taken once, in their order. */
  "shell.input": { input: ShellInputInput; answer: ShellInputAnswer };
  /** Makes the terminal another size. The last one wins. */
  "shell.resize": { input: ShellResizeInput; answer: ShellResizeAnswer };
  /** Closes the terminal: its program hangs up, and after a grace is killed, with all that it started in it. */
  "shell.close": { input: ShellCloseInput; answer: ShellCloseAnswer };
  /** Lists the terminals that the caller may see, newest first. */
  "shell.list": { input: ShellListInput; answer: ShellListAnswer };
  /** The state of a terminal with its screen, as its channel's snapshot has it. */
  "shell.get": { input: ShellGetInput; answer: ShellGetAnswer };
  /** Starts a run of a workflow in a project. One with commands needs the right to execute, too. */
  "workflow.run.start": { input: WorkflowRunStartInput; answer: WorkflowRunStartAnswer };
  /** Ends the steps of a run: TERM, and after a grace KILL. The run ends once they are gone. */
  "workflow.run.cancel": { input: WorkflowRunCancelInput; answer: WorkflowRunCancelAnswer };
  /** Starts a run that repeats an ended one: whole, or from a step, with what else completed kept. */
  "workflow.run.rerun": { input: WorkflowRunRerunInput; answer: WorkflowRunRerunAnswer };
  /** Answers a step that waits for a person. The first answer counts. */
  "workflow.run.approve": { input: WorkflowRunApproveInput; answer: WorkflowRunApproveAnswer };
  /** Says what is wrong with a definition, with the lines, or what a run of it would be. Nothing runs. */
  "workflow.validate": { input: WorkflowValidateInput; answer: WorkflowValidateAnswer };
  /** Lists the runs that the caller may see, newest first. */
  "workflow.run.list": { input: WorkflowRunListInput; answer: WorkflowRunListAnswer };
  /** The state of a run, as its channel's snapshot has it. */
  "workflow.run.get": { input: WorkflowRunGetInput; answer: WorkflowRunGetAnswer };
  /** What an attempt of a step printed, as plain text: the newest 8 MiB that are kept. */
  "workflow.run.output": { input: WorkflowRunOutputInput; answer: string };
}

/** The commands that only read. They have no memory of a `commandId`. */
export type Reads = "agent.list" | "fs.read" | "fs.list" | "git.status" | "git.diff" | "git.log" | "git.show" | "git.branches" | "git.worktrees" | "project.list" | "project.get" | "session.list" | "session.get" | "session.output" | "shell.list" | "shell.get" | "workflow.validate" | "workflow.run.list" | "workflow.run.get" | "workflow.run.output";

/** What a connection may ask for beside commands: the argument and the acknowledgement of each. */
export interface Requests {
  /** Follows a channel, or several. The answer comes before the subscription's messages. */
  "subscribe": { argument: SubscribeArgument; answer: SubscribeAcknowledgement | Refused };
  /** Follows it no more: nothing of the channel comes after the answer. */
  "unsubscribe": { argument: UnsubscribeArgument; answer: UnsubscribeAcknowledgement | Refused };
  /** Publishes an event. */
  "publish": { argument: PublishArgument; answer: PublishAcknowledgement | Refused };
  /** Goes on with a new token. Subscriptions that it does not allow end. */
  "auth.refresh": { argument: AuthRefreshArgument; answer: AuthRefreshAcknowledgement | Refused };
}

/** A message of a channel, of a known type. */
export type Message = Messages[keyof Messages];
/** A known word of the server on a connection. */
export type AnyNotice = Notices[keyof Notices];
/**
 * Whatever comes as the Socket.IO event `message`. It narrows by `type`, although types that are not known
 * here may come: `switch (message.type) { case "session.completed": message.data.exitCode … }`.
 */
export type AnyMessage = Message | AnyNotice | UnknownMessage;

/** A known durable message. */
export type DurableMessage = Extract<Message, { seq: number }>;

/** Whether a message is of a known type. */
export function isKnown(message: AnyMessage): message is Message | AnyNotice {
  return KNOWN.has(String(message.type));
}

/** Whether a message has a number, and so a place to go on from. */
export function isDurable(message: AnyMessage): message is DurableMessage | (UnknownMessage & { seq: number }) {
  return message.seq !== undefined;
}

/** The names of channels whose kind is known. */
export type ChannelName = Channels[keyof Channels]["name"];
/** The kind of a channel, by its name: `ChannelOf<"session:1">["snapshot"]`. */
export type ChannelOf<N extends string> = {
  [K in keyof Channels]: N extends Channels[K]["name"] ? Channels[K] : never;
}[keyof Channels];

/** A known message of a kind of channel, by its name: `switch` over its `type`. */
export type MessageOf<N extends string> = ChannelOf<N>["message"];

/**
 * Whether a message is a known one of this kind of channel: `isOf("session:{sessionId}", message)`. A `switch` over
 * its `type` then has the events of that kind, and no others.
 */
export function isOf<K extends keyof Channels>(kind: K, message: AnyMessage): message is Channels[K]["message"] {
  return KINDS[kind].has(String(message.type)) && String(message.channel).split(":")[0] === kind.split(":")[0];
}

/** The state that a `channel.snapshot` of a channel holds, by the channel's name: `SnapshotOf<"session:1">`. */
export type SnapshotOf<N extends string> = ChannelOf<N>["snapshot"];

/**
 * Whether a message is the snapshot of this kind of channel: `isSnapshotOf("session:{sessionId}", message)`. Its
 * `data.snapshot` is the state of that kind then.
 */
export function isSnapshotOf<K extends keyof Channels>(
  kind: K,
  message: AnyMessage,
): message is Notices["channel.snapshot"] & { data: { snapshot: Channels[K]["snapshot"] } } {
  return message.type === "channel.snapshot" && message.data.channel.split(":")[0] === kind.split(":")[0];
}

/** The answer to a command, as Socket.IO acknowledges it. */
export type Acknowledged<C extends keyof Commands> =
  | { ok: true; data: Commands[C]["answer"]; repeated?: undefined }
  | Refused;
/** The same of one with a `commandId`: it may be a repeat whose answer is not kept, unless it only reads. */
export type AcknowledgedOnce<C extends keyof Commands> =
  | Acknowledged<C>
  | (C extends Reads ? never : { ok: true; data?: undefined } & Repeated);

/** What a socket hears: `const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io(url, …)`. */
export interface ServerToClientEvents {
  message: (message: AnyMessage) => void;
}

/** How a command is asked: whether with a `commandId` or without one, and without an input where none is needed. */
export type Asking<C extends keyof Commands> = (
  ...asked:
    | [input: Commands[C]["input"], answer: (acknowledged: AcknowledgedOnce<C>) => void]
    | (Record<never, never> extends Commands[C]["input"] ? [answer: (acknowledged: AcknowledgedOnce<C>) => void] : never)
) => void;

/** What a socket may say, each with its acknowledgement: as `emit` and `emitWithAck` take it. */
export type ClientToServerEvents = { [C in keyof Commands]: Asking<C> } & {
  [R in keyof Requests]: (argument: Requests[R]["argument"], answer: (acknowledged: Requests[R]["answer"]) => void) => void;
};
