//! The delivery probe: a message of the server's own that goes the whole way, log, hub and outlet.
//!
//! Guarantees: green means that a durable message for each of the fan-out's workers was committed, fanned out
//! and written just now, and that the log was read.
//! It is not a benchmark, and no client can subscribe to its channel.

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tidings_core::{
    BoxFuture, Channel, Error, Event, Principal, Result,
    log::Publication,
    outlet::{Ending, Offered, Outlet, Said},
    parcel::Parcel,
};
use tokio::sync::watch;

use super::{Connection, Hub, SubscribeRequest};

/// How long a probe may take.
const PATIENCE: Duration = Duration::from_secs(2);
const NAMESPACE: &str = "server";
const NAME: &str = "probe-";

/// The probe's own subscriptions: one for each worker.
pub(super) struct Probe {
    ways: Vec<Way>,
    turn: Mutex<u64>,
}

/// The way through one worker.
struct Way {
    channel: Channel,
    connection: Arc<Connection>,
    /// The newest number that came through.
    seen: watch::Receiver<u64>,
}

/// Where a worker's messages of the probe arrive: it keeps the newest number.
struct Ear(watch::Sender<u64>);

/// The worker that a channel of the probe belongs to; none for every other channel.
pub(super) fn worker_of(channel: &Channel, workers: usize) -> Option<usize> {
    if channel.namespace() != NAMESPACE {
        return None;
    }
    channel.id().strip_prefix(NAME)?.parse().ok().filter(|worker| *worker < workers)
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("probe")
    }
}

#[derive(serde::Deserialize)]
struct Beat {
    #[serde(default)]
    turn: u64,
}

impl Outlet for Ear {
    fn say(&self, _said: &[Said]) -> Offered {
        Offered::All
    }
    fn deliver(&self, parcel: &Parcel) -> Offered {
        let newest =
            parcel.messages().last().and_then(|message| serde_json::from_str::<Beat>(message.payload.json()).ok());
        if let Some(beat) = newest {
            self.0.send_replace(beat.turn);
        }
        Offered::All
    }
    fn room(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
    fn close(&self, _ending: &Ending) {}
}

impl Hub {
    /// Publishes a probe and waits for its delivery: how long that took.
    ///
    /// # Errors
    /// `unavailable` when the log refuses it, or when it is not there within two seconds.
    pub async fn probe(self: &Arc<Self>) -> Result<Duration> {
        let started = self.clock.monotonic();
        match tokio::time::timeout(PATIENCE, self.probe_now()).await {
            Ok(done) => done.map(|()| self.clock.monotonic().saturating_sub(started)),
            Err(_) => Err(Error::unavailable("a probe was not delivered within 2 seconds")),
        }
    }

    async fn probe_now(self: &Arc<Self>) -> Result<()> {
        let probe = self.probe_there()?;
        for way in probe.ways.iter().filter(|way| !way.connection.subscribes_to(&way.channel)) {
            way.connection.subscribe(vec![Ok(SubscribeRequest::plain(way.channel.clone()))], |_| None).await;
        }
        let turn = {
            let mut turn = probe.turn.lock();
            *turn += 1;
            *turn
        };
        let publication = |way: &Way| {
            let event = Event::new("server.probe", serde_json::json!({ "turn": turn }));
            Publication { channel: way.channel.clone(), event, durable: true, opens: None }
        };
        let publications: Vec<Publication> = probe.ways.iter().map(publication).collect();
        self.log.reserve(256 * publications.len()).await?.send(publications).await?;
        for way in &probe.ways {
            let mut seen = way.seen.clone();
            seen.wait_for(|newest| *newest >= turn).await.map_err(|_| Error::unavailable("the probe is gone"))?;
            self.log.facts(&way.channel).await?;
        }
        Ok(())
    }

    /// The probe; another one if there is none yet, or one of its connections was ended.
    fn probe_there(self: &Arc<Self>) -> Result<Arc<Probe>> {
        let mut probe = self.probe.lock();
        if let Some(known) = probe.as_ref().filter(|known| known.ways.iter().all(|way| !way.connection.is_closed())) {
            return Ok(known.clone());
        }
        let way = |worker: usize| {
            let channel = format!("{NAMESPACE}:{NAME}{worker}").parse()?;
            let (ear, seen) = watch::channel(0);
            // Each its own: how many subscriptions a connection may have is configured.
            let connection = self.connect_inside(Principal::server(), Arc::new(Ear(ear)));
            Ok(Way { channel, connection, seen })
        };
        let ways = (0..self.workers.count()).map(way).collect::<Result<Vec<Way>>>()?;
        Ok(probe.insert(Arc::new(Probe { ways, turn: Mutex::new(0) })).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_probes_own_channels_belong_to_a_worker_by_their_name() {
        let of = |name: &str| worker_of(&name.parse().expect("a channel"), 2);
        assert_eq!([of("server:probe-0"), of("server:probe-1")], [Some(0), Some(1)]);
        assert_eq!([of("server:probe-2"), of("server:probe"), of("session:probe-1")], [None; 3]);
    }
}
