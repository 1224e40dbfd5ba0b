//! The bus over a log in memory: what emitters and listeners may rely on.
//!
//! Guarantees: the engine under test is the real one; only the log and the clock are the tests'.

mod emitting;
mod listening;

use std::sync::Arc;

use parking_lot::Mutex;
use tidings_core::{BoxFuture, Error, Message, Result, bus::Listener};
use tidings_testkit::PATIENCE;
use tokio::sync::{Semaphore, watch};

use crate::house::number;

/// What a listener does with what it hears, besides writing it down.
#[derive(Clone, Copy, PartialEq)]
enum Temper {
    /// Returns a ready future.
    Sync,
    /// Yields before it is done.
    Async,
    /// Fails each time.
    Fails,
    /// Panics before it makes a future.
    Panics,
    /// Panics inside its future.
    PanicsLater,
}

/// A listener that writes down what it hears, once the test lets it.
struct Witness {
    temper: Temper,
    heard: Mutex<Vec<Arc<Message>>>,
    count: watch::Sender<usize>,
    leave: Semaphore,
}

impl Witness {
    fn of(temper: Temper) -> Arc<Self> {
        let leave = Semaphore::new(Semaphore::MAX_PERMITS);
        Arc::new(Self { temper, heard: Mutex::default(), count: watch::Sender::new(0), leave })
    }

    /// One that hears nothing until [`Witness::go_on`].
    fn stalled() -> Arc<Self> {
        let leave = Semaphore::new(0);
        let (heard, count) = (Mutex::default(), watch::Sender::new(0));
        Arc::new(Self { temper: Temper::Async, heard, count, leave })
    }

    fn go_on(&self, messages: usize) {
        self.leave.add_permits(messages);
    }

    fn write_down(&self, message: Arc<Message>) {
        self.heard.lock().push(message);
        self.count.send_modify(|count| *count += 1);
    }

    /// The numbers heard, once there are so many.
    async fn until(&self, many: usize) -> Vec<u64> {
        let mut count = self.count.subscribe();
        let waiting = tokio::time::timeout(PATIENCE, count.wait_for(|count| *count >= many)).await;
        assert!(waiting.is_ok(), "heard only {:?} of {many}", self.numbers().len());
        self.numbers()
    }

    fn numbers(&self) -> Vec<u64> {
        self.heard.lock().iter().map(|message| number(message)).collect()
    }

    fn messages(&self) -> Vec<Arc<Message>> {
        self.heard.lock().clone()
    }
}

impl Listener for Witness {
    fn name(&self) -> &str {
        "test.witness"
    }

    fn hear(&self, message: Arc<Message>) -> BoxFuture<'_, Result<()>> {
        match self.temper {
            Temper::Sync => {
                self.write_down(message);
                Box::pin(std::future::ready(Ok(())))
            }
            Temper::Async => Box::pin(async {
                self.leave.acquire().await.expect("never closed").forget();
                tokio::task::yield_now().await;
                self.write_down(message);
                Ok(())
            }),
            Temper::Fails => {
                self.write_down(message);
                Box::pin(std::future::ready(Err(Error::unavailable("it never works"))))
            }
            Temper::Panics => {
                self.write_down(message);
                panic!("a listener of a test")
            }
            Temper::PanicsLater => {
                self.write_down(message);
                Box::pin(async { panic!("a listener of a test, later") })
            }
        }
    }
}
