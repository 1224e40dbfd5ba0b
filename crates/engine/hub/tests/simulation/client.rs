//! A simulated client: a connection, the commands that it sent, and its account of what came.
//!
//! Guarantees: its commands are served in the order sent, by a task of its own, as a transport does;
//! after a cut it goes on from what its account has.
//! It decides nothing: what it does when is drawn in `world`.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use serde_json::json;
use tidings_core::{BoxFuture, Channel, Principal, Result, Seq, outlet::Said, runtime::Tasks};
use tidings_testkit::{SimulatedLog, SimulatedOutlet};
use tokio::sync::mpsc;

use super::{
    super::super::{Connection, Hub, Outcome, Since, SubscribeRequest},
    ledger::{Asked, Ledger, Question, Wants},
};

type Command = Box<dyn FnOnce(Arc<Connection>) -> BoxFuture<'static, ()> + Send>;

/// Commands that may wait: more than any run sends.
const MAILBOX: usize = 4096;

pub(super) struct Client {
    pub(super) user: Principal,
    pub(super) connection: Arc<Connection>,
    pub(super) outlet: Arc<SimulatedOutlet>,
    pub(super) ledger: Ledger,
    /// What it wants to be subscribed to.
    pub(super) wanted: BTreeMap<usize, Wants>,
    mailbox: mpsc::Sender<Command>,
    number: u64,
}

impl Client {
    pub(super) fn connect(
        user: Principal,
        (hub, tasks): (&Arc<Hub>, &dyn Tasks),
        outlet: Arc<SimulatedOutlet>,
        ledger: Ledger,
    ) -> Self {
        let (mailbox, commands) = mpsc::channel(MAILBOX);
        let connection = hub.connect(user.clone(), outlet.clone());
        tasks.spawn("client.commands", Box::pin(serve(connection.clone(), commands)));
        Self { user, connection, outlet, ledger, wanted: BTreeMap::new(), mailbox, number: 0 }
    }

    /// Comes back on another connection, to the same server or its next life.
    pub(super) fn reconnect(
        &mut self,
        (hub, tasks): (&Arc<Hub>, &dyn Tasks),
        outlet: Arc<SimulatedOutlet>,
        log: &Arc<SimulatedLog>,
    ) {
        let (mailbox, commands) = mpsc::channel(MAILBOX);
        self.ledger.cut(log);
        self.outlet = outlet;
        self.connection = hub.connect(self.user.clone(), self.outlet.clone());
        self.mailbox = mailbox;
        tasks.spawn("client.commands", Box::pin(serve(self.connection.clone(), commands)));
    }

    fn send(&mut self, question: Question, command: Command) {
        self.ledger.questions.insert(self.number, question);
        if self.mailbox.try_send(command).is_err() {
            // The connection is gone: its cut comes.
            self.ledger.questions.remove(&self.number);
        }
    }

    /// Where it would go on in a channel.
    pub(super) fn since(&self, channel: usize) -> Option<(Option<tidings_core::Epoch>, Seq)> {
        self.ledger.views.get(&channel).map(|view| (Some(view.epoch.clone()), view.at))
    }

    /// Asks for several channels at once.
    pub(super) fn subscribe(&mut self, asked: Vec<Asked>, log: &Arc<SimulatedLog>, channels: &Arc<[Channel]>) {
        self.number += 1;
        let requests = asked.iter().map(|asked| Ok(request(asked, &channels[asked.channel]))).collect();
        let attached: Vec<(Channel, Arc<Mutex<usize>>)> =
            asked.iter().map(|asked| (channels[asked.channel].clone(), asked.attached.clone())).collect();
        for asked in &asked {
            self.wanted.insert(asked.channel, asked.wants);
        }
        let (number, log) = (self.number, log.clone());
        let answer = move |outcomes: Vec<Result<Outcome>>| {
            // Nothing is announced between attaching and this.
            attached.iter().for_each(|(channel, attached)| *attached.lock() = log.announced_ephemeral(channel));
            let result = |outcome: Result<Outcome>| match outcome {
                Ok(outcome) => serde_json::to_value(outcome).expect("an outcome serialises"),
                Err(error) => json!({ "ok": false, "error": error.code().as_str() }),
            };
            let results: Vec<serde_json::Value> = outcomes.into_iter().map(result).collect();
            Some(Said::answer(number, json!({ "results": results }).to_string()))
        };
        self.send(
            Question::Subscribe(asked),
            Box::new(move |connection| Box::pin(async move { connection.subscribe(requests, answer).await })),
        );
    }

    /// Wants no more of a channel, or of any.
    pub(super) fn unsubscribe(&mut self, one: Option<usize>, channels: &Arc<[Channel]>) {
        self.number += 1;
        let of = |index: usize| channels[index].clone();
        let names = one.map(|index| vec![of(index)]);
        let indices: Vec<usize> = one.map_or_else(|| (0..channels.len()).collect(), |index| vec![index]);
        self.wanted.retain(|channel, _| !indices.contains(channel));
        let said = Said::answer(self.number, json!({ "ok": true }).to_string());
        self.send(
            Question::Unsubscribe(indices),
            Box::new(move |connection| {
                connection.unsubscribe(names.as_deref(), Some(said));
                Box::pin(async {})
            }),
        );
    }

    /// Takes up to so many frames, and judges them. How many there were.
    pub(super) fn read(&mut self, most: usize) -> usize {
        for read in 0..most {
            match self.outlet.take() {
                Some(sent) => self.ledger.take(&sent),
                None => return read,
            }
        }
        most
    }
}

async fn serve(connection: Arc<Connection>, mut commands: mpsc::Receiver<Command>) {
    while let Some(command) = commands.recv().await {
        command(connection.clone()).await;
    }
}

fn request(asked: &Asked, channel: &Channel) -> SubscribeRequest {
    let since = asked.since.clone().map(|(epoch, seq)| Since { epoch, seq });
    let filter = asked.wants.filter.then(|| serde_json::from_value(json!({"where": {"half": 1}})).expect("a filter"));
    let max_lag =
        asked.wants.max_lag.map(|most| serde_json::from_value(json!({ "messages": most })).expect("a maxLag"));
    let (last, snapshot) = (asked.wants.last.filter(|_| since.is_none()), asked.wants.snapshot);
    SubscribeRequest { channel: channel.clone(), since, last, snapshot, filter, max_lag, filter_bytes: 0 }
}
