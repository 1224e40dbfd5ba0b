//! The listener: TCP connections in, each served by the router until it ends.
//!
//! Guarantees: connections are taken in in a bounded number, and a few in each round of the runtime, so that
//! a crowd that comes back leaves the others their share; while those suffer all the same, at a rate (see
//! [`pace`]). Where there is no room for a further one, a connection that waits for a request makes it (see
//! [`waiting`]), else it waits here and in the system's backlog; a connection that sends no request within the time
//! limit is dropped, and so is one whose client does not finish a body (see [`bodies`]) or read an answer; a failed
//! accept is waited out, never a
//! reason to stop.
//! It is not a transport: it knows no route.

mod arrivals;
mod bodies;
mod pace;
mod waiting;

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{Router, extract::ConnectInfo};
use hyper::{Request, body::Incoming, header, server::conn::http1::Builder, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Socket, Type};
use tidings_core::{
    BoxFuture, fault,
    runtime::{Clock, Tasks},
};
use tidings_transports::{patience::Patiences, stream::ClientStream};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc::Receiver, watch},
};
use tower::ServiceExt;

use self::{
    arrivals::{Arrivals, Arrived},
    pace::{GRAIN, Pace},
    waiting::{Answered, Waiting},
};

/// How long a connection may take for the head of a request.
const HEAD: Duration = Duration::from_secs(15);
/// The most bytes of a head, and of what is read or written ahead for a connection: a token has 16 KiB.
const BUFFER: usize = 64 * 1024;
/// How long a connection has for what it is at once the server stops and everything else has ended.
const LAST: Duration = Duration::from_millis(500);
/// How often it is looked for a connection that makes room for one that came.
const LOOK: Duration = Duration::from_millis(50);
/// How many connections wait in the system's backlog; it may allow fewer.
const BACKLOG: i32 = 4096;
/// How much may lie unsent in a socket before it takes no more, in bytes. Without it a slow client
/// has megabytes ahead of the next ping, and is taken for dead.
const NOT_SENT: u32 = 64 * 1024;

/// Listens at an address. What is accepted inherits the options set here.
///
/// # Errors
/// As the system says: the address is in use, or not this machine's.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_tcp_notsent_lowat(NOT_SENT)?;
    Ok(socket.into())
}

/// The routes of this moment: few while the server starts, all once it has.
#[derive(Clone)]
pub(crate) struct Routes(Arc<(Router, OnceLock<Router>)>);

impl Routes {
    /// These, until there are all.
    pub(crate) fn starting(router: Router) -> Self {
        Self(Arc::new((router, OnceLock::new())))
    }

    /// These from now on, also on connections that are open. Once.
    pub(crate) fn open(&self, router: Router) {
        self.0.1.get_or_init(|| router);
    }

    fn now(&self) -> Router {
        self.0.1.get().unwrap_or(&self.0.0).clone()
    }
}

/// What bounds the taking in.
pub(crate) struct Bounds {
    /// Connections that are open at once.
    pub(crate) most: usize,
    /// Connections a second while others suffer for them; 0 means that nobody is held back.
    pub(crate) per_second: u32,
    /// What a client has of time.
    pub(crate) patience: Patiences,
}

/// Where connections come in. It stays while the task that serves them is made again.
pub(crate) struct Acceptor {
    arrivals: Arrivals,
    /// Those that came and are not let in yet.
    arrived: tokio::sync::Mutex<Receiver<Arrived>>,
    routes: Routes,
    tasks: Arc<dyn Tasks>,
    clock: Arc<dyn Clock>,
    room: Arc<Semaphore>,
    waiting: Arc<Waiting>,
    per_second: u32,
    patience: Patiences,
    closed: watch::Sender<bool>,
}

impl Acceptor {
    /// Accepts connections at a listener until it is closed.
    ///
    /// # Errors
    /// When the thread that takes them from the system cannot be made.
    pub(crate) fn open(
        listener: TcpListener,
        routes: Routes,
        (tasks, clock): (Arc<dyn Tasks>, Arc<dyn Clock>),
        bounds: &Bounds,
    ) -> std::io::Result<Arc<Self>> {
        let waiting = Waiting::new(clock.clone());
        let to_make_room = waiting.clone();
        let (arrivals, arrived) = Arrivals::begin(listener, move || to_make_room.make_room_for_anybody())?;
        let arrived = tokio::sync::Mutex::new(arrived);
        let room = Arc::new(Semaphore::new(bounds.most.min(Semaphore::MAX_PERMITS)));
        let (per_second, patience, closed) = (bounds.per_second, bounds.patience, watch::Sender::new(false));
        let acceptor =
            Arc::new(Self { arrivals, arrived, routes, tasks, clock, room, waiting, per_second, patience, closed });
        let own = acceptor.clone();
        let make = move |_| -> BoxFuture<'static, ()> { Box::pin(own.clone().accept()) };
        acceptor.tasks.supervise("http.accept", Box::new(make));
        Ok(acceptor)
    }

