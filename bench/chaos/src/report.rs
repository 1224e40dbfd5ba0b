//! The outcomes as text and as Markdown.
//!
//! Guarantees: a bad outcome is never shown as a good one, and its first faults stand below it.
//! It decides nothing: the outcome does.

use std::fmt::Write;

use crate::outcome::Outcome;

/// One line, and below it what else there is to tell.
#[must_use]
pub fn text(seed: u64, outcome: &Outcome) -> String {
    let fault = outcome.fault;
    if let Some(why) = &outcome.skipped {
        return format!("seed {seed} {fault}: SKIPPED: {why}");
    }
    let (tally, verdict) = (&outcome.tally, if outcome.is_good() { "ok" } else { "FAILED" });
    let mut text = format!(
        "seed {seed} {fault}: {verdict}: clients={} published={} acknowledged={} expected={} seen={} holes={} doubles={} \
         disorders={} strangers={} unanswered={} broken={} told={} answered={} reconnects={} peak_mb={:.0} after_mb={:.0} \
         time_s={:.1}",
        outcome.clients,
        outcome.published,
        outcome.acknowledged,
        tally.expected,
        tally.seen,
        tally.holes,
        tally.doubles,
        tally.disorders,
        tally.strangers,
        tally.unanswered,
        tally.broken,
        tally.told,
        tally.answered,
        tally.reconnects,
        outcome.peak / 1e6,
        outcome.after / 1e6,
        outcome.time.as_secs_f64(),
    );
    for fact in &outcome.facts {
        // Writing into a String cannot fail.
        let _infallible = write!(text, "\n    {fact}");
    }
    for note in &tally.notes {
        let _infallible = write!(text, "\n  ! {note}");
    }
    text
}

/// A table of all outcomes.
#[must_use]
pub fn markdown(outcomes: &[(u64, Outcome)]) -> String {
    let mut table = String::from(
        "| seed | fault | clients | acknowledged | deliveries | seen | holes, doubles, disorders, strangers | unanswered | told gaps | \
         reconnects | time |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (seed, outcome) in outcomes {
        let (fault, tally) = (outcome.fault, &outcome.tally);
        let _infallible = match &outcome.skipped {
            Some(why) => writeln!(table, "| {seed} | {fault} | skipped: {why} |"),
            None => writeln!(
                table,
                "| {seed} | {fault}{} | {} | {} | {} | {} | {} | {} | {} | {} | {:.0} s |",
                if outcome.is_good() { "" } else { " **failed**" },
                outcome.clients,
                outcome.acknowledged,
                tally.expected,
                tally.seen,
                tally.holes + tally.doubles + tally.disorders + tally.strangers,
                tally.unanswered + tally.broken,
                tally.told,
                tally.reconnects,
                outcome.time.as_secs_f64(),
            ),
        };
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Tally;

    #[test]
    fn a_bad_outcome_is_shown_with_its_faults() {
        let mut outcome = Outcome { fault: "jitter", clients: 3, ..Outcome::default() };
        assert!(text(7, &outcome).starts_with("seed 7 jitter: ok: clients=3"));
        outcome.tally = Tally { holes: 1, notes: vec!["2 came after 0".to_owned()], ..Tally::default() };
        let bad = text(7, &outcome);
        assert!(bad.contains("FAILED") && bad.contains("holes=1") && bad.contains("2 came after 0"), "{bad}");
        assert!(markdown(&[(7, outcome)]).contains("| 7 | jitter **failed** | 3 |"));
    }

    #[test]
    fn what_was_skipped_says_so() {
        let outcome = Outcome::skipped("disk", "no root".to_owned());
        assert_eq!(text(1, &outcome), "seed 1 disk: SKIPPED: no root");
        assert!(markdown(&[(1, outcome)]).contains("| 1 | disk | skipped: no root |"));
    }
}
