//! Connections that wait for a request, by address: those that were just made and those that are kept alive.
//!
//! Guarantees: where there is no room for a newcomer, one that waits makes it, as [`Places`] says: the one that has
//! waited longest of the address that has most of them, so that no address keeps the others out with connections that
//! ask for nothing. One with a request or an answer under way is never ended for it.
//! It is not the bound of connections, and knows no permit: see the door.

use std::{
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tidings_core::{
    places::{Place, Places},
    rate::network,
    runtime::Clock,
};
use tokio::sync::Notify;

/// How long a connection has for its first request before its own address may take its place.
const YOUNG: Duration = Duration::from_secs(2);

/// All that wait.
pub(super) struct Waiting {
    places: Mutex<Places<Arc<Notify>>>,
    clock: Arc<dyn Clock>,
}

impl Waiting {
    /// None yet.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { places: Mutex::new(Places::new(usize::MAX, YOUNG)), clock })
    }

    /// A connection of this address, which waits for its first request.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Arc<Caller> {
        let caller =
            Caller { all: self.clone(), address: network(address), place: Mutex::default(), sent_away: Arc::default() };
        caller.waits();
        Arc::new(caller)
    }

    /// Ends a connection that waits, for a newcomer of this address. Whether there was one.
    pub(super) fn make_room(&self, address: IpAddr) -> bool {
        let ended = self.places.lock().make_room(network(address), self.clock.monotonic());
        if let Some(ended) = &ended {
            metrics::counter!("tidings_waiting_connections_ended_total").increment(1);
            ended.notify_one();
        }
        ended.is_some()
    }

    /// The same for a newcomer that cannot even be looked at, since no file is left for it.
    pub(super) fn make_room_for_anybody(&self) -> bool {
        self.make_room(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}

/// A connection.
pub(super) struct Caller {
    all: Arc<Waiting>,
    address: IpAddr,
    /// Where it waits, if it does.
    place: Mutex<Option<Place>>,
    sent_away: Arc<Notify>,
}

impl Caller {
    fn waits(&self) {
        let now = self.all.clock.monotonic();
        let taken = self.all.places.lock().take(self.address, now, self.sent_away.clone());
        *self.place.lock() = taken.ok().map(|(place, _)| place);
    }

    fn waits_no_longer(&self) {
        if let Some(place) = self.place.lock().take() {
            self.all.places.lock().give_up(&place);
        }
    }

    /// A request of it came. It waits again once what is returned is dropped.
    pub(super) fn asks(self: &Arc<Self>) -> Asking {
        self.waits_no_longer();
        Asking(self.clone())
    }

    /// Resolves when it is to end, for another one.
    pub(super) async fn sent_away(&self) {
        self.sent_away.notified().await;
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.waits_no_longer();
    }
}

/// A request that is under way.
pub(super) struct Asking(Arc<Caller>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.waits();
    }
}

/// The body of an answer. The request is under way until all of it was taken to be sent.
pub(super) struct Answered<B> {
    pub(super) body: B,
    pub(super) _asking: Asking,
}

impl<B: Body + Unpin> Body for Answered<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tidings_testkit::TestClock;

    use super::*;

    fn at(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    /// Whether a connection was told to end.
    async fn is_over(caller: &Caller) -> bool {
        let mut told = std::pin::pin!(caller.sent_away());
        poll_fn(|context| Poll::Ready(told.as_mut().poll(context).is_ready())).await
    }

    #[tokio::test]
    async fn who_waits_longest_of_the_address_that_has_most_makes_room_and_who_asks_stays() {
        let (clock, other) = (TestClock::new(), at(9));
        let all = Waiting::new(clock);
        let [asks, asked, third, honest] = [1, 1, 1, 2].map(|address| all.enter(at(address)));
        let asking = asks.asks();
        drop(asked.asks());
        assert!(all.make_room(other), "two of one address");
        assert!(is_over(&third).await, "it has waited longest");
        assert!(!all.make_room(other), "one each, and both are young");
        drop(asking);
        assert!(all.make_room(other));
        assert!(is_over(&asked).await && !is_over(&asks).await && !is_over(&honest).await);
    }

    #[tokio::test]
    async fn of_its_own_address_only_those_that_have_waited_make_room() {
        let clock = TestClock::new();
        let all = Waiting::new(clock.clone());
        let one = all.enter(at(1));
        assert!(!all.make_room(at(1)));
        clock.advance(YOUNG);
        assert!(all.make_room(at(1)) && is_over(&one).await);
        drop(one);
        assert!(all.places.lock().is_empty());
    }

    #[test]
    fn a_connection_that_is_gone_waits_no_longer() {
        let all = Waiting::new(TestClock::new());
        let (one, two) = (all.enter(at(1)), all.enter(at(1)));
        let asking = two.asks();
        drop((one, two));
        assert!(all.places.lock().is_empty(), "the other asks");
        drop(asking);
        assert!(all.places.lock().is_empty() && !all.make_room_for_anybody());
    }
}
