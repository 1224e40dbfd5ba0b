//! Outputs: what a step gives to the steps that need it, and how much that may be.
//!
//! Guarantees: outputs are whole, or there are none: what goes beyond a bound fails its step and says which bound it
//! was. The bounds count bytes of names and values, as they are told and kept: with secrets taken out.
//! It is not where outputs come from.

use std::collections::BTreeMap;

/// What a step gives, by name.
pub(super) type Outputs = BTreeMap<String, String>;

/// The most outputs of a step.
pub(super) const MOST: usize = 64;
/// The most bytes of all outputs of a step.
pub(super) const STEP_BYTES: usize = 256 * 1024;
/// The most bytes of all outputs of a run: its state keeps them, and a run that repeats it is told of them at once.
pub(super) const RUN_BYTES: usize = 1024 * 1024;

/// The code of a step whose outputs cannot be taken.
pub(super) const INVALID: &str = "outputs_invalid";

/// How many bytes outputs are.
pub(super) fn bytes(outputs: &Outputs) -> usize {
    outputs.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// Whether a step may give these.
///
/// # Errors
/// Why not.
pub(super) fn of_step(outputs: &Outputs) -> Result<(), String> {
    let bytes = bytes(outputs);
    match outputs.len() {
        count if count > MOST => Err(format!("a step has at most {MOST} outputs, and this one {count}")),
        _ if bytes > STEP_BYTES => {
            Err(format!("the outputs of a step are at most 256 KiB together, and those of this one {bytes} bytes"))
        }
        _ => Ok(()),
    }
}

/// Whether a run may hold these beside what it holds already. None are always taken: a run of an older server may hold
/// more than one of this.
///
/// # Errors
/// Why not.
pub(super) fn of_run<'a>(held: impl IntoIterator<Item = &'a Outputs>, outputs: &Outputs) -> Result<(), String> {
    let (held, more) = (held.into_iter().map(bytes).sum::<usize>(), bytes(outputs));
    if outputs.is_empty() || held + more <= RUN_BYTES {
        return Ok(());
    }
    Err(format!("the outputs of a run are at most 1 MiB together: it holds {held} bytes, and these are {more} more"))
}

/// Whether a run may begin with what another one gave.
///
/// # Errors
/// Why not.
pub(super) fn kept<'a>(held: impl IntoIterator<Item = &'a Outputs>) -> Result<(), String> {
    match held.into_iter().map(bytes).sum::<usize>() {
        held if held > RUN_BYTES => {
            Err(format!("would keep {held} bytes of outputs, and a run has at most 1 MiB: begin with an earlier step"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(count: usize, bytes: usize) -> Outputs {
        // Names of four bytes.
        (0..count).map(|n| (format!("n{n:03}"), "x".repeat(bytes))).collect()
    }

    #[test]
    fn outputs_are_taken_up_to_each_bound_and_the_first_byte_beyond_it_is_refused_by_name() {
        assert_eq!(of_step(&outputs(1, STEP_BYTES - 4)), Ok(()));
        assert!(of_step(&outputs(1, STEP_BYTES - 3)).expect_err("beyond").contains("256 KiB"));
        assert_eq!(of_step(&outputs(MOST, 1)), Ok(()));
        assert!(of_step(&outputs(MOST + 1, 1)).expect_err("beyond").contains("64"));
        let held = vec![outputs(1, STEP_BYTES - 4); 3];
        assert_eq!(of_run(&held, &outputs(1, STEP_BYTES - 4)), Ok(()));
        assert!(of_run(&held, &outputs(1, STEP_BYTES - 3)).expect_err("beyond").contains("1 MiB"));
        let many = vec![outputs(1, STEP_BYTES - 4); 5];
        assert_eq!(of_run(&many, &Outputs::new()), Ok(()), "what gives nothing adds nothing");
        assert_eq!(kept(&many[..4]), Ok(()));
        assert!(kept(&many).expect_err("beyond").contains("1 MiB"));
    }
}
