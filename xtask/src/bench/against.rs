//! Two programs held against each other: the same works on both, round by round, and what each row comes to.
//!
//! Guarantees: a round of one is followed by a round of the other, and who begins changes; a row is worse only
//! by what is beyond the spread of the rounds themselves and the tolerance.
//! Targets and peers are not judged here: the table does.

use std::collections::BTreeMap;

use super::{
    Figures, Found, Task,
    machine::Machine,
    plan::{self, Work},
    rows,
    server::Kind,
    table::{self, Row},
};
use crate::{outside::Programs, step::Outcome};

/// So much worse may be by chance that no round shows.
const TOLERANCE: f64 = 0.05;

const HEADINGS: [&str; 7] = ["work", "figure", "before", "after", "ratio", "spread", ""];

/// The two programs.
pub(super) struct Sides<'a> {
    pub(super) before: &'a Programs,
    pub(super) after: &'a Programs,
}

/// How a row went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Same,
    Better,
    Worse,
}

/// One row of both.
#[derive(Debug)]
struct Compared {
    work: &'static str,
    what: String,
    before: f64,
    after: f64,
    /// The median of the ratios inside the rounds; none where a figure can be nothing.
    ratio: Option<f64>,
    /// How far the rounds of one program lie from their middle, of the program with the larger one.
    spread: f64,
    verdict: Verdict,
}

/// Does the works on both, and prints what came of it.
pub(super) fn run(works: &[Work], sides: &Sides<'_>, machine: &Machine, asked: (Option<usize>, bool)) -> Outcome {
    let (rounds, quick) = asked;
    let (mut compared, mut failed) = (Vec::new(), 0);
    for work in works {
        let count = rounds.unwrap_or(if quick { 1 } else { plan::rounds_against(*work) }).max(1);
        let task = Task { work: *work, kind: Kind::Tidings, quick };
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for round in 0..count {
            match both(&task, sides, machine, round % 2 == 1) {
                Ok(pair) => {
                    before.push(pair.0);
                    after.push(pair.1);
                }
                // A run is long: one round must not take away the figures of the others.
                Err(failure) => {
                    println!("{work} FAILED: {failure}");
                    failed += 1;
                }
            }
        }
        compared.extend(compare(*work, &before, &after));
    }
    println!("\n{}\n", machine.description());
    println!("{}", text(&compared));
    let worse = compared.iter().filter(|row| row.verdict == Verdict::Worse).count();
    if failed > 0 {
        return Err(format!("{failed} rounds could not be done"));
    }
    if quick {
        println!("a quick run: the figures mean nothing");
    } else if worse > 0 {
        return Err(format!("{worse} rows are worse"));
    }
    Ok(())
}

/// One round: the figures of both, measured one after the other. What warms up or drifts must not always meet
/// the same one, so that sometimes the one that came after is the first.
fn both(task: &Task, sides: &Sides<'_>, machine: &Machine, swapped: bool) -> Result<(Figures, Figures), String> {
    if swapped {
        let after = super::measure(task, sides.after, machine)?;
        return Ok((super::measure(task, sides.before, machine)?, after));
    }
    let before = super::measure(task, sides.before, machine)?;
    Ok((before, super::measure(task, sides.after, machine)?))
}

/// The rows of a work, of which every round of both has a figure.
fn compare(work: Work, before: &[Figures], after: &[Figures]) -> Vec<Compared> {
    let of = |rounds: &[Figures]| -> Vec<Vec<Row>> { rounds.iter().map(|figures| rows_of(work, figures)).collect() };
    let (before, after) = (of(before), of(after));
    let count = before.first().map_or(0, Vec::len);
    let column =
        |rounds: &[Vec<Row>], at: usize| rounds.iter().map(|rows| rows[at].own()).collect::<Option<Vec<f64>>>();
    (0..count).filter_map(|at| Some(one(&before[0][at], &column(&before, at)?, &column(&after, at)?))).collect()
}

fn rows_of(work: Work, figures: &Figures) -> Vec<Row> {
    let all = BTreeMap::from([((work, Kind::Tidings), figures.clone())]);
    rows::of(&Found { all, ..Found::default() })
}

fn one(row: &Row, before: &[f64], after: &[f64]) -> Compared {
    let spread = spread(before).max(spread(after));
    let positive = before.iter().chain(after).all(|figure| *figure > 0.0);
    let ratios = before.iter().zip(after).map(|(before, after)| after / before);
    let ratio = positive.then(|| median(ratios.collect()));
    let factor = ratio.map_or(1.0, |ratio| if row.is_better_larger() { ratio.recip() } else { ratio });
    let most = |figures: &[f64]| figures.iter().copied().fold(0.0, f64::max);
    let worse = if row.must_be_nothing() {
        // One is too many, however often there was none.
        most(after) > most(before)
    } else {
        factor > 1.0 + TOLERANCE + spread
    };
    let verdict = if worse {
        Verdict::Worse
    } else if factor < 1.0 - TOLERANCE - spread {
        Verdict::Better
    } else {
        Verdict::Same
    };
    let (before, after) = (median(before.to_vec()), median(after.to_vec()));
    Compared { work: row.work(), what: row.what().to_owned(), before, after, ratio, spread, verdict }
}

