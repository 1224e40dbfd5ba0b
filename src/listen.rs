//! The listener: TCP connections in, each served by the router until it ends.
//!
//! Guarantees: a connection that sends no request within the time limit is dropped; the number of
//! connections is bounded; a failed accept is waited out, never a reason to stop.
//! It is not a transport: it knows no route.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use hyper::{Request, body::Incoming, server::conn::http1::Builder, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tidings_core::{BoxFuture, runtime::Tasks};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tower::ServiceExt;

/// How long a connection may take for the head of a request.
const HEAD: Duration = Duration::from_secs(15);
/// How long a failed accept is waited out: mostly no file descriptor is left.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until `closed` resolves. At most `most` are open at once; further ones wait in
/// the system's backlog.
pub(crate) async fn accept(
    listener: TcpListener,
    router: Router,
    tasks: Arc<dyn Tasks>,
    most: usize,
    mut closed: BoxFuture<'static, ()>,
) {
    let room = Arc::new(Semaphore::new(most));
    loop {
        let accepted = tokio::select! {
            accepted = next(&listener, &room) => accepted,
            () = &mut closed => return,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                let (router, stopping) = (router.clone(), tasks.stopping());
                tasks.spawn("http.connection", Box::pin(serve(stream, peer, router, permit, stopping)));
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

async fn next(listener: &TcpListener, room: &Arc<Semaphore>) -> std::io::Result<Accepted> {
    let permit = room.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer, permit))
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    permit: OwnedSemaphorePermit,
    stopping: BoxFuture<'static, ()>,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
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
