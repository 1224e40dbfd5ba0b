//! Runs: many runs of a workflow with quick steps at once, beside a paced channel that has nothing to do with
//! them.
//!
//! Guarantees: the subscribers are measured twice on the same server, before the runs and while they go on, and
//! the ratios are taken of these two; every run is looked at, how it ended and the order of its messages.
//! Only Tidings has this work: the peers run nothing. The server must let one user have so many runs open.

use std::{collections::BTreeSet, fs, thread, time::Duration};

use serde_json::{Value, json};

use super::{Flow, Report, Setup, connect, flow, report_commits, report_deliveries, report_latencies};
use crate::{
    clock,
    fleet::Fleet,
    http::Connection,
    latency::Percentiles,
    publisher::{Channels, Job},
};

/// How long the subscribers are measured without runs: a shorter time would see fewer of the machine's own rare
/// pauses.
const WITHOUT: Duration = Duration::from_secs(20);
/// Between two looks at the oldest run that is open.
const LOOK: Duration = Duration::from_millis(250);
/// So many steps of a run may go on side by side: each needs the one so many places before it.
const LANES: usize = 4;
/// What a step does: it reports an output and prints a line.
const STEP: [&str; 3] = ["sh", "-c", "echo output done=1 >> $WORKFLOW_REPORT; echo done"];

const SUBSCRIBERS: usize = 0;

/// What came of the runs.
struct Ended {
    /// Their ids.
    ids: Vec<String>,
    completed: usize,
    /// From the first start to the last end.
    seconds: f64,
}

/// Measures the subscribers without and with the runs.
pub(super) fn run(setup: &Setup, report: &mut Report) -> Result<(), String> {
    let size = &setup.size;
    let channels = Channels::new("load", 1);
    let mut fleet = Fleet::new(setup.host, &setup.token, setup.tidings, 1)?;
    connect(setup, &mut fleet, &channels, 0..size.subscribers, report)?;
    let subscribers = size.subscribers as u64;
    let without = (size.rate * WITHOUT.as_secs_f64().min(size.limit.as_secs_f64())) as u64;
    let job = Job { channels, first: 0, events: without, rate: size.rate, batch: 1, content: size.content };
    let first = flow(setup, &mut fleet, &job, |events| events * subscribers, |_, _| Ok(()))?;
    report_deliveries(&fleet, SUBSCRIBERS, first.accepted * subscribers, "without_", report);
    report_latencies(&fleet, SUBSCRIBERS, "without_", report);
    let alone = fleet.seen(SUBSCRIBERS).latencies.percentiles();
    fleet.forget(SUBSCRIBERS);

    // Not before: the server closes a connection that asks nothing for a while.
    let mut asking = Connection::open(setup.host, &setup.token)?;
    let project = project(setup, &mut asking)?;
    // The events go on until the last run has ended; their number is only a bound.
    let endless = (size.rate * size.limit.as_secs_f64()) as u64 + 1;
    let job = Job { first: first.accepted, events: endless, ..job };
    let before = setup.server.resident()?;
    setup.server.forget_peak()?;
    let (second, ended) = thread::scope(|scope| {
        let going = scope.spawn(|| all(setup, &mut asking, &project));
        let second = flow(
            setup,
            &mut fleet,
            &job,
            |events| events * subscribers,
            |_, progress| {
                if going.is_finished() {
                    progress.stop();
                }
                Ok(())
            },
        );
        let ended = going.join().map_err(|_| "what starts the runs panicked".to_owned())?;
        Ok::<_, String>((second?, ended?))
    })?;
    let peak = setup.server.peak()?;
    report_deliveries(&fleet, SUBSCRIBERS, second.accepted * subscribers, "", report);
    report_latencies(&fleet, SUBSCRIBERS, "", report);
    report_commits(setup, &second, report);
    let beside = fleet.seen(SUBSCRIBERS).latencies.percentiles();
    compare(setup, (&first, &alone), (&second, &beside), report);
    report.add("runs_completed", ended.completed as f64);
    report.add("runs_not_completed", (size.runs - ended.completed) as f64);
    report.add("runs_s", ended.seconds);
    report.add("above_idle_mb", (peak - before).max(0.0) / 1e6);
    let disordered = ended.ids.iter().map(|id| Ok(u64::from(!is_in_order(&mut asking, id, size.steps)?)));
    report.add("runs_disordered", disordered.sum::<Result<u64, String>>()? as f64);
    Ok(())
}

/// A project in a folder of its own beside the server's.
fn project(setup: &Setup, connection: &mut Connection) -> Result<String, String> {
    let root = setup.server.folder()?.join("project");
    fs::create_dir_all(&root).map_err(|error| format!("no folder for the project: {error}"))?;
    let answer = connection.post("/api/projects", &json!({"name": "load", "root": root}).to_string())?;
    text(&parsed(&answer)?, "projectId")
}

