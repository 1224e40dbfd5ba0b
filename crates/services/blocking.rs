//! Work that blocks - looks at files, scans of the system's processes, starts of programs - off the threads
//! that deliver.
//!
//! Guarantees: at most so much of it at once, the rest waits in turn: a file system that hangs holds up what needs
//! it and nobody else; what panics is counted, and is an `internal` error of whoever asked.
//! It is the one place of the services that does so; only what no task runs, such as the start, blocks by itself.

use tidings_core::{Error, Result, fault, panics};
use tokio::{runtime::Handle, sync::Semaphore};

/// How much blocks at once.
const MOST: usize = 64;

static PLACES: Semaphore = Semaphore::const_new(MOST);

/// Does something that blocks.
///
/// # Errors
/// `internal` when it panicked, or when the runtime ends.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let place = PLACES.acquire().await.map_err(|_| Error::internal())?;
    let done = tokio::task::spawn_blocking(move || {
        let _held = place;
        panics::caught("services.blocking", || {
            fault::here("services.blocking");
            work()
        })
    });
    // It is not run any more only when the runtime ends, and then nobody hears of it.
    done.await.unwrap_or_else(|_| Err(Error::internal()))
}

/// The same for nobody who waits: right here, where there is no runtime any more.
pub(crate) fn blocking_unawaited(work: impl FnOnce() + Send + 'static) {
    match Handle::try_current() {
        // Whatever it fails with was told, if it is anybody's to know.
        Ok(runtime) => drop(runtime.spawn(async move { drop(blocking(work).await) })),
        Err(_) => work(),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use tidings_core::Code;

    use super::*;

    #[tokio::test]
    async fn what_blocks_is_on_another_thread_and_what_panics_is_an_error() {
        let here = thread::current().id();
        assert_ne!(blocking(|| thread::current().id()).await.expect("done"), here);
        let failed: Result<()> = blocking(|| panic!("of the test")).await;
        assert_eq!(failed.expect_err("it panicked").code(), Code::Internal);
    }

    #[tokio::test]
    async fn a_file_system_that_hangs_does_not_hold_up_the_tasks() {
        let (hangs, goes_on) = mpsc::sync_channel::<()>(0);
        let hanging = blocking(move || goes_on.recv().is_ok());
        let mut hanging = std::pin::pin!(hanging);
        // The one thread of this runtime goes on meanwhile.
        tokio::select! {
            biased;
            _ = &mut hanging => panic!("it hangs"),
            done = blocking(|| 7) => assert_eq!(done, Ok(7)),
        }
        hangs.send(()).expect("somebody waits");
        assert_eq!(hanging.await, Ok(true));
    }
}
