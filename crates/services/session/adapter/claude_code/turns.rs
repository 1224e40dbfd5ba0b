//! The turns of Claude Code: what each used, and how it ended.
//!
//! Guarantees: usage is of the turn alone. What Claude Code tells as sums of its process (the cost,
//! and the figures of its models) is told as what was added; a sum that is smaller than before has
//! begun anew. A `success` that calls itself an error is one.
//! It is not the time that a turn took for those who watch: that is the run's.

use serde_json::{Value, json};

use super::{
    super::{
        super::contract::agent::{NO_RESULT, Outcome, TurnCompleted, TurnStatus, Usage},
        Step,
        bounds::{self, LastWord},
        open::Ending,
    },
    ClaudeCode,
};

/// Tokens: read, made, read from a cache, written to one.
type Tokens = [u64; 4];

/// What the process told of itself so far.
#[derive(Debug, Default)]
pub(super) struct Totals {
    tokens: Tokens,
    cost: f64,
}

impl Totals {
    /// What was added since the last time.
    fn add(&mut self, tokens: Tokens, cost: Option<f64>) -> (Tokens, Option<f64>) {
        let anew = tokens.iter().zip(self.tokens).any(|(now, before)| *now < before);
        let mut added = tokens;
        if !anew {
            added.iter_mut().zip(self.tokens).for_each(|(now, before)| *now -= before);
        }
        self.tokens = tokens;
        let added_cost = cost.map(|cost| if cost < self.cost { cost } else { cost - self.cost });
        self.cost = cost.unwrap_or(self.cost);
        (added, added_cost)
    }
}

impl ClaudeCode {
    pub(super) fn result(&mut self, line: &Value, steps: &mut Vec<Step>) {
        self.speech.finish_all(|parent| parent.is_none(), &mut self.open, steps);
        for denied in line["permission_denials"].as_array().into_iter().flatten() {
            if let Some(id) = bounds::id(&denied["tool_use_id"]) {
                self.open.complete(&id, &Ending::bare(Outcome::Blocked), false, steps);
            }
        }
        self.open.end_turn(steps);
        let open = &self.open;
        self.asking.withdraw(|asked, _| !asked.execution_id.as_ref().is_some_and(|id| open.is_open(id)), steps);
        self.questions.withdraw(|_, asked| !asked.is_of_open_call(open), steps);
        steps.extend(self.usage(line));
        let rest = ["structured_output", "deferred_tool_use"].map(|key| (key, &line[key]));
        for (key, value) in rest.into_iter().filter(|(_, value)| !value.is_null()) {
            steps.push(self.raw(&json!({ "type": "result", key: value })));
        }
        steps.push(self.turn_completed(line));
        (self.working, self.interrupted) = (false, false);
    }

    fn usage(&mut self, line: &Value) -> Option<Step> {
        let models = line["modelUsage"].as_object().filter(|models| !models.is_empty());
        let tokens = match models {
            Some(models) => models.values().map(of_model).fold([0; 4], sum),
            None => of_usage(&line["usage"]),
        };
        let cost = line["total_cost_usd"].as_f64().filter(|cost| cost.is_finite() && *cost >= 0.0);
        if models.is_none() && !line["usage"].is_object() && cost.is_none() {
            return None;
        }
        let ([input_tokens, output_tokens, cache_read_tokens, cache_write_tokens], cost_usd) =
            self.totals.add(tokens, cost);
        Some(Step::Usage(Usage {
            session_id: self.session_id.clone(),
            input_tokens,
            output_tokens,
            cache_read_tokens,
            cache_write_tokens,
            cost_usd,
        }))
    }

    fn turn_completed(&self, line: &Value) -> Step {
        let subtype = bounds::name(&line["subtype"]);
        let succeeded = subtype.as_deref() == Some("success");
        let status = match (succeeded, line["is_error"].as_bool() == Some(true)) {
            (true, false) => TurnStatus::Success,
            _ if self.interrupted => TurnStatus::Cancelled,
            _ => TurnStatus::Error,
        };
        let reason = if succeeded && status == TurnStatus::Error {
            let code = &line["api_error_status"];
            bounds::name(code)
                .or_else(|| code.as_u64().map(|code| code.to_string()))
                .or_else(|| Some("is_error".to_owned()))
        } else {
            subtype.filter(|_| !succeeded)
        };
        let errors = line["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let errors = errors.collect::<Vec<_>>().join("\n");
        let result = line["result"].as_str().filter(|result| !result.is_empty()).unwrap_or(&errors);
        let (result, truncated) = LastWord::told((!result.is_empty()).then(|| LastWord::of(result, false)));
        Step::TurnCompleted(TurnCompleted {
            session_id: self.session_id.clone(),
            status,
            reason,
            result,
            truncated,
            duration_ms: line["duration_ms"].as_u64(),
        })
    }

    /// The end of a turn that the agent never told.
    pub(super) fn no_result(&mut self) -> Step {
        let status = if self.interrupted { TurnStatus::Cancelled } else { TurnStatus::Error };
        (self.working, self.interrupted) = (false, false);
        Step::TurnCompleted(TurnCompleted {
            session_id: self.session_id.clone(),
            status,
            reason: Some(NO_RESULT.to_owned()),
            result: None,
            truncated: false,
            duration_ms: None,
        })
    }
}

fn sum(mut sum: Tokens, tokens: Tokens) -> Tokens {
    sum.iter_mut().zip(tokens).for_each(|(sum, more)| *sum = sum.saturating_add(more));
    sum
}

fn of_usage(usage: &Value) -> Tokens {
    ["input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"]
        .map(|key| usage[key].as_u64().unwrap_or(0))
}

fn of_model(usage: &Value) -> Tokens {
    ["inputTokens", "outputTokens", "cacheReadInputTokens", "cacheCreationInputTokens"]
        .map(|key| usage[key].as_u64().unwrap_or(0))
}
