//! Several rounds of a work on one server, as one set of figures.
//!
//! Guarantees: a figure is the median of its rounds, so that one slow moment of the machine decides
//! nothing; a count of what may not happen is the worst of them, so that no round hides anything.
//! It does not choose how many rounds there are: the plan does.

use std::collections::BTreeMap;

use super::{Figures, rows::WRONGS};

/// The figures of all rounds together.
pub(super) fn together(rounds: Vec<Figures>) -> Figures {
    let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (name, figure) in rounds.into_iter().flatten() {
        all.entry(name).or_default().push(figure);
    }
    all.into_iter().map(|(name, figures)| (name.clone(), one(&name, figures))).collect()
}

fn one(name: &str, mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    let wrong = name == "unanswered" || WRONGS.iter().any(|wrong| name.ends_with(wrong));
    // Of an even number, which only a failed round makes, the larger.
    let index = if wrong { figures.len() - 1 } else { figures.len() / 2 };
    figures[index]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(cpu: f64, lost: f64) -> Figures {
        [("delivery_cpu_us".to_owned(), cpu), ("stalled_lost".to_owned(), lost)].into()
    }

    #[test]
    fn the_median_counts_but_of_what_was_lost_the_worst() {
        let all = together(vec![round(5.0, 0.0), round(9.0, 3.0), round(6.0, 0.0)]);
        assert_eq!(all, round(6.0, 3.0));
    }

    #[test]
    fn no_round_gives_no_figure_and_one_gives_its_own() {
        assert!(together(Vec::new()).is_empty());
        assert_eq!(together(vec![round(5.0, 1.0)]), round(5.0, 1.0));
    }
}
