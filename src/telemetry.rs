//! What the server says of itself: its log on standard error, and its metrics.
//!
//! Guarantees: both are set up once for the process; histograms are kept small by a task. Whatever the filter says,
//! libraries log nothing below a warning: some of them write whole messages, with the tokens and passwords in them.
//! It is not the metrics' route: the HTTP transport calls [`Render`].

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tidings_core::{BoxFuture, fault, runtime::Tasks};
use tracing::Level;
use tracing_subscriber::{EnvFilter, filter::filter_fn, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    config::{Format, LogOutput},
    figures,
};

/// The metrics of this moment, as Prometheus reads them.
pub(crate) type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// Times: from a commit on a fast disk to a client that is far behind.
const SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Counts, such as of the messages in one commit.
const SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// How often histograms take in what was recorded: until then it waits in memory.
const UPKEEP: Duration = Duration::from_secs(5);

// The recorder is the process's own, so its handle is, too.
static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Sets the metrics up, once for the process; later calls give the same.
///
/// # Panics
/// When another recorder was set up before: then nothing would be counted.
#[must_use]
pub(crate) fn install() -> Render {
    let handle = HANDLE.get_or_init(|| {
        PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
            .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), SIZES))
            .expect("the buckets are not empty")
            .install_recorder()
            .expect("the process has one recorder")
    });
    // An alert needs its figure before anything has happened.
    figures::register();
    Arc::new(|| handle.render())
}

/// Starts the task that keeps the histograms small, until the server stops.
pub(crate) fn keep_up(tasks: &Arc<dyn Tasks>) {
    let own = tasks.clone();
    let make = move |_| -> BoxFuture<'static, ()> {
        let mut stopping = own.stopping();
        Box::pin(async move {
            let mut beat = tokio::time::interval(UPKEEP);
            loop {
                tokio::select! {
                    _ = beat.tick() => if let Some(handle) = HANDLE.get() { handle.run_upkeep() },
                    () = &mut stopping => return,
                }
                fault::here("telemetry.upkeep");
            }
        })
    };
    tasks.supervise("telemetry.upkeep", Box::new(make));
}

/// Sets the log up, once for the process; later calls change nothing.
pub(crate) fn log(output: &LogOutput) {
    // The configuration has refused a filter that does not parse.
    let filter = EnvFilter::try_new(&output.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let discreet = filter_fn(|about| is_discreet(about.target(), about.level()));
    let set = match output.format {
        Format::Text => {
            let text = builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
            text.finish().with(discreet).try_init()
        }
        Format::Json => builder.json().finish().with(discreet).try_init(),
    };
    if let Err(error) = set {
        tracing::debug!(%error, "the log was set up before");
    }
}

/// Whether a line, or what lines are told to belong to, may be logged: the server's own says what was judged to be
/// said, and of others only what is wrong.
fn is_discreet(target: &str, level: &Level) -> bool {
    let own = target.split("::").next().is_some_and(|name| name == "tidings" || name.starts_with("tidings_"));
    own || *level <= Level::WARN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_libraries_only_what_is_wrong_is_logged() {
        for (target, level, expected) in [
            ("tidings", Level::TRACE, true),
            ("tidings_engine::log", Level::DEBUG, true),
            ("tidingsoxide", Level::INFO, false),
            ("tungstenite::protocol", Level::TRACE, false),
            ("socketioxide::client", Level::DEBUG, false),
            ("engineioxide::engine", Level::INFO, false),
            ("hyper", Level::WARN, true),
        ] {
            assert_eq!(is_discreet(target, &level), expected, "{target} {level}");
        }
    }

    #[test]
    fn times_have_buckets_and_setting_up_twice_is_harmless() {
        let (first, second) = (install(), install());
        metrics::histogram!("tidings_test_seconds").record(0.003);
        metrics::counter!("tidings_test_total").increment(2);
        let text = first();
        assert!(text.contains("tidings_test_seconds_bucket{le=\"0.005\"} 1"), "{text}");
        assert!(text.contains("tidings_test_total 2"), "{text}");
        assert!(second().contains("tidings_test_total 2"));
    }
}
