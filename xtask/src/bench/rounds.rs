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

/// What a peer's figures come to beside ours: ours, over the median of the ratios of the rounds. The two of a
/// round were measured one right after the other, those of different rounds were not.
pub(super) fn beside(own: &[Figures], peer: &[Figures]) -> Figures {
    let mut ratios: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (own, peer) in own.iter().zip(peer) {
        for (name, figure) in own {
            if let Some(other) = peer.get(name).filter(|other| **other > 0.0) {
                ratios.entry(name.clone()).or_default().push(figure / other);
            }
        }
    }
    let ours = together(own.to_vec());
    let figure = |(name, ratios): (String, Vec<f64>)| Some((name.clone(), ours.get(&name)? / median(ratios)));
    ratios.into_iter().filter_map(figure).collect()
}

fn one(name: &str, figures: Vec<f64>) -> f64 {
    let wrong = name == "unanswered" || WRONGS.iter().any(|wrong| name.ends_with(wrong));
    if wrong { figures.into_iter().fold(0.0, f64::max) } else { median(figures) }
}

/// Of an even number, which only a failed round makes, the larger.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
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
    fn a_peer_is_compared_within_its_round() {
        let (own, peer) =
            ([round(6.0, 0.0), round(12.0, 0.0), round(9.0, 0.0)], [5.0, 10.0, 5.0].map(|cpu| round(cpu, 0.0)));
        // 1.2, 1.2 and 1.8 times: of the medians it would be 9.0 over 5.0.
        assert_eq!(beside(&own, &peer)["delivery_cpu_us"], 9.0 / 1.2);
        assert!(beside(&own, &[]).is_empty());
    }

    #[test]
    fn no_round_gives_no_figure_and_one_gives_its_own() {
        assert!(together(Vec::new()).is_empty());
        assert_eq!(together(vec![round(5.0, 1.0)]), round(5.0, 1.0));
    }
}
