//! Arrivals: a thread that takes connections from the system as they come.
//!
//! Guarantees: a crowd is taken in at once, whatever the runtime is busy with: the system's backlog holds a few
//! thousand, and whoever comes to a full one has to come again, a second later at the earliest. No more than
//! [`WAITING`] wait to be served; then the backlog fills. A failed accept is waited out, never a reason to stop; where no file is left, a connection that waits for a request is ended for the next.
//! It is not what lets them in: that is the door's, which sees what they cost.

use std::{
    io,
    net::SocketAddr,
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::{Errno, retry_on_intr},
    net::{Shutdown, SocketFlags, acceptfrom_with, shutdown},
};
use tidings_core::panics;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// How many that were taken from the backlog wait to be served.
const WAITING: usize = 4096;
/// How long a failed accept is waited out: mostly no file descriptor is left.
const PAUSE: Duration = Duration::from_millis(100);

/// How long those that follow are gathered, once there was nobody left to take: at a few thousand a second a thread
/// that woke for each would take an eighth of what a connection costs. Who comes first waits for nothing.
const GATHER: Duration = Duration::from_millis(1);
/// How long is waited for the file of a connection that was ended for another.
const MADE: Duration = Duration::from_millis(5);

/// A connection that nobody serves yet, and where it comes from.
pub(super) type Arrived = (std::net::TcpStream, SocketAddr);

/// Who stops the thread.
pub(super) struct Arrivals {
    listener: Arc<std::net::TcpListener>,
    closed: Arc<AtomicBool>,
}

impl Arrivals {
    /// Begins to take what comes to a listener.
    ///
    /// # Errors
    /// When the thread cannot be made.
    /// `make_room` is asked to end a connection when no file is left for another one; whether it did.
    pub(super) fn begin(
        listener: std::net::TcpListener,
        make_room: impl Fn() -> bool + Send + 'static,
    ) -> io::Result<(Self, Receiver<Arrived>)> {
        listener.set_nonblocking(true)?;
        let (sender, receiver) = channel(WAITING);
        let (listener, closed) = (Arc::new(listener), Arc::new(AtomicBool::new(false)));
        let (own, told) = (listener.clone(), closed.clone());
        thread::Builder::new()
            .name("tidings-accept".to_owned())
            .spawn(move || take(&own, &told, &sender, &make_room))?;
        Ok((Self { listener, closed }, receiver))
    }

    /// Takes no more: whoever comes from now on is refused by the system.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        // It wakes the thread, which a dropped listener would not.
        if let Err(error) = shutdown(&*self.listener, Shutdown::Both) {
            tracing::debug!(%error, "the listener was shut already");
        }
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.close();
    }
}

fn take(
    listener: &std::net::TcpListener,
    closed: &AtomicBool,
    arrived: &Sender<Arrived>,
    make_room: &impl Fn() -> bool,
) {
    while !closed.load(Ordering::SeqCst) {
        match panics::caught("http.arrivals", || accept(listener)) {
            Ok(Ok(one)) => {
                // Nobody serves any longer.
                if arrived.blocking_send(one).is_err() {
                    return;
                }
            }
            Ok(Err(_)) if closed.load(Ordering::SeqCst) => {}
            Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(GATHER);
                if let Err(error) = next(listener) {
                    failed(&error);
                    thread::sleep(PAUSE);
                }
            }
            Ok(Err(error)) => {
                failed(&error);
                let has_room = no_file_is_left(&error) && panics::caught("http.arrivals", make_room).unwrap_or(false);
                thread::sleep(if has_room { MADE } else { PAUSE });
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// Waits until somebody comes, or the listener is shut.
fn next(listener: &std::net::TcpListener) -> io::Result<()> {
    let mut comes = [PollFd::new(listener, PollFlags::IN)];
    retry_on_intr(|| poll(&mut comes, None))?;
    Ok(())
}

fn accept(listener: &std::net::TcpListener) -> io::Result<Arrived> {
    let (socket, peer) = acceptfrom_with(listener.as_fd(), SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let peer = peer.ok_or(io::ErrorKind::NotConnected)?;
    Ok((socket.into(), peer.try_into()?))
}

/// Whether the process or the system has no file descriptor left.
fn no_file_is_left(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::MFILE | Errno::NFILE))
}

/// Counts and tells a connection that could not be accepted.
pub(super) fn failed(error: &io::Error) {
    metrics::counter!("tidings_accept_failures_total").increment(1);
    tracing::warn!(%error, "a connection could not be accepted");
}