    /// Accepts no more: whoever comes from now on is refused by the system.
    pub(crate) fn close(&self) {
        self.arrivals.close();
        self.closed.send_replace(true);
    }

    async fn accept(self: Arc<Self>) {
        let (mut closed, mut arrived) = (self.closed.subscribe(), self.arrived.lock().await);
        let mut door = Door::new((self.room.clone(), self.waiting.clone()), self.per_second, self.clock.clone());
        loop {
            let admitted = tokio::select! {
                admitted = door.next(&mut arrived) => admitted,
                // The sender lives as long as this value.
                _ = closed.wait_for(|closed| *closed) => return,
            };
            fault::here("http.accept");
            // Nobody comes any longer: it is closed.
            let Some((stream, peer, permit)) = admitted else { return };
            match TcpStream::from_std(stream) {
                Ok(stream) => {
                    let (routes, stopping) = (self.routes.clone(), self.tasks.stopping());
                    let client = Client { stream, peer, waiting: self.waiting.clone(), patience: self.patience };
                    let serving = serve(client, routes, permit, stopping);
                    self.tasks.spawn("http.connection", Box::pin(serving));
                }
                Err(error) => arrivals::failed(&error),
            }
        }
    }
}

type Admitted = (std::net::TcpStream, SocketAddr, OwnedSemaphorePermit);

/// Lets connections in: no more than there is room for, and no faster than is fair.
struct Door {
    room: Arc<Semaphore>,
    waiting: Arc<Waiting>,
    clock: Arc<dyn Clock>,
    pace: Pace,
    /// How many may go in before the next round.
    admitted: usize,
}

impl Door {
    fn new((room, waiting): (Arc<Semaphore>, Arc<Waiting>), per_second: u32, clock: Arc<dyn Clock>) -> Self {
        Self { room, waiting, clock, pace: Pace::new(per_second), admitted: 0 }
    }

    /// The next that goes in; none if nobody comes any longer.
    async fn next(&mut self, arrived: &mut Receiver<Arrived>) -> Option<Admitted> {
        let (stream, peer) = arrived.recv().await?;
        let permit = self.permit(peer.ip()).await?;
        while self.admitted == 0 {
            self.round().await;
        }
        self.admitted -= 1;
        Some((stream, peer, permit))
    }

    /// Room for a newcomer of this address: what is free, else what a connection without a request leaves.
    async fn permit(&self, address: IpAddr) -> Option<OwnedSemaphorePermit> {
        let mut permit = self.room.clone().try_acquire_owned();
        while permit.is_err() {
            self.waiting.make_room(address);
            // One that was ended is gone in a moment; where there was none, one may wait by then.
            let freed = tokio::time::timeout(LOOK, self.room.clone().acquire_owned()).await;
            let Ok(freed) = freed else { continue };
            permit = Ok(freed.ok()?);
        }
        permit.ok()
    }

    /// Lets everybody else have a turn, and judges by how long that takes who may come in.
    async fn round(&mut self) {
        let mut start = self.clock.monotonic();
        if self.pace.holds(start) {
            metrics::counter!("tidings_accept_paused_total").increment(1);
            tokio::time::sleep(GRAIN).await;
            start = self.clock.monotonic();
        }
        tokio::task::yield_now().await;
        let now = self.clock.monotonic();
        self.pace.saw(now.saturating_sub(start), now);
        self.admitted = self.pace.admit(now);
    }
}

/// Who is served.
struct Client {
    stream: TcpStream,
    peer: SocketAddr,
    waiting: Arc<Waiting>,
    patience: Patiences,
}

