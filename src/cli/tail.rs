//! `tidings tail`: follows channels and prints their messages.
//!
//! Guarantees: every durable message once and in order, through lost connections and server restarts;
//! what is missing is told on standard error. A reader that stops holds the server back, nothing is piled up.
//! It is not a history: `GET /api/channels/{channel}/events` is.

use std::fmt;

use clap::Args;
use tidings_client::{Follow, Follower, Item, Message, Position, Start, http};
use tidings_core::{Action, Channel, Grant, Pattern};

use super::{
    Surroundings,
    emit::{parse_channel, refusal},
    output::{Failure, Outcome, harmless, note, one_line, say},
    reach::{Reach, TokenSource},
};

/// What to follow.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The channels, such as session:123
    #[arg(required = true, value_name = "CHANNEL", value_parser = parse_channel)]
    channels: Vec<Channel>,
    /// Begin after this position; 0 is the beginning of what is kept
    #[arg(long, value_name = "SEQ[@EPOCH]", conflicts_with = "last")]
    since: Option<Since>,
    /// Begin with the newest so many messages
    #[arg(long, value_name = "N")]
    last: Option<u64>,
    /// Print each message as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    token: TokenSource,
}

/// A position as it is written: `42` or `42@EPOCH`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Since {
    seq: u64,
    epoch: Option<String>,
}

impl std::str::FromStr for Since {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (seq, epoch) = text.split_once('@').map_or((text, None), |(seq, epoch)| (seq, Some(epoch)));
        let seq = seq.parse().map_err(|_| "a position is a number, or NUMBER@EPOCH".to_owned())?;
        if epoch == Some("") {
            Err("the epoch after @ is missing".to_owned())
        } else {
            Ok(Self { seq, epoch: epoch.map(str::to_owned) })
        }
    }
}

pub(super) async fn run(options: Options, surroundings: &Surroundings) -> Outcome {
    let grant = |channel: &Channel| Grant { pattern: Pattern::from(channel), actions: vec![Action::Subscribe] };
    let grants = || Ok(options.channels.iter().map(grant).collect());
    let reach = Reach::find(surroundings, &options.token, grants).await?;
    let mut follows = Vec::new();
    for channel in &options.channels {
        follows.push(Follow::new(channel.as_str(), start(&options, &reach, channel).await?));
    }
    let mut follower = Follower::new(&reach.url, reach.auth(), follows).map_err(Failure::other)?;
    let outcome = tokio::select! {
        outcome = follow(&mut follower, options.json) => outcome,
        // Being told to end is no failure.
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Failure::other),
    };
    follower.close().await;
    outcome
}

async fn start(options: &Options, reach: &Reach, channel: &Channel) -> Result<Start, Failure> {
    Ok(match (&options.since, options.last) {
        (Some(Since { seq: 0, .. }), _) => Start::Oldest,
        (Some(Since { seq, epoch: Some(epoch) }), _) => Start::Since(Position { epoch: epoch.clone(), seq: *seq }),
        (Some(Since { seq, epoch: None }), _) => {
            Start::Since(Position { epoch: current_epoch(reach, channel).await?, seq: *seq })
        }
        (None, Some(count)) => Start::Last(count),
        (None, None) => Start::Now,
    })
}

/// The epoch of the channel's numbering now: what a number without one means.
async fn current_epoch(reach: &Reach, channel: &Channel) -> Result<String, Failure> {
    let path = format!("/api/channels/{channel}/events?limit=1");
    let response = http::get(&reach.url, &path, Some(&reach.token()?)).await.map_err(Failure::other)?;
    if response.status != 200 {
        return Err(refusal(&response));
    }
    let epoch = response.json().get("epoch").and_then(|epoch| epoch.as_str()).map(str::to_owned);
    epoch.ok_or_else(|| Failure::other("the server's answer was not understood"))
}

async fn follow(follower: &mut Follower, json: bool) -> Outcome {
    let mut connected = false;
    let mut refused = false;
    while let Some(item) = follower.next().await.map_err(|ended| Failure::other(harmless(&ended.to_string())))? {
        match item {
            Item::Message(message) if json => say(one_line(message.json.get()))?,
            Item::Message(message) => say(Line(&message))?,
            Item::Disconnected { why, .. } if !connected => return Err(Failure::Other(why)),
            Item::Disconnected { why, retry_in_ms } => {
                note(format_args!("{}; trying again in {} s", harmless(&why), retry_in_ms.div_ceil(1000)));
            }
            Item::Connected if connected => note("connected again"),
            Item::Connected => connected = true,
            Item::Closed { channel, code, message } => {
                refused = true;
                note(format_args!("{}: {} ({})", harmless(&channel), harmless(&message), harmless(&code)));
            }
            other => tell(&other),
        }
    }
    if refused { Err(Failure::other("no channel is followed any more")) } else { Ok(()) }
}

/// What happened to a channel beside its messages.
fn tell(item: &Item) {
    match item {
        Item::Gap { channel, from, to, reason } => {
            note(format_args!("{channel}: messages {from} to {to} are missing ({})", harmless(reason)));
        }
        Item::Reset { channel, position, reason } => note(format_args!(
            "{channel}: the numbering was replaced ({}); it goes on after #{} @{}",
            harmless(reason),
            position.seq,
            harmless(&position.epoch)
        )),
        Item::Snapshot { channel, position, reason, .. } => {
            note(format_args!("{channel}: its state as of #{} ({})", position.seq, harmless(reason)));
        }
        Item::Absent { channel } => {
            note(format_args!("{}: nothing was ever published there; waiting for the first message", harmless(channel)))
        }
        Item::Message(_) | Item::Live { .. } | Item::Closed { .. } | Item::Connected | Item::Disconnected { .. } => {}
    }
}

/// A message as people read it: time, channel, number, type, data.
struct Line<'a>(&'a Message);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Message { channel, event_type, seq, time, .. } = self.0;
        write!(f, "{} {} ", harmless(time), harmless(channel))?;
        match seq {
            Some(seq) => write!(f, "#{seq}")?,
            None => f.write_str("~")?,
        }
        write!(f, " {} {}", harmless(event_type), harmless(self.0.data()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_has_an_epoch_or_none() {
        assert_eq!("42".parse(), Ok(Since { seq: 42, epoch: None }));
        assert_eq!("42@e1".parse(), Ok(Since { seq: 42, epoch: Some("e1".to_owned()) }));
        for bad in ["", "@e", "x", "1@", "-1"] {
            assert!(bad.parse::<Since>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_message_is_one_line() {
        let json = "{\"type\":\"session.raw\",\"data\":{\"a\":\n\"\u{9b}2J\"}}";
        let message = Message {
            channel: "session:1".to_owned(),
            event_type: "session.raw".to_owned(),
            seq: Some(7),
            epoch: Some("e".to_owned()),
            time: "2026-11-20T20:31:29.123Z".to_owned(),
            json: serde_json::value::RawValue::from_string(json.to_owned()).expect("JSON"),
        };
        let line = "2026-11-20T20:31:29.123Z session:1 #7 session.raw {\"a\": \"\\u{9b}2J\"}";
        assert_eq!(Line(&message).to_string(), line);
        assert_eq!(one_line(json).lines().count(), 1);
    }
}
