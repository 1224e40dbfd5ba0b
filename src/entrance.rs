//! The server's entrance while it starts: what needs room on the disk waits for it here, and whoever asks meanwhile is
//! told why.
//!
//! Guarantees: a full disk is no reason not to start. From the moment that something waits for room, the server
//! listens, says that it lives, says why it is not ready, and refuses everything else with `unavailable`; once all
//! parts are there, the same listener serves them. A start that waits for nothing listens only then.
//! It is not the wiring, and decides of no error but a full disk.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use parking_lot::Mutex;
use tidings_core::runtime::{Clock, Tasks};
use tidings_engine::log::SqliteLog;
use tidings_transports::http;

use crate::{
    app::StartError,
    config::Config,
    listen::{self, Acceptor, Bounds, Routes},
    serve::print,
};

/// How long is waited before it is tried again whether there is room.
const RETRY: Duration = Duration::from_millis(200);

/// What whoever asks is told meanwhile: no path, since anybody may ask.
const WAITS: &str = "the disk is full, and the server starts once there is room";

/// The listener, once there is one.
struct Listening {
    address: SocketAddr,
    acceptor: Arc<Acceptor>,
}

/// The entrance.
pub(crate) struct Entrance<'a> {
    config: &'a Config,
    surroundings: (Arc<dyn Tasks>, Arc<dyn Clock>),
    routes: Routes,
    /// What the server waits for, as it was told last.
    waits: Mutex<Option<String>>,
    /// The address, taken and not listened on yet.
    taken: Mutex<Option<TcpListener>>,
    listening: Mutex<Option<Listening>>,
}

impl<'a> Entrance<'a> {
    /// An entrance that is closed.
    pub(crate) fn new(config: &'a Config, surroundings: (Arc<dyn Tasks>, Arc<dyn Clock>)) -> Self {
        let routes = Routes::starting(http::starting(WAITS));
        Self {
            config,
            surroundings,
            routes,
            waits: Mutex::default(),
            taken: Mutex::default(),
            listening: Mutex::default(),
        }
    }

    /// Does something that needs room on the disk, again and again until it has it. An open log gives its reserve.
    ///
    /// # Errors
    /// What it failed with otherwise; the address cannot be listened on.
    pub(crate) async fn with_room<T>(
        &self,
        log: Option<&Arc<SqliteLog>>,
        work: impl AsyncFn() -> Result<T, StartError>,
    ) -> Result<T, StartError> {
        let found_full = || log.map(|log| log.full_disk());
        loop {
            let before = found_full();
            let error = match work().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            // What a service says when the log refused is no more than that.
            let log_is_full = found_full().is_some_and(|(full, _)| full) || found_full() != before;
            let refused_by_log = log_is_full && error.is_retryable();
            if !refused_by_log && !error.is_full_disk(&self.config.data_dir) {
                return Err(error);
            }
            if let Some(log) = log {
                log.make_room();
            }
            self.wait(&error)?;
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Says that the disk is full, to whoever asks and, with what there is no room for, in the server's log.
    fn wait(&self, error: &StartError) -> Result<(), StartError> {
        let error = error.to_string();
        let mut waits = self.waits.lock();
        if waits.as_ref() != Some(&error) {
            tracing::error!(data_dir = %self.config.data_dir.display(), error, "not ready: {WAITS}");
            *waits = Some(error);
        }
        drop(waits);
        self.listen()
    }

    /// Lets everybody in: what takes connections in.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub(crate) fn open(&self, router: Router) -> Result<Arc<Acceptor>, StartError> {
        self.routes.open(router);
        self.listen()?;
        let listening = self.listening.lock().take();
        Ok(listening.expect("it listens from here on").acceptor)
    }

    /// Takes the address, unless it has it: from now on nothing that is told only once is told in vain, and nobody
    /// else listens there. Gives the address that it is.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub(crate) fn take_address(&self) -> Result<SocketAddr, StartError> {
        let (listening, mut taken) = (self.listening.lock(), self.taken.lock());
        if let Some(listening) = &*listening {
            return Ok(listening.address);
        }
        let failed = |error| StartError::Listen(self.config.listen, error);
        let listener = match taken.take() {
            Some(listener) => listener,
            None => listen::bind(self.config.listen).map_err(failed)?,
        };
        taken.insert(listener).local_addr().map_err(failed)
    }

    /// Listens, unless it does already, and says so on standard output.
    fn listen(&self) -> Result<(), StartError> {
        let address = self.take_address()?;
        let (mut listening, taken) = (self.listening.lock(), self.taken.lock().take());
        let Some(listener) = taken.filter(|_| listening.is_none()) else { return Ok(()) };
        let config = self.config;
        let failed = |error| StartError::Listen(config.listen, error);
        // HTTP requests of clients with many connections need room beside the sockets'.
        let most = config.socket.max_connections.saturating_mul(2).max(1024);
        let bounds = Bounds { most, per_second: config.http.accept_per_second, patience: config.patiences() };
        let acceptor =
            Acceptor::open(listener, self.routes.clone(), self.surroundings.clone(), &bounds).map_err(failed)?;
        let data = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
        print(&format!("data directory: {}", data.display()));
        print(&format!("listening on http://{address}"));
        *listening = Some(Listening { address, acceptor });
        Ok(())
    }
}
