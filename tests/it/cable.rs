//! A cable between a client and the server, which a test cuts or lets go dead.
//!
//! Guarantees: what passes is passed on unchanged; a cut is a reset in both directions, a dead cable is
//! silence: nothing passes and nobody is told. New connections get a new cable.
//! It knows no protocol.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use rustix::net::sockopt::set_socket_linger;

/// One connection: its two ends, and whether nothing passes.
struct Strand {
    ends: [TcpStream; 2],
    dead: Mutex<bool>,
    changed: Condvar,
}

/// All connections through one address.
pub(crate) struct Cable {
    address: SocketAddr,
    strands: Arc<Mutex<Vec<Arc<Strand>>>>,
    over: Arc<AtomicBool>,
}

impl Cable {
    /// A cable that leads to this address.
    pub(crate) fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let address = listener.local_addr().expect("has an address");
        let (strands, over) = (Arc::<Mutex<Vec<Arc<Strand>>>>::default(), Arc::<AtomicBool>::default());
        let cable = Self { address, strands: strands.clone(), over: over.clone() };
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(far) = TcpStream::connect(server) else { continue };
                let strand = Strand { ends: [client, far], dead: Mutex::default(), changed: Condvar::new() };
                let strand = Arc::new(strand);
                strands.lock().push(strand.clone());
                for from in [0, 1] {
                    let strand = strand.clone();
                    thread::spawn(move || strand.pass(from));
                }
            }
        });
        cable
    }

    /// Where clients connect to.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Resets every connection.
    pub(crate) fn cut(&self) {
        self.strands.lock().drain(..).for_each(|strand| strand.cut());
    }

    /// From now on nothing passes on any connection that is there.
    pub(crate) fn go_dead(&self) {
        self.strands.lock().iter().for_each(|strand| *strand.dead.lock() = true);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.cut();
        self.over.store(true, Ordering::SeqCst);
        // Wakes whoever waits for the next connection.
        drop(TcpStream::connect(self.address));
    }
}

impl Strand {
    fn pass(&self, from: usize) {
        let (mut near, mut far) = (&self.ends[from], &self.ends[1 - from]);
        let mut bytes = [0; 16 * 1024];
        while let Ok(count @ 1..) = near.read(&mut bytes) {
            let mut dead = self.dead.lock();
            while *dead {
                self.changed.wait(&mut dead);
            }
            drop(dead);
            if far.write_all(&bytes[..count]).is_err() {
                return;
            }
        }
        // An end passes on like everything else: not where nothing does.
        if !*self.dead.lock() {
            drop(far.shutdown(std::net::Shutdown::Write));
        }
    }

    fn cut(&self) {
        for end in &self.ends {
            set_socket_linger(end, Some(Duration::ZERO)).expect("a socket");
            drop(end.shutdown(std::net::Shutdown::Both));
        }
        *self.dead.lock() = false;
        self.changed.notify_all();
    }
}
