//! A network in between that can fall silent: bytes stop in both directions, and nobody gets an end.
//!
//! Guarantees: until it is frozen everything passes; from then on nothing does, and its connections stay
//! open until it is dropped, as those of a cable that was pulled.
//! It does not drop packets below TCP: what a side had sent before it froze counts as delivered to the
//! other side's system.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::watch,
    task::JoinSet,
};

/// The network.
#[derive(Debug)]
pub struct Proxy {
    host: SocketAddr,
    frozen: watch::Sender<bool>,
    passing: Arc<AtomicUsize>,
    // Owns the connections: dropping it ends them.
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Stands in front of a server.
    ///
    /// # Errors
    /// If there is no port for it.
    pub fn before(server: SocketAddr, runtime: &Handle) -> Result<Self, String> {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).map_err(|error| error.to_string())?;
        let host = listener.local_addr().map_err(|error| error.to_string())?;
        let (frozen, is_frozen) = watch::channel(false);
        let (mut accepting, passing) = (JoinSet::new(), Arc::<AtomicUsize>::default());
        accepting.spawn_on(accept(listener, server, is_frozen, passing.clone()), runtime);
        Ok(Self { host, frozen, passing, _accepting: accepting })
    }

    /// Where clients find it.
    #[must_use]
    pub fn host(&self) -> SocketAddr {
        self.host
    }

    /// Lets nothing pass any more, and says how many connections that is true for.
    pub fn freeze(&self) -> usize {
        let passing = self.passing.load(Ordering::Acquire);
        self.frozen.send_replace(true);
        passing
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, frozen: watch::Receiver<bool>, passing: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(pass(client, server, frozen.clone(), Passing::new(&passing)));
        while connections.try_join_next().is_some() {}
    }
}

/// One more connection, as long as this lives.
struct Passing(Arc<AtomicUsize>);

impl Passing {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count.clone())
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn pass(mut client: TcpStream, server: SocketAddr, mut frozen: watch::Receiver<bool>, _one: Passing) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => return,
        _ = frozen.wait_for(|frozen| *frozen) => {}
    }
    // Both sockets stay as they are until somebody drops the proxy.
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use std::{
        io::{ErrorKind, Read, Write},
        net::TcpListener as Listener,
        time::Duration,
    };

    use super::*;

    #[test]
    fn what_is_frozen_lets_nothing_pass_and_ends_nothing() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let listener = Listener::bind("127.0.0.1:0").expect("a port");
        let proxy = Proxy::before(listener.local_addr().expect("an address"), runtime.handle()).expect("a proxy");
        let mut client = std::net::TcpStream::connect(proxy.host()).expect("connects");
        let (mut server, _) = listener.accept().expect("a connection");
        let mut byte = [0];
        client.write_all(b"a").expect("writes");
        server.read_exact(&mut byte).expect("passes");
        server.write_all(b"b").expect("writes");
        client.read_exact(&mut byte).expect("passes");
        assert_eq!(&byte, b"b");
        assert_eq!(proxy.freeze(), 1);
        let limit = Some(Duration::from_millis(200));
        server.set_read_timeout(limit).expect("is set");
        // A byte may pass in the moment of freezing; after that there is silence, and no end.
        let silent = (0..50).any(|_| {
            client.write_all(b"c").expect("writes");
            matches!(server.read(&mut byte), Err(error) if error.kind() == ErrorKind::WouldBlock)
        });
        assert!(silent);
        drop(proxy);
        runtime.shutdown_timeout(Duration::from_secs(5));
        server.set_read_timeout(None).expect("is set");
        assert!(matches!(server.read(&mut byte), Ok(0) | Err(_)), "its end is everybody's");
    }
}
