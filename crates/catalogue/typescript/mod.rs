//! The catalogue as TypeScript: a type for everything, and the union of messages that narrows by `type`.
//!
//! Guarantees: it compiles under `strict` and needs nothing; a message of a type that it does not know is a
//! member of the union and takes nothing from the narrowing of the others.
//! It connects to nothing: that is for whoever uses it.

mod schema;

use serde_json::Value;

pub(crate) use self::schema::type_of;
use self::schema::{comment, key};
use crate::vocabulary::{Kind, Told, Vocabulary};

const HEAD: &str = r#"/** What every message has. */
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
"#;

const TAIL: &str = r#"
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
"#;

/// The names of types that are written here, and so are none of the vocabulary's.
pub(crate) const OWN: [&str; 28] = [
    "Acknowledged",
    "AcknowledgedOnce",
    "AnyMessage",
    "AnyNotice",
    "Asking",
    "ChannelName",
    "ChannelOf",
    "Channels",
    "ClientToServerEvents",
    "Commands",
    "Durable",
    "DurableMessage",
    "Envelope",
    "Ephemeral",
    "Message",
    "MessageOf",
    "Messages",
    "Notice",
    "Notices",
    "Reads",
    "Record",
    "Requests",
    "Schema",
    "ServerToClientEvents",
    "SnapshotOf",
    "UnknownMessage",
    "UnknownType",
    "Extract",
];

/// The whole file.
pub(crate) fn document(vocabulary: &Vocabulary) -> String {
    let mut text = format!(
        "// The types of everything that goes over the wire of Tidings {}.\n// Made from the server's own types by `tidings schema`: change those.\n\n{HEAD}",
        vocabulary.version
    );
    // A message is an envelope here, whose data has a type.
    for (name, schema) in vocabulary.definitions.iter().filter(|(name, _)| *name != "Message") {
        text += "\n";
        text += &comment(schema.get("description").and_then(Value::as_str).unwrap_or_default(), 0);
        let of = type_of(schema, 0);
        // An interface is shown by its name where a type is shown by its fields.
        text += &if of.starts_with("{\n") && of.find("\n}") == Some(of.len() - 2) {
            format!("export interface {name} {of}\n")
        } else {
            format!("export type {name} = {of};\n")
        };
    }
    text + &messages(vocabulary)
        + &notices(vocabulary)
        + &known(vocabulary)
        + &channels(vocabulary)
        + &schema(vocabulary)
        + &asked(vocabulary)
        + TAIL
}

fn events(vocabulary: &Vocabulary) -> impl Iterator<Item = &Told> {
    vocabulary.kinds.iter().flat_map(|kind| &kind.events)
}

fn messages(vocabulary: &Vocabulary) -> String {
    let mut text = "\n/** The messages of channels, by their types. */\nexport interface Messages {\n".to_owned();
    for Told { row, data } in events(vocabulary) {
        let form = if row.durable { "Durable" } else { "Ephemeral" };
        text += &comment(row.doc, 1);
        text += &format!("  \"{0}\": {form}<\"{0}\", {data}>;\n", row.event_type);
    }
    text + "}\n"
}

fn notices(vocabulary: &Vocabulary) -> String {
    let mut text =
        "\n/** What the server says on a connection, by its types. */\nexport interface Notices {\n".to_owned();
    for notice in &vocabulary.notices {
        text += &comment(&notice.doc, 1);
        text += &format!("  \"{0}\": Notice<\"{0}\", {1}>;\n", notice.event_type, notice.data);
    }
    text + "}\n"
}

fn known(vocabulary: &Vocabulary) -> String {
    let types = events(vocabulary).map(|told| told.row.event_type.to_owned());
    let types = types.chain(vocabulary.notices.iter().map(|notice| notice.event_type.clone()));
    let lines: String = types.map(|name| format!("  \"{name}\",\n")).collect();
    format!("\nconst KNOWN: ReadonlySet<string> = new Set<keyof Messages | keyof Notices>([\n{lines}]);\n")
}

fn channels(vocabulary: &Vocabulary) -> String {
    let mut text = "\n/** The kinds of channels: the names, the messages and the snapshot of each. */\nexport interface Channels {\n".to_owned();
    for Kind { template, snapshot, events } in &vocabulary.kinds {
        let types: Vec<String> = events.iter().map(|told| format!("\"{}\"", told.row.event_type)).collect();
        let message = if types.is_empty() { "never".to_owned() } else { format!("Messages[{}]", types.join(" | ")) };
        let snapshot = snapshot.as_ref().map_or_else(|| "never".to_owned(), |schema| type_of(schema, 2));
        text += &format!(
            "  {}: {{\n    name: `{}`;\n    message: {message};\n    snapshot: {snapshot};\n  }};\n",
            key(template),
            pattern(template)
        );
    }
    text + "}\n"
}

/// What each kind of channel tells: the data by the types, and the types again for whoever asks at run time.
fn schema(vocabulary: &Vocabulary) -> String {
    let mut data = "\n/** The data of what is told in each kind of channel, by the types: `Schema[\"session:{sessionId}\"][\"session.completed\"]`. */\nexport interface Schema {\n".to_owned();
    let mut kinds = "\nconst KINDS: { readonly [K in keyof Channels]: ReadonlySet<string> } = {\n".to_owned();
    for Kind { template, events, .. } in &vocabulary.kinds {
        let field = |told: &Told| format!("    \"{}\": {};\n", told.row.event_type, told.data);
        data += &format!("  {}: {{\n{}  }};\n", key(template), events.iter().map(field).collect::<String>());
        let types: Vec<String> = events.iter().map(|told| format!("\"{}\"", told.row.event_type)).collect();
        kinds += &format!("  {}: new Set([{}]),\n", key(template), types.join(", "));
    }
    format!("{data}}}\n{kinds}}};\n")
}

/// `session:{sessionId}` as the template literal of its names.
fn pattern(template: &str) -> String {
    let open = |segment: &str| if segment.starts_with('{') { "${string}".to_owned() } else { segment.to_owned() };
    template.split(':').map(open).collect::<Vec<_>>().join(":")
}

fn asked(vocabulary: &Vocabulary) -> String {
    let mut text = "\n/** The commands: the input and the answer of each. */\nexport interface Commands {\n".to_owned();
    for asked in &vocabulary.commands {
        text += &comment(asked.command.doc, 1);
        let answer = asked.answer.as_deref().unwrap_or("string");
        text += &format!("  \"{}\": {{ input: {}; answer: {answer} }};\n", asked.command.name, asked.input);
    }
    let reads = vocabulary.commands.iter().filter(|asked| asked.command.reads);
    let reads: Vec<String> = reads.map(|asked| format!("\"{}\"", asked.command.name)).collect();
    let reads = if reads.is_empty() { "never".to_owned() } else { reads.join(" | ") };
    text += &format!(
        "}}\n\n/** The commands that only read. They have no memory of a `commandId`. */\nexport type Reads = {reads};\n"
    );
    text += "\n/** What a connection may ask for beside commands: the argument and the acknowledgement of each. */\nexport interface Requests {\n";
    for request in &vocabulary.requests {
        text += &comment(request.row.doc, 1);
        text += &format!(
            "  \"{}\": {{ argument: {}; answer: {} | Refused }};\n",
            request.row.name, request.argument, request.answer
        );
    }
    text + "}\n"
}