async fn serve(client: Client, routes: Routes, permit: OwnedSemaphorePermit, stopping: BoxFuture<'static, ()>) {
    let Client { stream, peer, waiting, patience } = client;
    let caller = waiting.enter(peer.ip());
    let own = caller.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let asking = own.asks();
        request.extensions_mut().insert(ConnectInfo(peer));
        let asks = request.headers().contains_key(header::EXPECT);
        let (parts, body) = request.into_parts();
        let (body, unread) = bodies::watch(body, patience.body);
        let answer = routes.now().oneshot(Request::from_parts(parts, body));
        async move {
            let mut answer = answer.await?;
            unread.discard(asks, &mut answer).await;
            Ok::<_, Infallible>(answer.map(|body| Answered { body, _asking: asking }))
        }
    });
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(BUFFER);
    let stream = TokioIo::new(ClientStream::new(stream, patience.answer));
    let connection = builder.serve_connection(stream, service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = caller.sent_away() => return drop(permit),
        () = stopping => {
            connection.as_mut().graceful_shutdown();
            // Whoever sends a request by bytes, or does not read an answer, is not waited for.
            match tokio::time::timeout(LAST, connection).await {
                Ok(ended) => ended,
                Err(_) => return drop(permit),
            }
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection ended with an error");
    }
    drop(permit);
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, future::poll_fn, task::Poll};

    use socket2::SockRef;
    use tidings_testkit::TestClock;

    use super::*;

    fn listening() -> (TcpListener, SocketAddr) {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn what_is_accepted_takes_little_ahead_of_its_client_and_does_not_wait_to_send() {
        let (listener, address) = listening();
        let client = TcpStream::connect(address).await.unwrap();
        let (_arrivals, mut arrived) = Arrivals::begin(listener, || false).unwrap();
        let (accepted, peer) = arrived.recv().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        let accepted = TcpStream::from_std(accepted).unwrap();
        assert_eq!(SockRef::from(&accepted).tcp_notsent_lowat().unwrap(), NOT_SENT);
        assert!(accepted.nodelay().unwrap());
        assert_eq!(SockRef::from(&client).tcp_notsent_lowat().unwrap(), 0, "else nothing is shown");
    }

    #[tokio::test]
    async fn a_crowd_comes_in_in_its_order_and_no_more_than_there_is_room_for() {
        let (listener, address) = listening();
        let (_arrivals, mut arrived) = Arrivals::begin(listener, || false).unwrap();
        let clock = TestClock::new();
        let room = (Arc::new(Semaphore::new(30)), Waiting::new(clock.clone()));
        let mut door = Door::new(room, 100, clock);
        let mut crowd = Vec::new();
        for _ in 0..40 {
            crowd.push(TcpStream::connect(address).await.unwrap());
        }
        let mut inside = VecDeque::new();
        for client in &crowd[..30] {
            let (stream, peer, permit) = door.next(&mut arrived).await.unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
            inside.push_back((stream, permit));
        }
        let mut next = std::pin::pin!(door.next(&mut arrived));
        for _ in 0..100 {
            let early = poll_fn(|context| Poll::Ready(next.as_mut().poll(context).is_ready())).await;
            assert!(!early, "there is room for thirty");
            tokio::task::yield_now().await;
        }
        inside.pop_front();
        let (_, peer, _) = next.await.unwrap();
        assert_eq!(peer, crowd[30].local_addr().unwrap());
    }

    #[tokio::test]
    async fn once_it_is_closed_nobody_comes_any_more() {
        let (listener, address) = listening();
        let (arrivals, mut arrived) = Arrivals::begin(listener, || false).unwrap();
        drop(TcpStream::connect(address).await.unwrap());
        assert!(arrived.recv().await.is_some());
        arrivals.close();
        assert!(arrived.recv().await.is_none(), "the thread has ended");
        let refused = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }

    /// A clock on which every look is later by a step: so long does each round take.
    #[derive(Debug)]
    struct Slow(Arc<TestClock>, Duration);

    impl Clock for Slow {
        fn now(&self) -> tidings_core::Timestamp {
            self.0.now()
        }

        fn monotonic(&self) -> Duration {
            self.0.advance(self.1);
            self.0.monotonic()
        }
    }

    #[tokio::test]
    async fn a_crowd_is_held_back_while_rounds_are_long_and_only_then() {
        for (step, held) in [(Duration::from_millis(1), false), (Duration::from_millis(25), true)] {
            let (listener, address) = listening();
            let (_arrivals, mut arrived) = Arrivals::begin(listener, || false).unwrap();
            let mut door = Door::new(
                (Arc::new(Semaphore::new(10)), Waiting::new(TestClock::new())),
                100,
                Arc::new(Slow(TestClock::new(), step)),
            );
            let _client = TcpStream::connect(address).await.unwrap();
            drop(door.next(&mut arrived).await.unwrap());
            assert_eq!(door.pace.holds(door.clock.monotonic()), held);
        }
    }
}
