//! The works that are measured, and what they have in common.
//!
//! Guarantees: a work connects, waits until the server is still, and then measures; each phase has a
//! limit in time.
//! It does not start the server: whoever does names its process.

mod hold;
mod replay;
mod runs;
mod slow;
mod storm;
mod stream;

use std::{net::SocketAddr, thread, time::Duration};

use crate::{
    clock,
    fleet::{Fleet, Recruit},
    http::Connection,
    metrics::{self, Histogram},
    process::Process,
    publisher::{self, Channels, Job, Progress},
    report::Report,
    sockets,
    subscriber::Since,
};

/// After so long without a delivery nothing more is expected.
const QUIET: Duration = Duration::from_secs(3);
/// The longest that connecting may take.
const CONNECTING: Duration = Duration::from_secs(60);

/// A work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Work {
    /// Many subscribers of one channel, events at a steady rate.
    Paced,
    /// Many subscribers of one channel, events as fast as they are taken.
    Burst,
    /// Many channels with one subscriber each, events as fast as they are taken.
    Spread,
    /// Many connections to which nothing happens.
    Idle,
    /// Many connections, made as fast as they are answered.
    Connect,
    /// Some of many subscribers stop reading, and later go on.
    Slow,
    /// One subscriber reads a long channel from its beginning beside live ones.
    Replay,
    /// Many runs of a workflow at once, beside a channel with many subscribers.
    Runs,
    /// Most of many subscribers lose their connections at once and come back.
    Storm,
}

/// What a work is done with. The server's own figures are only read of one that is Tidings.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The server.
    pub host: SocketAddr,
    /// Its process.
    pub server: Process,
    /// A token that it accepts, of subscribers and of the publisher.
    pub token: String,
    /// Whether it is Tidings: numbers its messages and tells of its commits.
    pub tidings: bool,
    /// How large the work is.
    pub size: Size,
}

/// How large a work is.
#[derive(Debug, Clone)]
pub struct Size {
    /// Subscribers.
    pub subscribers: usize,
    /// Events.
    pub events: u64,
    /// Events a second; infinite for as fast as they are taken.
    pub rate: f64,
    /// Events in a POST.
    pub batch: u64,
    /// Bytes of filler in an event.
    pub content: usize,
    /// Those of the subscribers that stop reading, or lose their connections.
    pub stalled: usize,
    /// Runs of a workflow at once.
    pub runs: usize,
    /// Steps of a run.
    pub steps: usize,
    /// The pause after connecting, and how long idle connections are watched.
    pub settle: Duration,
    /// The longest that publishing may take.
    pub limit: Duration,
}

impl Work {
    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Paced => "paced",
            Self::Burst => "burst",
            Self::Spread => "spread",
            Self::Idle => "idle",
            Self::Connect => "connect",
            Self::Slow => "slow",
            Self::Replay => "replay",
            Self::Runs => "runs",
            Self::Storm => "storm",
        }
    }

    /// How large it is unless asked otherwise.
    #[must_use]
    pub fn size(self) -> Size {
        let fast = f64::INFINITY;
        let (subscribers, events, rate, batch, content, stalled) = match self {
            Self::Paced => (1_000, 500, 100.0, 1, 128, 0),
            Self::Burst => (2_000, 4_000, fast, 50, 512, 0),
            Self::Spread => (2_000, 100_000, fast, 100, 128, 0),
            Self::Idle | Self::Connect => (10_000, 0, fast, 1, 0, 0),
            // Half of what a core can write: near its limit a latency tells of the machine's speed.
            Self::Slow => (2_000, 20_000, 300.0, 25, 1_024, 200),
            Self::Replay => (100, 1_000_000, 100.0, 1_000, 96, 0),
            Self::Runs => (1_000, 0, 100.0, 1, 128, 0),
            Self::Storm => (5_500, 500, 100.0, 1, 128, 5_000),
        };
        let settle = Duration::from_secs(if self == Self::Idle { 5 } else { 2 });
        let (runs, steps) = if self == Self::Runs { (200, 20) } else { (0, 0) };
        let limit = Duration::from_secs(match self {
            Self::Runs => 150,
            Self::Slow => 120,
            _ => 60,
        });
        Size { subscribers, events, rate, batch, content, stalled, runs, steps, settle, limit }
    }

    /// Does it.
    ///
    /// # Errors
    /// If the server is not there, refuses an event, or leaves.
    pub fn run(self, setup: &Setup) -> Result<Report, String> {
        let mut report = Report::new(self.name());
        match self {
            Self::Paced | Self::Burst => stream::run(setup, 1, &mut report)?,
            Self::Spread => stream::run(setup, setup.size.subscribers, &mut report)?,
            Self::Idle => hold::run(setup, true, &mut report)?,
            Self::Connect => hold::run(setup, false, &mut report)?,
            Self::Slow => slow::run(setup, &mut report)?,
            Self::Replay => replay::run(setup, &mut report)?,
            Self::Runs => runs::run(setup, &mut report)?,
            Self::Storm => storm::run(setup, &mut report)?,
        }
        Ok(report)
    }
}

