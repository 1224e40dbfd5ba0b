//! Workflows against the real binary: real programs, a played agent, and a server that is killed.
//!
//! Guarantees: every program that is started here has ended with its test. Moments are counted in messages,
//! not in time, and drawn from a fixed seed.
//! They are not the tests of the scheduler, which play every course.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tidings_testkit::script;

use crate::{
    agents::agent,
    server::{Server, eventually},
};

/// How many runs go on at once. All of it: `WORKFLOW_TEST_RUNS=200 cargo test --test it workflows`.
const RUNS: &str = match option_env!("WORKFLOW_TEST_RUNS") {
    Some(runs) => runs,
    None => "20",
};

/// Ten steps and more, each of which writes down that it ran: branches, a retry, a timeout, a condition, an
/// approval, a matrix and an agent. `again` may be run again after a stop, and no other.
const STEPS: &str = r#"
concurrency: 6
env: {LINE: 'echo $WORKFLOW_STEP_ID $WORKFLOW_ATTEMPT >> ran'}
steps:
  first: {command: [sh, -c, 'eval "$LINE"; echo output v=1 >> $WORKFLOW_REPORT']}
  left: {needs: first, command: [sh, -c, 'eval "$LINE"; for n in $(seq 20); do echo line $n; done']}
  right: {needs: first, command: [sh, -c, 'eval "$LINE"; sleep 0.05; echo ${{ steps.first.outputs.v }}']}
  flaky:
    needs: left
    if: "true"
    command: [sh, -c, 'eval "$LINE"; test $WORKFLOW_ATTEMPT -ge 2']
    retries: {max: 1, backoff: 20ms}
  again:
    needs: first
    command: [sh, -c, 'eval "$LINE"; sleep 0.2']
    retries: {max: 3, backoff: 10ms, onServerStop: true}
  slow: {needs: right, if: "true", command: [sh, -c, 'eval "$LINE"; sleep 600 & sleep 600'], timeout: 100ms, continueOnError: true}
  each: {needs: first, if: "true", matrix: {m: [a, b, c]}, command: [sh, -c, 'eval "$LINE"; echo ${{ matrix.m }}']}
  none: {needs: first, if: 1 == 2, command: [sh, -c, 'eval "$LINE"']}
  ask: {needs: [flaky, each], if: "true", approval: {message: go on?}}
  review: {needs: first, if: "true", session: {agent: a, prompt: look}}
  last: {needs: [ask, slow, review, again], if: "true", command: [sh, -c, 'eval "$LINE"']}
"#;

/// A server with a project, and its own administrator, whom it still knows after a restart.
struct House {
    server: Server,
    token: String,
    project: String,
    root: tempfile::TempDir,
}

impl House {
    async fn open(config: &str) -> Self {
        let server = Server::start(config);
        let login = json!({"username": "admin", "password": server.password()});
        let token =
            server.post("/api/auth/login", "", login).await.json()["token"].as_str().expect("a token").to_owned();
        let root = tempfile::tempdir().expect("a directory");
        let made = server.post("/api/projects", &token, json!({"name": "one", "root": root.path()})).await;
        let project = made.json()["projectId"].as_str().expect("an id").to_owned();
        Self { server, token, project, root }
    }

    async fn start(&self, definition: &str) -> String {
        let body = json!({"projectId": self.project, "definition": definition});
        let started = self.server.post("/api/workflows/runs", &self.token, body).await;
        assert_eq!(started.status, 201, "{}", started.text());
        started.json()["runId"].as_str().expect("an id").to_owned()
    }

    async fn state(&self, id: &str) -> Value {
        self.server.get(&format!("/api/workflows/runs/{id}"), &self.token).await.json()
    }

    async fn history(&self, id: &str) -> Vec<Value> {
        let path = format!("/api/channels/workflow:run:{id}/events?after=0&limit=1000");
        self.server.get(&path, &self.token).await.json()["events"].as_array().expect("events").clone()
    }

