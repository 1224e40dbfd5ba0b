//! A handler: what a domain says about its events, channels and commands.
//!
//! Guarantees asked of every handler: it owns its namespaces alone; `route` is pure, waits for
//! nothing and names channels from what is in the event only.
//! It is not a service: it holds no state and does no work.

use std::{fmt, sync::Arc};

use smol_str::SmolStr;

use crate::{
    BoxFuture, Channel, Error, Event, Payload, Result, UserId, command::Command, contract::EventRow, log::Opens,
    projection::Projection,
};

/// A message of its own that an event makes in a further channel.
#[derive(Debug, Clone)]
pub struct Copy {
    /// Where.
    pub channel: Channel,
    /// Its type.
    pub event_type: &'static str,
    /// Its data.
    pub payload: Payload,
}

/// Where an event goes.
#[derive(Debug, Clone)]
pub struct Route {
    /// The home channel.
    pub home: Channel,
    /// Facts of the home channel, if this event opens it.
    pub opens: Option<Opens>,
    /// Messages in further channels.
    pub copies: Vec<Copy>,
}

impl Route {
    /// To one channel.
    #[must_use]
    pub fn to(home: Channel) -> Self {
        Self { home, opens: None, copies: Vec::new() }
    }

    /// To the channel that `field` of an event's data names, which the event's own must agree with.
    ///
    /// # Errors
    /// `invalid_data` where it does not.
    pub fn named_by(field: &str, event: &Event, home: Channel) -> Result<Self> {
        match &event.channel {
            Some(named) if *named != home => {
                Err(Error::invalid_field("channel", format!("is not the one that {field} names")))
            }
            _ => Ok(Self::to(home)),
        }
    }

    /// With the facts of the channel that the event opens. A producer outside may name a project only if it may say
    /// in that project's channel what it says here.
    #[must_use]
    pub fn opening(mut self, owner: Option<UserId>, project: Option<SmolStr>) -> Self {
        self.opens = Some(Opens { owner, project });
        self
    }

    /// With a message in a further channel.
    #[must_use]
    pub fn copy(mut self, channel: Channel, event_type: &'static str, payload: Payload) -> Self {
        self.copies.push(Copy { channel, event_type, payload });
        self
    }
}

/// Who a channel belongs to, as far as its name alone tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The user whose channel it is.
    pub owner: Option<UserId>,
    /// The project whose channel it is.
    pub project: Option<SmolStr>,
}

/// How much of a channel is kept. Zero means without limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// At most so many messages.
    pub messages: u64,
    /// At most so many bytes of data.
    pub bytes: u64,
    /// No longer than so many milliseconds.
    pub age_ms: u64,
}

/// Whether this server runs or ran the thing that an event tells of, where only the server says such an event then.
pub enum Hosted {
    /// No, or producers may say that also of what this server runs.
    No,
    /// Yes.
    Yes,
    /// The state of the thing says it.
    Ask(BoxFuture<'static, Result<bool>>),
}

impl fmt::Debug for Hosted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::No => "Hosted::No",
            Self::Yes => "Hosted::Yes",
            Self::Ask(_) => "Hosted::Ask",
        })
    }
}

/// A domain as the rest of the house sees it.
pub trait Handler: Send + Sync {
    /// The domain: the first segment of its event types.
    fn domain(&self) -> &'static str;

    /// The channel namespaces that it owns: first segments.
    fn namespaces(&self) -> &'static [&'static str];

    /// The forms of its channels' names, one for each namespace, such as `session:{sessionId}`.
    fn channels(&self) -> Vec<String> {
        self.namespaces().iter().map(|namespace| format!("{namespace}:{{id}}")).collect()
    }

    /// The event types that it knows. Others of its domain pass as their producer's own.
    fn events(&self) -> Vec<EventRow>;

    /// Whether those are all: it routes no others.
    fn is_strict(&self) -> bool {
        false
    }

    /// Where an event of its domain goes.
    ///
    /// # Errors
    /// `invalid_data` when the data does not name the channel, or another one than
    /// [`Event::channel`] does; `invalid_event` for a type that is not its own.
    fn route(&self, event: &Event) -> Result<Route>;

    /// Whether a producer outside may say what is in the data of an event of its domain, beside the right to say
    /// such an event at all. Everything by default.
    ///
    /// # Errors
    /// `invalid_data` with the field that only the server says.
    fn admit(&self, _event: &Event) -> Result<()> {
        Ok(())
    }

    /// Whether an event of one of its rows, which a producer outside sent and which goes to `home`, is of a thing that
    /// this server runs: nobody else says how that goes, what was decided and how it ended. A handler lists what
    /// producers may say all the same; what is not on the list, they may not. By default the server runs nothing.
    fn hosted(&self, _event: &Event, _home: &Channel) -> Hosted {
        Hosted::No
    }

    /// The channel of a thing of this domain.
    fn channel(&self, id: &str) -> Option<Channel>;

    /// Who a channel of its namespaces belongs to, as far as the name tells.
    fn standing(&self, _channel: &Channel) -> Standing {
        Standing::default()
    }

    /// The commands of the domain.
    fn commands(&self) -> Vec<Command> {
        Vec::new()
    }

    /// The projection of its channels, if it has one.
    fn projection(&self) -> Option<Arc<dyn Projection>> {
        None
    }

    /// How much of its channels is kept, unless the configuration says otherwise.
    fn retention(&self) -> Retention;
}
