//! The delivery probe: a message of the server's own that goes the whole way, log, hub and outlet.
//!
//! Guarantees: green means that a durable message was committed, fanned out and written just now.
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

use super::{Hub, SubscribeRequest};

/// How long a probe may take.
const PATIENCE: Duration = Duration::from_secs(2);
const CHANNEL: &str = "server:probe";

/// The probe's own subscription.
pub(super) struct Probe {
    seen: watch::Receiver<u64>,
    turn: Mutex<u64>,
}

/// Where the probe's messages arrive: it keeps the newest number.
struct Ear(watch::Sender<u64>);

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
        let channel: Channel = CHANNEL.parse()?;
        if self.probe.get().is_none() {
            let (ear, seen) = watch::channel(0);
            if self.probe.set(Probe { seen, turn: Mutex::new(0) }).is_ok() {
                let connection = self.connect_inside(Principal::server(), Arc::new(Ear(ear)));
                connection.subscribe(vec![Ok(SubscribeRequest::plain(channel.clone()))], |_| None).await;
            }
        }
        let probe = self.probe.get().ok_or_else(|| Error::unavailable("no probe"))?;
        let turn = {
            let mut turn = probe.turn.lock();
            *turn += 1;
            *turn
        };
        let event = Event::new("server.probe", serde_json::json!({ "turn": turn }));
        let publication = Publication { channel, event, durable: true, opens: None };
        self.log.reserve(256).await?.send(vec![publication]).await?;
        let mut seen = probe.seen.clone();
        seen.wait_for(|newest| *newest >= turn).await.map_err(|_| Error::unavailable("the probe is gone"))?;
        Ok(())
    }
}
