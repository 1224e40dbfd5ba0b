//! The scheduler over random graphs, outcomes, stops and cancels.
//!
//! Guarantees: everything is played through the events and the fold, as in a real run.
//! They are not the tests of steps: here, nothing is run.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidings_core::{Event, Message, Timestamp, UserId, projection::Reducer};

use super::super::{
    contract::{CANCELLED, COMPLETED, FAILED, RunId, RunStarted, RunStatus, STARTED, STEP_STARTED, StepStarted},
    definition::{Bounds, read},
    expression::Budget,
    plan::{Plan, Prepared},
    scheduler::{interrupted, next},
    state::{RunReducer, RunState, StepStatus},
    telling::{Outcome, Teller},
};

/// What a random step is.
#[derive(Debug, Clone)]
struct Drawn {
    needs: Vec<usize>,
    condition: usize,
    retries: u32,
    on_server_stop: bool,
    tolerated: bool,
    approval: bool,
    instances: usize,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let needs = prop::collection::vec(0_usize..12, 0..4);
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.2));
    (needs, 0_usize..6, 0_u32..3, flags, 1_usize..4).prop_map(|(needs, condition, retries, flags, instances)| {
        let (on_server_stop, tolerated, approval) = flags;
        Drawn { needs, condition, retries, on_server_stop, tolerated, approval, instances }
    })
}

fn text(steps: &[Drawn], concurrency: usize) -> String {
    let mut text = format!("concurrency: {concurrency}\nsteps:\n");
    for (place, step) in steps.iter().enumerate() {
        let needs: BTreeSet<usize> = step.needs.iter().copied().filter(|need| *need < place).collect();
        let needs: Vec<String> = needs.iter().map(|need| format!("s{need}")).collect();
        text += &format!("  s{place}:\n    needs: [{}]\n    continueOnError: {}\n", needs.join(","), step.tolerated);
        let condition = match (step.condition, needs.first()) {
            (1, Some(first)) => Some(format!("steps.{first}.status != 'failed'")),
            (2, _) => Some("failure".to_owned()),
            (3, _) => Some("1 == 1".to_owned()),
            (4, _) => Some("1 // 0 == 1".to_owned()),
            _ => None,
        };
        text += &condition.map_or_else(String::new, |condition| format!("    if: \"{condition}\"\n"));
        if step.approval {
            text += "    approval: {message: go on?}\n";
        } else {
            text += "    command: [x]\n";
            text += &format!(
                "    retries: {{max: {}, backoff: 1ms, onServerStop: {}}}\n",
                step.retries, step.on_server_stop
            );
        }
        if step.instances > 1 {
            let values: Vec<String> = (0..step.instances).map(|value| value.to_string()).collect();
            text += &format!("    matrix: {{m: [{}]}}\n", values.join(","));
        }
    }
    text
}

/// What happens next, by chance.
#[derive(Debug, Clone, Copy)]
enum Chance {
    Completes(usize),
    Fails(usize),
    TheServerDies,
    SomebodyCancels,
    TimePasses,
}

fn chance() -> impl Strategy<Value = Chance> {
    prop_oneof![
        10 => (0_usize..64).prop_map(Chance::Completes),
        5 => (0_usize..64).prop_map(Chance::Fails),
        1 => Just(Chance::TheServerDies),
        1 => Just(Chance::SomebodyCancels),
        3 => Just(Chance::TimePasses),
    ]
}

struct Game {
    id: RunId,
    plan: Plan,
    state: RunState,
    now: Timestamp,
    log: Vec<Event>,
}

impl Game {
    fn new(text: &str) -> Self {
        let definition =
            read(text, Bounds { bytes: 0, steps: 0, expanded: 0 }).unwrap_or_else(|flaws| panic!("{flaws:?}\n{text}"));
        let id = RunId::random();
        let plan = Plan::new(definition, 5);
        let started = RunStarted {
            run_id: id.clone(),
            project_id: "p".parse().expect("an id"),
            title: "t".into(),
            definition: text.into(),
            file: None,
            inputs: BTreeMap::new(),
            rerun_of: None,
            steps: plan.shapes(),
            board: None,
        };
        let mut game = Self { id, plan, state: RunState::default(), now: Timestamp(1), log: Vec::new() };
        let user: UserId = "u".parse().expect("an id");
        game.tell(Event::new(STARTED, started).by(Some(user)));
        assert!(game.plan.fits(&game.state));
        game
    }

    fn tell(&mut self, event: Event) {
        let seq = self.log.len() as u64 + 1;
        let channel = "workflow:run:x".parse().expect("a channel");
        RunReducer::apply(&mut self.state, &Message::new(channel, Some(seq), self.now, event.clone()));
        self.log.push(event);
    }

