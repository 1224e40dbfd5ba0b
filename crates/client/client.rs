//! A connection with a task of its own, for programs that ask and listen at the same time.
//!
//! Guarantees: heartbeats are answered as long as there is room for events; at most 1,024 events wait
//! to be read, after that the connection is not read on (which makes it a slow client to the server);
//! the task ends when the client is dropped.
//! It is not reconnecting: see [`Follower`](crate::Follower).

use std::{collections::HashMap, future::Future, time::Duration};

use serde_json::{Value, value::RawValue};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};

use crate::{Auth, ConnectError, Endpoint, Lost, Packet, Socket};

/// How many events may wait to be read.
const EVENTS: usize = 1024;
/// How many requests may wait to be sent.
const REQUESTS: usize = 256;
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(60);

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The connection ended first.
    #[error("the connection ended before the answer")]
    Gone,
    /// No answer came within 60 seconds.
    #[error("no answer within 60 seconds")]
    Late,
}

enum Order {
    Emit { event: String, args: Vec<Value>, answer: Option<oneshot::Sender<Value>> },
    Close(oneshot::Sender<()>),
}

/// A logged-in connection.
#[derive(Debug)]
pub struct Client {
    orders: mpsc::Sender<Order>,
    events: mpsc::Receiver<(String, Vec<Value>)>,
    ended: Option<oneshot::Receiver<Lost>>,
    // Owns the connection's task: dropping the client ends it.
    _task: JoinSet<()>,
}

impl Client {
    /// Connects to `http://HOST:PORT` and logs in.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(url: &str, auth: Auth) -> Result<Self, ConnectError> {
        let endpoint = Endpoint::parse(url)?;
        let socket = Socket::connect(&endpoint, &auth().map_err(ConnectError::Unreachable)?).await?;
        let (orders, order_queue) = mpsc::channel(REQUESTS);
        let (event_queue, events) = mpsc::channel(EVENTS);
        let (end, ended) = oneshot::channel();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let lost = drive(socket, order_queue, event_queue).await;
            // Nobody may wait for the reason any more.
            drop(end.send(lost));
        });
        Ok(Self { orders, events, ended: Some(ended), _task: task })
    }

    /// Sends an event and waits for its answer: the first argument of the acknowledgement.
    /// What one client sends takes effect in the order of the calls.
    ///
    /// # Errors
    /// See [`RequestError`]. A refusal by the server is an answer.
    pub fn emit_with_ack(
        &self,
        event: &str,
        arg: Value,
    ) -> impl Future<Output = Result<Value, RequestError>> + Send + use<> {
        self.emit_args_with_ack(event, vec![arg])
    }

    /// As [`Client::emit_with_ack`], with any number of arguments.
    pub fn emit_args_with_ack(
        &self,
        event: &str,
        args: Vec<Value>,
    ) -> impl Future<Output = Result<Value, RequestError>> + Send + use<> {
        let orders = self.orders.clone();
        let (answer, answered) = oneshot::channel();
        let order = Order::Emit { event: event.to_owned(), args, answer: Some(answer) };
        async move {
            let exchange = async {
                orders.send(order).await.map_err(|_| RequestError::Gone)?;
                answered.await.map_err(|_| RequestError::Gone)
            };
            timeout(ANSWER, exchange).await.map_err(|_| RequestError::Late)?
        }
    }

    /// Sends an event that wants no answer.
    ///
    /// # Errors
    /// `Gone`.
    pub async fn emit(&self, event: &str, args: Vec<Value>) -> Result<(), RequestError> {
        let order = Order::Emit { event: event.to_owned(), args, answer: None };
        self.orders.send(order).await.map_err(|_| RequestError::Gone)
    }

    /// The next event and its arguments; none once the connection ended and everything was read.
    pub async fn next(&mut self) -> Option<(String, Vec<Value>)> {
        self.events.recv().await
    }

    /// The next `message` event: its one argument. Other events are passed over.
    pub async fn message(&mut self) -> Option<Value> {
        loop {
            let (name, mut args) = self.next().await?;
            if name == "message" && !args.is_empty() {
                return Some(args.remove(0));
            }
        }
    }

    /// Waits for the end of the connection and says how it ended. Events that were not read are lost.
    pub async fn ended(&mut self) -> Lost {
        let Some(ended) = self.ended.take() else { return Lost::Gone };
        tokio::pin!(ended);
        loop {
            tokio::select! {
                lost = &mut ended => return lost.unwrap_or(Lost::Gone),
                // The task reads on only while there is room.
                Some(_) = self.events.recv() => {}
            }
        }
    }

    /// Leaves in order and waits until the server was told. Dropping the client cuts the connection.
    pub async fn close(self) {
        let (done, closed) = oneshot::channel();
        if self.orders.send(Order::Close(done)).await.is_ok() {
            drop(closed.await);
        }
    }
}

/// Reads and writes until the connection ends.
async fn drive(
    mut socket: Socket,
    mut orders: mpsc::Receiver<Order>,
    events: mpsc::Sender<(String, Vec<Value>)>,
) -> Lost {
    let mut waiting: HashMap<u64, oneshot::Sender<Value>> = HashMap::new();
    let mut room = None;
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Emit { event, args, answer: Some(answer) }) => match socket.request(&event, &args).await {
                    Ok(id) => { waiting.insert(id, answer); }
                    Err(lost) => return lost,
                },
                Some(Order::Emit { event, args, answer: None }) => {
                    if let Err(lost) = socket.emit(&event, &args).await { return lost }
                }
                Some(Order::Close(done)) => {
                    socket.close().await;
                    // Whoever closed may have stopped waiting.
                    done.send(()).unwrap_or_default();
                    return Lost::Gone;
                }
                None => return Lost::Gone,
            },
            permit = events.reserve(), if room.is_none() => match permit {
                Ok(permit) => room = Some(permit),
                Err(_) => return Lost::Gone,
            },
            packet = socket.next(), if room.is_some() => match packet {
                Ok(Packet::Event { name, args, .. }) => {
                    if let Some(room) = room.take() { room.send((name, values(&args))) }
                }
                Ok(Packet::Ack { id, args }) => if let Some(answer) = waiting.remove(&id) {
                    drop(answer.send(values(&args).into_iter().next().unwrap_or(Value::Null)));
                },
                Ok(Packet::Connect | Packet::ConnectError { .. } | Packet::Disconnect) => {}
                Err(lost) => return lost,
            },
        }
    }
}

fn values(args: &[Box<RawValue>]) -> Vec<Value> {
    args.iter().map(|arg| serde_json::from_str(arg.get()).unwrap_or(Value::Null)).collect()
}
