//! Progress: a plan as the agents write it.
//!
//! Guarantees: what is done is counted, and never more than there is; at most [`STEPS`] parts.
//! It is not what an agent does: a plan says what it means to do.

use serde_json::Value;

use super::{
    super::contract::{
        SessionId,
        agent::{PlanStep, Progress, StepStatus},
    },
    Step, bounds,
};

/// The most parts of a plan.
const STEPS: usize = 1_000;

/// The plan that a list of objects is, with the text of each under the key `text`; none where it is no list.
/// A part is done by its `status`, or by `completed`.
pub(super) fn progress(session_id: &SessionId, items: &Value, text: &str) -> Option<Step> {
    let step = |item: &Value| {
        let status = match (item["status"].as_str(), item["completed"].as_bool()) {
            (Some("completed"), _) | (None, Some(true)) => StepStatus::Completed,
            (Some("in_progress"), _) => StepStatus::InProgress,
            _ => StepStatus::Pending,
        };
        Some(PlanStep { text: bounds::name(&item[text])?, status })
    };
    let steps: Vec<PlanStep> = items.as_array()?.iter().take(STEPS).filter_map(step).collect();
    let done = steps.iter().filter(|step| step.status == StepStatus::Completed).count();
    let (current, total) = (done as u64, steps.len() as u64);
    Some(Step::Progress(Progress { session_id: session_id.clone(), current, total, steps }))
}