/// Starts all runs and waits until the last has ended.
fn all(setup: &Setup, connection: &mut Connection, project: &str) -> Result<Ended, String> {
    let size = &setup.size;
    let body = json!({"projectId": project, "definition": definition(size.steps)}).to_string();
    let (start, mut ids, mut completed) = (clock::now(), Vec::new(), 0);
    for _ in 0..size.runs {
        ids.push(text(&parsed(&connection.post("/api/workflows/runs", &body)?)?, "runId")?);
    }
    for id in &ids {
        loop {
            let state = parsed(&connection.get(&format!("/api/workflows/runs/{id}"))?)?;
            if !state["endedAt"].is_null() {
                completed += usize::from(state["status"] == "completed");
                break;
            }
            if clock::since(start) > size.limit {
                break;
            }
            thread::sleep(LOOK);
        }
    }
    Ok(Ended { ids, completed, seconds: clock::since(start).as_secs_f64() })
}

/// A workflow of so many steps, in lanes.
fn definition(steps: usize) -> String {
    let step = |place: usize| {
        let mut step = json!({"command": STEP});
        if place >= LANES {
            step["needs"] = json!(format!("s{}", place - LANES));
        }
        (format!("s{place}"), step)
    };
    json!({"name": "load", "steps": (0..steps).map(step).collect::<serde_json::Map<_, _>>()}).to_string()
}

/// What the runs made of the subscribers' figures.
fn compare(setup: &Setup, without: (&Flow, &Percentiles), with: (&Flow, &Percentiles), report: &mut Report) {
    let size = &setup.size;
    let deliveries = |flow: &Flow| (flow.accepted * size.subscribers as u64).max(1) as f64;
    let each = |flow: &Flow| flow.cpu_seconds * 1e6 / deliveries(flow);
    report.add("without_delivery_cpu_us", each(without.0));
    report.add("delivery_cpu_us", each(with.0));
    report.add("delivery_cpu_ratio", each(with.0) / each(without.0));
    report.add("p99_ratio", with.1.p99 / without.1.p99);
}

/// Whether the messages of a run are numbered without a hole, its start is the first and its end the last, and
/// each step started once and ended once, in this order and after what it needs.
fn is_in_order(connection: &mut Connection, id: &str, steps: usize) -> Result<bool, String> {
    let page = parsed(&connection.get(&format!("/api/channels/workflow:run:{id}/events?limit=1000"))?)?;
    let Some(messages) = page["events"].as_array() else { return Ok(false) };
    Ok(page["more"] == false && follow(messages, steps))
}

fn follow(messages: &[Value], steps: usize) -> bool {
    let (mut started, mut ended, mut last) = (BTreeSet::new(), BTreeSet::new(), "");
    for (index, message) in messages.iter().enumerate() {
        last = message["type"].as_str().unwrap_or_default();
        let step = message["data"]["stepId"].as_str().unwrap_or_default();
        let fits = match last.strip_prefix("workflow.run.").unwrap_or_default() {
            "started" => index == 0,
            "step.started" => {
                let place: Option<usize> = step.strip_prefix('s').and_then(|place| place.parse().ok());
                let needs = place.and_then(|place| place.checked_sub(LANES)).map(|place| format!("s{place}"));
                needs.is_none_or(|needs| ended.contains(&needs)) && started.insert(step.to_owned())
            }
            "step.output" | "step.progress" => started.contains(step) && !ended.contains(step),
            "step.completed" => started.contains(step) && ended.insert(step.to_owned()),
            _ => true,
        };
        if !fits || message["seq"] != index as u64 + 1 {
            return false;
        }
    }
    last == "workflow.run.completed" && ended.len() == steps
}

fn parsed(answer: &str) -> Result<Value, String> {
    serde_json::from_str(answer).map_err(|error| format!("an answer that is no JSON: {error}"))
}

fn text(answer: &Value, name: &str) -> Result<String, String> {
    answer[name].as_str().map(str::to_owned).ok_or_else(|| format!("an answer without {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(of: &[(&str, usize)]) -> Vec<Value> {
        let message = |(index, (what, step)): (usize, &(&str, usize))| json!({"type": format!("workflow.run.{what}"), "seq": index + 1, "data": {"stepId": format!("s{step}")}});
        of.iter().enumerate().map(message).collect()
    }

    #[test]
    fn a_step_follows_what_it_needs_and_a_run_its_steps() {
        let lane = [("started", 9), ("step.started", 0), ("step.output", 0), ("step.completed", 0)];
        let next = [("step.started", LANES), ("step.completed", LANES), ("completed", 9)];
        let whole = [lane.as_slice(), &next].concat();
        assert!(follow(&messages(&whole), 2));
        assert!(!follow(&messages(&whole), 3), "a step is missing");
        assert!(!follow(&messages(&whole[..6]), 2), "the run has no end");
        let early = [&lane[..3], &next[..1], &lane[3..], &next[1..]].concat();
        assert!(!follow(&messages(&early), 2), "it did not wait for what it needs");
        assert!(!follow(&messages(&whole)[1..], 2), "a message is missing");
    }

    #[test]
    fn each_step_but_those_of_the_first_row_needs_another() {
        let definition: Value = serde_json::from_str(&definition(LANES + 1)).expect("JSON");
        assert!(definition["steps"]["s0"]["needs"].is_null());
        assert_eq!(definition["steps"][format!("s{LANES}")]["needs"], "s0");
    }
}
