//! The listener: TCP connections in, each served by the router until it ends.
//!
//! Guarantees: connections are taken in at a bounded rate and in a bounded number, further ones wait
//! in the system's backlog, so that a crowd that comes back leaves the others their share; a connection
//! that sends no request within the time limit is dropped; a failed accept is waited out, never a
//! reason to stop.
//! It is not a transport: it knows no route.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{Router, extract::ConnectInfo};
use hyper::{Request, body::Incoming, server::conn::http1::Builder, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::{getsockopt_impl, libc, setsockopt_impl, sockopt_impl, sys::socket::setsockopt};
use tidings_core::{
    BoxFuture,
    runtime::{Clock, Tasks},
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tower::ServiceExt;

/// How long a connection may take for the head of a request.
const HEAD: Duration = Duration::from_secs(15);
/// How long a failed accept is waited out: mostly no file descriptor is left.
const PAUSE: Duration = Duration::from_millis(100);
/// How many connections wait in the system's backlog; it may allow fewer.
const BACKLOG: u32 = 4096;
/// How much may lie unsent in a socket before it takes no more, in bytes. Without it a slow client
/// has megabytes ahead of the next ping, and is taken for dead.
const NOT_SENT: u32 = 64 * 1024;
/// The least that a crowd waits: coming in by the dozen costs less for each than one by one.
const GRAIN: Duration = Duration::from_millis(20);
/// Connections that may come at once, as a part of a second's.
const BURST: f64 = 0.25;

sockopt_impl!(
    /// `TCP_NOTSENT_LOWAT`, see tcp(7).
    NotSentLowat, Both, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, u32
);

/// Listens at an address. What is accepted inherits the options set here.
///
/// # Errors
/// As the system says: the address is in use, or not this machine's.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    setsockopt(&listener, NotSentLowat, &NOT_SENT)?;
    Ok(listener)
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
    /// Connections a second; 0 means no limit.
    pub(crate) per_second: u32,
}

/// Accepts connections until `closed` resolves.
pub(crate) async fn accept(
    listener: TcpListener,
    routes: Routes,
    (tasks, clock): (Arc<dyn Tasks>, Arc<dyn Clock>),
    bounds: Bounds,
    mut closed: BoxFuture<'static, ()>,
) {
    let mut door = Door::new(&bounds, clock);
    loop {
        let accepted = tokio::select! {
            accepted = door.next(&listener) => accepted,
            () = &mut closed => return,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                let (routes, stopping) = (routes.clone(), tasks.stopping());
                tasks.spawn("http.connection", Box::pin(serve(stream, peer, routes, permit, stopping)));
            }
            Err(error) => {
                metrics::counter!("tidings_accept_failures_total").increment(1);
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

type Accepted = (TcpStream, SocketAddr, OwnedSemaphorePermit);

/// Lets connections in: no more than there is room for, and no faster than is fair.
struct Door {
    room: Arc<Semaphore>,
    per_second: f64,
    clock: Arc<dyn Clock>,
    /// When the next one is due if they come without a pause.
    due: Duration,
}

impl Door {
    fn new(bounds: &Bounds, clock: Arc<dyn Clock>) -> Self {
        let room = Arc::new(Semaphore::new(bounds.most.min(Semaphore::MAX_PERMITS)));
        Self { room, per_second: f64::from(bounds.per_second), due: clock.monotonic(), clock }
    }

    async fn next(&mut self, listener: &TcpListener) -> std::io::Result<Accepted> {
        let permit = self.room.clone().acquire_owned().await.map_err(std::io::Error::other)?;
        let pause = self.pause();
        if !pause.is_zero() {
            metrics::counter!("tidings_accept_paused_total").increment(1);
            tokio::time::sleep(pause.max(GRAIN)).await;
        }
        let (stream, peer) = listener.accept().await?;
        self.passed();
        Ok((stream, peer, permit))
    }

    /// How long the next one has to wait.
    fn pause(&self) -> Duration {
        self.due.saturating_sub(self.clock.monotonic() + Duration::from_secs_f64(BURST))
    }

    fn passed(&mut self) {
        if self.per_second > 0.0 {
            self.due = self.due.max(self.clock.monotonic()) + Duration::from_secs_f64(1.0 / self.per_second);
        }
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    routes: Routes,
    permit: OwnedSemaphorePermit,
    stopping: BoxFuture<'static, ()>,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        routes.now().oneshot(request)
    });
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection ended with an error");
    }
    drop(permit);
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::getsockopt;
    use tidings_testkit::TestClock;

    use super::*;

    #[tokio::test]
    async fn what_is_accepted_takes_little_ahead_of_its_client_and_does_not_wait_to_send() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        assert_eq!(getsockopt(&accepted, NotSentLowat).unwrap(), NOT_SENT);
        assert!(accepted.nodelay().unwrap());
        assert_eq!(getsockopt(&client, NotSentLowat).unwrap(), 0, "else nothing is shown");
    }

    #[tokio::test]
    async fn a_crowd_comes_in_at_the_rate_and_whoever_comes_later_does_not_wait_for_it() {
        let clock = TestClock::new();
        let mut door = Door::new(&Bounds { most: 10, per_second: 100 }, clock.clone());
        let burst = (0..1000).take_while(|_| {
            let passes = door.pause().is_zero();
            door.passed();
            passes
        });
        assert_eq!(burst.count(), 26, "a quarter of a second's, and the one that begins it");
        assert!(!door.pause().is_zero());
        clock.advance(Duration::from_secs(10));
        assert!(door.pause().is_zero());
        let mut open = Door::new(&Bounds { most: 10, per_second: 0 }, clock);
        for _ in 0..10_000 {
            open.passed();
        }
        assert!(open.pause().is_zero(), "without a limit nobody waits");
    }
}