    /// Says yes to whatever is asked, until the run has ended.
    async fn goes_on_to_its_end(&self, id: &str) -> Value {
        eventually("the end of the run", async || {
            let state = self.state(id).await;
            let steps = state["steps"].as_array().expect("steps").clone();
            for step in steps.iter().filter(|step| step["status"] == "waiting") {
                let path =
                    format!("/api/workflows/runs/{id}/steps/{}/approve", step["stepId"].as_str().expect("an id"));
                let answer = self.server.post(&path, &self.token, json!({"decision": "approved"})).await;
                assert!([200, 409].contains(&answer.status), "{}", answer.text());
            }
            !state["endedAt"].is_null()
        })
        .await;
        self.state(id).await
    }

    /// How often each step ran in each attempt, by its own account.
    fn ran(&self) -> BTreeMap<String, usize> {
        let text = std::fs::read_to_string(self.root.path().join("ran")).unwrap_or_default();
        let mut count = BTreeMap::new();
        text.lines().for_each(|line| *count.entry(line.to_owned()).or_default() += 1);
        count
    }
}

/// Every start has one end: of the run, and of each attempt of each step.
fn assert_closed(history: &[Value]) {
    let attempts = |ends: &[&str]| {
        let mut count: BTreeMap<(String, u64), usize> = BTreeMap::new();
        for event in history {
            let what = event["type"].as_str().and_then(|name| name.strip_prefix("workflow.run.step."));
            let attempt = event["data"]["attempt"].as_u64().unwrap_or(0);
            if attempt > 0 && what.is_some_and(|what| ends.contains(&what)) {
                *count.entry((event["data"]["stepId"].as_str().expect("an id").to_owned(), attempt)).or_default() += 1;
            }
        }
        assert!(count.values().all(|count| *count == 1), "{ends:?}: {count:?}");
        count
    };
    assert_eq!(attempts(&["started"]), attempts(&["completed", "failed", "cancelled"]));
    let over = ["workflow.run.completed", "workflow.run.failed", "workflow.run.cancelled"];
    let is_over = |event: &&Value| over.iter().any(|end| event["type"] == *end);
    assert_eq!(history.iter().filter(is_over).count(), 1);
    assert!(history.last().is_some_and(|last| is_over(&last)), "{:?}", history.last());
    assert!(history.iter().zip(1u64..).all(|(event, seq)| event["seq"] == seq));
}

/// The processes of a run that are there.
fn processes(id: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").expect("reads").filter_map(Result::ok);
    let of_run = entries.filter(|entry| {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(&format!("WORKFLOW_RUN_ID={id}"))
    });
    of_run.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn a_server_that_is_killed_at_any_moment_goes_on_with_its_runs_and_repeats_nothing() {
    let script = script::folder().join("gemini_turn.script");
    let mut house = House::open(&agent("a", "gemini", "close", &script, &[])).await;
    let mut dice = 0x9E37_79B9_u64;
    for round in 0..10 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = 1 + (dice >> 33) as usize % 48;
        std::fs::write(house.root.path().join("ran"), "").expect("writes");
        let id = house.start(STEPS).await;
        eventually("the moment", async || {
            let state = house.state(&id).await;
            // The last moments come after the question only.
            let asked = state["status"] == "waiting" || !state["endedAt"].is_null();
            asked || house.history(&id).await.len() >= moment
        })
        .await;
        house.server.kill();
        house.server.start_again();
        let state = house.goes_on_to_its_end(&id).await;
        let history = house.history(&id).await;
        assert_closed(&history);
        let ran = house.ran();
        assert!(ran.values().all(|count| *count == 1), "round {round}, moment {moment}: {ran:?}");
        for step in ran.keys().filter(|line| !line.starts_with("flaky ") && !line.starts_with("again ")) {
            assert!(step.ends_with(" 1"), "round {round}: {step} ran again");
        }
        let stopped = |step: &&Value| step["error"]["code"] == "server_stopped" && step["tolerated"] != true;
        let stopped = state["steps"].as_array().expect("steps").iter().filter(stopped).count();
        let expected = if stopped == 0 { "completed" } else { "failed" };
        assert_eq!(state["status"], expected, "round {round}, moment {moment}: {state}");
        // What was killed is gone as soon as the system has taken it away.
        eventually("nothing is left of it", async || processes(&id).is_empty()).await;
    }
}