/// Half of what the largest is above the smallest, as a part of the median; none of what can be nothing.
fn spread(figures: &[f64]) -> f64 {
    let (least, most) =
        figures.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), figure| (a.min(*figure), b.max(*figure)));
    let middle = median(figures.to_vec());
    if middle > 0.0 { (most - least) / 2.0 / middle } else { 0.0 }
}

/// Of an even number the mean of the two in the middle.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    let half = figures.len() / 2;
    if figures.len().is_multiple_of(2) { f64::midpoint(figures[half - 1], figures[half]) } else { figures[half] }
}

fn text(rows: &[Compared]) -> String {
    let cells = |row: &Compared| {
        let verdict = match row.verdict {
            Verdict::Same => "",
            Verdict::Better => "better",
            Verdict::Worse => "WORSE",
        };
        [
            row.work.to_owned(),
            row.what.clone(),
            table::figure(Some(row.before)),
            table::figure(Some(row.after)),
            row.ratio.map(|ratio| format!("{ratio:.3}")).unwrap_or_default(),
            row.ratio.map(|_| format!("{:.1} %", row.spread * 100.0)).unwrap_or_default(),
            verdict.to_owned(),
        ]
    };
    let all: Vec<_> = std::iter::once(HEADINGS.map(str::to_owned)).chain(rows.iter().map(cells)).collect();
    table::aligned(&all, 2..6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(name: &str, figures: &[f64]) -> Vec<Figures> {
        figures.iter().map(|figure| Figures::from([(name.to_owned(), *figure)])).collect()
    }

    fn verdict(work: Work, name: &str, before: &[f64], after: &[f64]) -> Verdict {
        let compared = compare(work, &rounds(name, before), &rounds(name, after));
        assert_eq!(compared.len(), 1, "{compared:?}");
        compared[0].verdict
    }

    #[test]
    fn a_row_is_worse_by_what_is_beyond_tolerance_and_spread() {
        let calm = [10.0, 10.0, 10.0];
        let of = |after: &[f64]| verdict(Work::Paced, "delivery_cpu_us", &calm, after);
        assert_eq!(of(&[10.4, 10.4, 10.4]), Verdict::Same);
        assert_eq!(of(&[10.6, 10.6, 10.6]), Verdict::Worse);
        assert_eq!(of(&[9.4, 9.4, 9.4]), Verdict::Better);
        assert_eq!(of(&[9.8, 10.6, 11.6]), Verdict::Same, "its own rounds differ by more");
    }

    #[test]
    fn of_what_should_be_large_less_is_worse() {
        let of = |after: f64| verdict(Work::Burst, "deliveries_per_s", &[1e6], &[after]);
        assert_eq!((of(0.9e6), of(1.1e6)), (Verdict::Worse, Verdict::Better));
    }

    #[test]
    fn the_ratio_is_taken_inside_the_rounds() {
        // The machine was slower in the second: of the medians it would be 12 over 10.
        let (before, after) = (rounds("p50_ms", &[10.0, 20.0, 10.0]), rounds("p50_ms", &[12.0, 20.0, 10.0]));
        let compared = compare(Work::Paced, &before, &after);
        assert_eq!(compared[0].ratio, Some(1.0));
    }

    #[test]
    fn one_lost_message_in_one_round_is_worse_and_what_can_be_nothing_has_no_ratio() {
        let of = |lost: [f64; 3]| {
            let names = rows::WRONGS;
            let round = |lost: f64| names.iter().map(|name| ((*name).to_owned(), lost)).collect::<Figures>();
            lost.map(round).to_vec()
        };
        let compared = compare(Work::Paced, &of([0.0; 3]), &of([0.0, 1.0, 0.0]));
        assert_eq!((compared[0].verdict, compared[0].ratio), (Verdict::Worse, None));
        assert_eq!(compare(Work::Paced, &of([0.0; 3]), &of([0.0; 3]))[0].verdict, Verdict::Same);
        assert_eq!(verdict(Work::Idle, "idle_cpu_percent", &[0.0], &[0.1]), Verdict::Same);
    }

    #[test]
    fn a_figure_that_a_round_lacks_is_not_compared() {
        assert!(compare(Work::Paced, &rounds("p50_ms", &[1.0]), &rounds("p99_ms", &[1.0])).is_empty());
        assert!(text(&compare(Work::Paced, &rounds("p50_ms", &[1.0]), &rounds("p50_ms", &[2.0]))).contains("WORSE"));
    }
}