    fn teller(&self) -> Teller<'_> {
        Teller { id: &self.id, plan: &self.plan, state: &self.state, now: self.now }
    }

    /// Does everything that follows. Says whether the run is over.
    fn settle(&mut self) -> bool {
        let round = next(&self.plan, &self.state, self.now);
        for decision in round.decisions {
            let event = self.teller().decided(decision);
            self.tell(event);
        }
        if !round.status.is_open() {
            let over = self.teller().over(round.status);
            self.tell(over);
            return true;
        }
        for place in round.starts {
            for need in self.plan.needs(place).collect::<Vec<_>>() {
                assert!(self.state.steps[need].status.has_ended(), "a step begins after what it needs");
            }
            let prepared = self.plan.prepare(&self.state, place).expect("has its values");
            let event = self.teller().started(place);
            self.tell(event);
            if let Prepared::Approval { message } = prepared {
                let event = self.teller().waiting(place, message);
                self.tell(event);
            }
        }
        let running = self.state.steps.iter().filter(|step| step.status == StepStatus::Running).count();
        assert!(running <= self.plan.concurrency, "no more than may");
        let again = next(&self.plan, &self.state, self.now);
        assert!(again.decisions.is_empty() && again.starts.is_empty(), "nothing more follows: {again:?}");
        false
    }

    fn happens(&mut self, chance: Chance) {
        let steps = self.state.steps.iter().enumerate();
        let open: Vec<usize> = steps.filter(|(_, step)| step.status.is_under_way()).map(|(place, _)| place).collect();
        let cancelling = self.state.status == RunStatus::Cancelling;
        let outcome = match chance {
            _ if cancelling => Outcome::Cancelled,
            Chance::Fails(_) => Outcome::failed("exit_code", "no"),
            _ => Outcome::Completed { outputs: BTreeMap::new(), progress: Default::default() },
        };
        match chance {
            Chance::Completes(pick) | Chance::Fails(pick) if !open.is_empty() => {
                let event = self.teller().ended(open[pick % open.len()], outcome.into(), None);
                self.tell(event);
            }
            Chance::TheServerDies => {
                for place in interrupted(&self.plan, &self.state) {
                    let event = self.teller().ended(place, Outcome::server_stopped().into(), None);
                    self.tell(event);
                }
            }
            Chance::SomebodyCancels if !cancelling => {
                let event = self.teller().updated(RunStatus::Cancelling, true);
                self.tell(event);
            }
            _ => self.now = self.now.plus_ms(100),
        }
    }

    /// How many there are of a type, by step and attempt.
    fn count(&self, is: impl Fn(&str) -> bool) -> BTreeMap<(String, u64), usize> {
        let mut count = BTreeMap::new();
        for event in self.log.iter().filter(|event| is(event.event_type.as_str())) {
            let data: serde_json::Value = serde_json::from_str(event.payload.json()).expect("JSON");
            let attempt = data["attempt"].as_u64().unwrap_or(0);
            *count.entry((data["stepId"].as_str().expect("an id").to_owned(), attempt)).or_default() += 1;
        }
        count
    }
}