#[tokio::test]
async fn a_run_stays_open_over_a_stop_in_order_and_its_question_is_asked_once() {
    let mut house = House::open("").await;
    let definition = r#"
steps:
  busy: {command: [sh, -c, 'echo up; exec sleep 600'], retries: {max: 1, backoff: 1ms, onServerStop: true}, timeout: 30s}
  ask: {approval: {message: well?}}
  after: {needs: ask, command: [echo, done]}
"#;
    let id = house.start(definition).await;
    let printed = async |attempt: u32| {
        let path = format!("/api/workflows/runs/{id}/steps/busy/output?attempt={attempt}");
        house.server.get(&path, &house.token).await.text() == "up\n"
    };
    eventually("the program", async || printed(1).await).await;
    house.server.stop();
    house.server.start_again();
    let printed = async || {
        let path = format!("/api/workflows/runs/{id}/steps/busy/output?attempt=2");
        house.server.get(&path, &house.token).await.text() == "up\n"
    };
    eventually("its second attempt", printed).await;
    let path = format!("/api/workflows/runs/{id}/steps/ask/approve");
    let answer = house.server.post(&path, &house.token, json!({"decision": "approved"})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    eventually("the step after it", async || house.state(&id).await["steps"][2]["status"] == "completed").await;
    let cancelled = house.server.post(&format!("/api/workflows/runs/{id}/cancel"), &house.token, json!({})).await;
    assert_eq!(cancelled.status, 202);
    let state = house.goes_on_to_its_end(&id).await;
    assert_eq!((&state["status"], &state["steps"][0]["attempt"]), (&json!("cancelled"), &json!(2)));
    let history = house.history(&id).await;
    assert_closed(&history);
    assert_eq!(history.iter().filter(|event| event["type"] == "workflow.run.step.waiting").count(), 1);
    eventually("nothing is left of it", async || processes(&id).is_empty()).await;
}

#[tokio::test]
async fn many_runs_at_once_complete_in_order_and_leave_no_memory_behind() {
    let house = House::open("[workflow]\nmax_per_user = 0\nmax_per_project = 0\nmax_total = 0\n").await;
    let quick = |n: usize| match n {
        0 => "  s0: {command: [echo, hello]}\n".to_owned(),
        n => format!("  s{n}: {{needs: s{}, command: [echo, hello]}}\n", (n - 1) / 2),
    };
    let definition = format!("steps:\n{}", (0..20).map(quick).collect::<String>());
    let runs: usize = RUNS.parse().expect("a number");
    let mut memory = Vec::new();
    for _ in 0..2 {
        let mut started = Vec::new();
        for _ in 0..runs {
            started.push(house.start(&definition).await);
        }
        for id in started {
            let state = house.goes_on_to_its_end(&id).await;
            assert_eq!(state["status"], "completed", "{state}");
            let history = house.history(&id).await;
            assert_closed(&history);
            let output: String = history.iter().filter_map(|event| event["data"]["content"].as_str()).collect();
            assert_eq!(output, "hello\n".repeat(20));
        }
        memory.push(house.server.memory());
    }
    assert!(memory[1] < memory[0] + (24 << 20), "memory grew: {memory:?}");
}

#[tokio::test]
async fn more_runs_than_may_be_open_are_refused_and_have_room_again() {
    let house = House::open("[workflow]\nmax_per_user = 1\nmax_steps = 2\n").await;
    let asks = "steps: {ask: {approval: {message: well?}}}";
    let id = house.start(asks).await;
    let body = json!({"projectId": house.project, "definition": asks});
    let refused = house.server.post("/api/workflows/runs", &house.token, body.clone()).await;
    assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("overloaded")), "{}", refused.text());
    let three =
        json!({"projectId": house.project, "definition": "steps: {a: {matrix: {x: [1, 2, 3]}, command: [ls]}}"});
    let refused = house.server.post("/api/workflows/runs", &house.token, three).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    house.goes_on_to_its_end(&id).await;
    eventually("room", async || {
        house.server.post("/api/workflows/runs", &house.token, body.clone()).await.status == 201
    })
    .await;
}