/// Connects subscribers of these channels, `which` by index, and reports what that cost.
fn connect(
    setup: &Setup,
    fleet: &mut Fleet,
    channels: &Channels,
    which: std::ops::Range<usize>,
    report: &mut Report,
) -> Result<(), String> {
    let (start, cpu, resident) = (clock::now(), setup.server.cpu_seconds()?, setup.server.resident()?);
    let recruit = |index| Recruit { group: 0, channel: channels.name(index), since: Since::Now };
    fleet.connect(which.clone().map(recruit), CONNECTING)?;
    let (seconds, spent) = (clock::since(start).as_secs_f64(), setup.server.cpu_seconds()? - cpu);
    rest(fleet, setup.size.settle)?;
    let (asked, live) = (which.len(), fleet.live());
    let each = live.max(1) as f64;
    report.add("connected", live as f64);
    report.add("unanswered", asked.saturating_sub(live) as f64);
    report.add("connect_s", seconds);
    report.add("connect_cpu_us", spent * 1e6 / each);
    report.add("start_mb", resident / 1e6);
    report.add("idle_mb", setup.server.resident()? / 1e6);
    report.add("connection_kb", (setup.server.resident()? - resident) / 1024.0 / each);
    report.add("connection_kernel_kb", kernel_bytes(setup)? / 1024.0 / each);
    report.note(fleet.seen(0).problem.as_ref());
    Ok(())
}

/// Lets the fleet go on for a while.
fn rest(fleet: &mut Fleet, pause: Duration) -> Result<(), String> {
    let start = clock::now();
    while clock::since(start) < pause {
        fleet.turn(Duration::from_millis(20))?;
    }
    Ok(())
}

/// What the kernel holds for the server's sockets.
fn kernel_bytes(setup: &Setup) -> Result<f64, String> {
    Ok(sockets::of_server(setup.host.port())?.iter().map(|socket| socket.bytes as f64).sum())
}

/// What came of a job.
struct Flow {
    /// Events that the server accepted.
    accepted: u64,
    /// From the first POST to the last delivery.
    seconds: f64,
    /// When that was.
    last: Duration,
    /// What the server spent.
    cpu_seconds: f64,
    /// The commits of that time; none of a server that has none.
    commits: Histogram,
}

/// Publishes while the fleet reads, until all is delivered that `expected` makes of what was accepted,
/// or nothing comes any more. `watch` is called between two readings and may end the publishing.
fn flow(
    setup: &Setup,
    fleet: &mut Fleet,
    job: &Job,
    expected: impl Fn(u64) -> u64,
    mut watch: impl FnMut(&mut Fleet, &Progress) -> Result<(), String>,
) -> Result<Flow, String> {
    let mut connection = Connection::open(setup.host, &setup.token)?;
    let before = commits(setup)?;
    let (start, cpu, delivered) = (clock::now(), setup.server.cpu_seconds()?, fleet.delivered());
    let progress = Progress::default();
    let last = thread::scope(|scope| {
        let publishing = scope.spawn(|| publisher::publish(&mut connection, job, &progress));
        let (mut last, mut count) = (start, delivered);
        let outcome = loop {
            if let Err(error) = fleet.turn(Duration::from_millis(20)).and_then(|()| watch(fleet, &progress)) {
                break Err(error);
            }
            if fleet.delivered() != count {
                (last, count) = (clock::now(), fleet.delivered());
            }
            if clock::since(start) > setup.size.limit {
                progress.stop();
            }
            let all = count - delivered >= expected(progress.accepted());
            if publishing.is_finished() && (all || clock::since(last) > QUIET) {
                break Ok(last);
            }
        };
        progress.stop();
        let published = publishing.join().map_err(|_| "the publisher panicked".to_owned())?;
        published.and(outcome)
    })?;
    Ok(Flow {
        accepted: progress.accepted(),
        seconds: last.saturating_sub(start).as_secs_f64(),
        last,
        cpu_seconds: setup.server.cpu_seconds()? - cpu,
        commits: commits(setup)?.after(&before),
    })
}

/// The server's commits so far.
fn commits(setup: &Setup) -> Result<Histogram, String> {
    if !setup.tidings {
        return Ok(Histogram::default());
    }
    metrics::commits(&mut Connection::open(setup.host, &setup.token)?)
}

/// Reports the deliveries of a group against what was expected.
fn report_deliveries(fleet: &Fleet, group: usize, expected: u64, prefix: &str, report: &mut Report) {
    let seen = fleet.seen(group);
    let mut add = |name: &str, figure: u64| report.add(&format!("{prefix}{name}"), figure as f64);
    add("expected", expected);
    add("delivered", seen.tally.delivered);
    add("lost", expected.saturating_sub(seen.tally.delivered));
    add("doubles", seen.tally.doubles);
    add("late", seen.tally.late);
    add("seq_breaks", seen.seq_breaks);
    report.note(seen.problem.as_ref());
}

/// Reports the latencies of a group.
fn report_latencies(fleet: &Fleet, group: usize, prefix: &str, report: &mut Report) {
    let percentiles = fleet.seen(group).latencies.percentiles();
    report.add(&format!("{prefix}p50_ms"), percentiles.p50);
    report.add(&format!("{prefix}p99_ms"), percentiles.p99);
    report.add(&format!("{prefix}max_ms"), percentiles.most);
}

/// Reports the commits of a server that has them.
fn report_commits(setup: &Setup, flow: &Flow, report: &mut Report) {
    if setup.tidings {
        report.add("commit_p50_ms", flow.commits.quantile_ms(0.5));
        report.add("commit_p99_ms", flow.commits.quantile_ms(0.99));
    }
}