fn is_end(event_type: &str) -> bool {
    ["completed", "failed", "skipped", "cancelled"]
        .iter()
        .any(|end| event_type.strip_prefix("workflow.run.step.") == Some(*end))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_a_run_ends_once_and_each_attempt_too(
        steps in prop::collection::vec(drawn(), 1..12),
        concurrency in 1_usize..6,
        chances in prop::collection::vec(chance(), 0..200),
    ) {
        let mut game = Game::new(&text(&steps, concurrency));
        let mut over = game.settle();
        let mut chances = chances.into_iter();
        for turn in 0..2_000 {
            if over {
                break;
            }
            // When chance has run out, everything completes and time passes.
            let calm = if turn % 2 == 0 { Chance::Completes(0) } else { Chance::TimePasses };
            game.happens(chances.next().unwrap_or(calm));
            game.now = game.now.plus_ms(1);
            over = game.settle();
        }
        prop_assert!(over, "it ends: {:?}", game.state.steps.iter().map(|step| step.status).collect::<Vec<_>>());
        let ends = game.log.iter().filter(|event| [COMPLETED, FAILED, CANCELLED].contains(&event.event_type.as_str()));
        prop_assert_eq!(ends.count(), 1);
        let started = game.count(|event_type| event_type == STEP_STARTED);
        let ended = game.count(is_end);
        prop_assert!(started.values().chain(ended.values()).all(|count| *count == 1), "{:?} {:?}", started, ended);
        prop_assert!(started.keys().all(|attempt| ended.contains_key(attempt)));
        prop_assert!(ended.keys().all(|end| end.1 == 0 || started.contains_key(end)));
        prop_assert!(game.state.steps.iter().all(|step| step.status.has_ended()));
        let failed = game.state.steps.iter().enumerate().any(|(place, step)| game.plan.has_failed(place, step.status));
        let cancelled = game.log.iter().any(|event| event.event_type.as_str() == CANCELLED);
        let expected = match (cancelled, failed) {
            (true, _) => RunStatus::Cancelled,
            (false, true) => RunStatus::Failed,
            (false, false) => RunStatus::Completed,
        };
        prop_assert_eq!(game.state.status, expected);
    }

    #[test]
    fn a_step_runs_again_only_as_often_as_its_definition_says(
        steps in prop::collection::vec(drawn(), 1..8),
        chances in prop::collection::vec(chance(), 50..200),
    ) {
        let mut game = Game::new(&text(&steps, 3));
        for chance in chances {
            if game.settle() {
                break;
            }
            game.happens(chance);
        }
        for event in game.log.iter().filter(|event| event.event_type.as_str() == STEP_STARTED) {
            let event = event.payload.typed::<StepStarted>().expect("its type");
            let place = game.state.steps.iter().position(|step| step.step_id == event.step_id).expect("a step");
            prop_assert!(event.attempt <= game.plan.step(place).retries.max + 1);
        }
        for (place, step) in game.state.steps.iter().enumerate() {
            let stopped = step.error.as_ref().is_some_and(|error| error.code == "server_stopped");
            if stopped && step.status == StepStatus::Pending {
                prop_assert!(game.plan.step(place).retries.on_server_stop);
            }
        }
    }

    #[test]
    fn a_saved_state_and_the_rest_is_the_same_as_folding_everything(
        steps in prop::collection::vec(drawn(), 1..6),
        chances in prop::collection::vec(chance(), 0..40),
        cut in 0_usize..60,
    ) {
        let mut game = Game::new(&text(&steps, 3));
        for chance in chances {
            if game.settle() {
                break;
            }
            game.happens(chance);
        }
        let mut state = RunState::default();
        for (place, event) in game.log.iter().enumerate() {
            if place == cut {
                state = serde_json::from_str(&serde_json::to_string(&state).expect("saves")).expect("restores");
            }
            let message = Message::new("workflow:run:x".parse().expect("a channel"), Some(1), Timestamp(1), event.clone());
            RunReducer::apply(&mut state, &message);
        }
        let shown = |state: &RunState| state.steps.iter().map(|step| (step.status, step.attempt)).collect::<Vec<_>>();
        prop_assert_eq!(shown(&state), shown(&game.state));
        prop_assert_eq!(state.status, game.state.status);
    }
}

#[test]
fn a_condition_is_evaluated_once_when_what_it_can_name_has_ended() {
    let text = "inputs: {go: true}\nsteps:\n  a: {if: inputs.go, command: [x]}\n  b: {needs: a, command: [x]}\n";
    let plan = Plan::new(read(text, Bounds { bytes: 0, steps: 0, expanded: 0 }).expect("a definition"), 5);
    let seen = |go: bool| {
        let mut state = RunState::default();
        state.inputs.insert("go".to_owned(), go.into());
        state
    };
    let pending = |_: usize| StepStatus::Pending;
    let condition = |state: &RunState, place| plan.condition(state, place, &pending, &mut Budget::default());
    let none = condition(&RunState::default(), 0).expect("a condition").expect_err("no value yet");
    assert!(none.contains("names 'inputs.go', which has no value"), "{none}");
    assert_eq!(condition(&seen(false), 0), Some(Ok(false)));
    assert_eq!(condition(&seen(true), 0), Some(Ok(false)), "it is remembered");
    assert_eq!(condition(&seen(true), 1), None);
}

#[test]
fn conditions_that_are_much_to_evaluate_are_decided_in_several_looks() {
    let condition = vec!["'z' in inputs.long"; 40].join(" or ");
    let text = format!(
        "inputs: {{long: }}\nsteps:\n  a: {{matrix: {{n: [{}]}}, if: \"{condition}\", command: [x]}}\n",
        (0..200).map(|n| n.to_string()).collect::<Vec<_>>().join(",")
    );
    let mut game = Game::new(&text);
    game.state.inputs.insert("long".to_owned(), "x".repeat(64 << 10).as_str().into());
    let (mut looks, mut decided) = (0, 0);
    loop {
        let round = next(&game.plan, &game.state, game.now);
        looks += 1;
        decided += round.decisions.len();
        assert!(!round.decisions.is_empty(), "each look comes further");
        for decision in round.decisions {
            let event = game.teller().decided(decision);
            game.tell(event);
        }
        if !round.more {
            break;
        }
        assert!(round.status.is_open() && round.starts.is_empty());
    }
    // Each takes some 2,760 operations, and a look as many of them as come to 100,000.
    assert_eq!((looks, decided), (6, 200));
}
