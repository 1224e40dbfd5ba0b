//! The table: rows of figures, for a terminal and for a document.
//!
//! Guarantees: both forms say the same; a target that is not kept cannot be overlooked.
//! What a row is about stands in [`super::rows`].

use super::plan::Peer;

const HEADINGS: [&str; 11] =
    ["work", "figure", "Tidings", "floor", "socketioxide", "Node", "ratio", "must", "", "aim", "how far"];
/// The columns that hold figures: they stand to the right.
const FIGURES: std::ops::Range<usize> = 2..7;

/// What a figure is compared with.
#[derive(Debug, Clone)]
pub(crate) struct Measure {
    name: &'static str,
    figure: Option<f64>,
}

/// A bound, and how it is written.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    text: &'static str,
    bound: Option<f64>,
    at_least: bool,
}

/// One row.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    work: &'static str,
    what: String,
    own: Option<f64>,
    peers: [Option<f64>; 3],
    measure: Option<Measure>,
    must: Option<Target>,
    aim: Option<Target>,
}

impl Measure {
    pub(crate) fn new(name: &'static str, figure: Option<f64>) -> Self {
        Self { name, figure }
    }
}

impl Target {
    /// At most this; without a bound, what it depends on was not measured.
    pub(crate) fn most(text: &'static str, bound: Option<f64>) -> Self {
        Self { text, bound, at_least: false }
    }

    /// At least this.
    pub(crate) fn least(text: &'static str, bound: Option<f64>) -> Self {
        Self { text, bound, at_least: true }
    }

    /// Whether it says that there must be none, which holds for works of any size.
    fn is_nothing(&self) -> bool {
        self.text == "0"
    }

    /// Whether it is kept; none if that is not known.
    fn is_kept(&self, figure: Option<f64>) -> Option<bool> {
        let (figure, bound) = (figure?, self.bound?);
        Some(if self.at_least { figure >= bound } else { figure <= bound })
    }

    fn shown(&self) -> String {
        if self.is_nothing() {
            return self.text.to_owned();
        }
        format!("{} {}", if self.at_least { ">=" } else { "<=" }, self.text)
    }

    /// How far a figure is from it.
    fn distance(&self, figure: Option<f64>) -> String {
        match (self.is_kept(figure), figure, self.bound) {
            (Some(true), ..) => "reached".to_owned(),
            (Some(false), Some(figure), Some(bound)) => {
                format!("{:.2} x away", if self.at_least { bound / figure } else { figure / bound })
            }
            _ => "not measured".to_owned(),
        }
    }
}

impl Row {
    /// The columns of the peers, in their order.
    pub(crate) const PEERS: [Peer; 3] = [Peer::Floor, Peer::Socketioxide, Peer::Node];

    pub(crate) fn new(work: &'static str, what: &str, own: Option<f64>, peers: [Option<f64>; 3]) -> Self {
        Self { work, what: what.to_owned(), own, peers, measure: None, must: None, aim: None }
    }

    pub(crate) fn against(self, measure: Measure) -> Self {
        Self { measure: Some(measure), ..self }
    }

    pub(crate) fn must(self, target: Target) -> Self {
        Self { must: Some(target), ..self }
    }

    pub(crate) fn aim(self, target: Target) -> Self {
        Self { aim: Some(target), ..self }
    }

    /// The row without targets that only mean something for a work in full.
    pub(crate) fn in_small(self) -> Self {
        Self { measure: None, must: self.must.filter(Target::is_nothing), aim: None, ..self }
    }

    /// Whether it has a target that must be kept, and it is not.
    pub(crate) fn is_missed(&self) -> bool {
        self.must.as_ref().and_then(|must| must.is_kept(self.own)) == Some(false)
    }

    pub(crate) fn work(&self) -> &'static str {
        self.work
    }

    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    pub(crate) fn own(&self) -> Option<f64> {
        self.own
    }

    /// Whether a target says that there may be none of it.
    pub(crate) fn must_be_nothing(&self) -> bool {
        self.must.as_ref().is_some_and(Target::is_nothing)
    }

    /// Whether a target says so: what is better larger has one.
    pub(crate) fn is_better_larger(&self) -> bool {
        self.must.iter().chain(&self.aim).any(|target| target.at_least)
    }

    #[cfg(test)]
    pub(crate) fn has_to(&self) -> bool {
        self.must.is_some()
    }

    fn cells(&self) -> [String; 11] {
        let ratio = self.measure.as_ref().and_then(|measure| {
            let ratio = self.own? / measure.figure.filter(|figure| *figure > 0.0)?;
            Some(format!("{ratio:.2} x {}", measure.name))
        });
        let verdict = self.must.as_ref().map(|must| match must.is_kept(self.own) {
            Some(true) => "kept",
            Some(false) => "MISSED",
            None => "not measured",
        });
        [
            self.work.to_owned(),
            self.what.clone(),
            figure(self.own),
            figure(self.peers[0]),
            figure(self.peers[1]),
            figure(self.peers[2]),
            ratio.unwrap_or_default(),
            self.must.as_ref().map(Target::shown).unwrap_or_default(),
            verdict.unwrap_or_default().to_owned(),
            self.aim.as_ref().map(Target::shown).unwrap_or_default(),
            self.aim.as_ref().map(|aim| aim.distance(self.own)).unwrap_or_default(),
        ]
    }
}

/// A figure with three digits that mean something, and commas in large ones.
pub(crate) fn figure(figure: Option<f64>) -> String {
    let Some(figure) = figure else { return String::new() };
    let size = figure.abs();
    if figure.fract() == 0.0 || size >= 100.0 {
        return grouped(figure);
    }
    let decimals = if size >= 10.0 { 1 } else { 2 };
    format!("{figure:.decimals$}")
}

fn grouped(figure: f64) -> String {
    let digits = format!("{:.0}", figure.abs());
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if figure < 0.0 && digits != "0" { format!("-{out}") } else { out }
}

/// The table for a terminal, and below it what is missed.
pub(crate) fn text(rows: &[Row]) -> String {
    let cells: Vec<[String; 11]> =
        std::iter::once(HEADINGS.map(str::to_owned)).chain(rows.iter().map(Row::cells)).collect();
    format!("{}\n\n{}", aligned(&cells, FIGURES), summary(rows))
}

/// Lines of cells as columns; those of figures stand to the right.
pub(crate) fn aligned<const N: usize>(cells: &[[String; N]], figures: std::ops::Range<usize>) -> String {
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let line = |row: &[String; N]| {
        let padded = row.iter().enumerate().map(|(column, cell)| {
            let width = width(column);
            if figures.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    cells.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The same as Markdown.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let rule: Vec<&str> = (0..HEADINGS.len()).map(|at| if FIGURES.contains(&at) { "---:" } else { "---" }).collect();
    let mut lines = vec![line(&HEADINGS.map(str::to_owned)), format!("|{}|", rule.join("|"))];
    for row in rows {
        let mut cells = row.cells();
        if row.is_missed() {
            cells[8] = format!("**{}**", cells[8]);
        }
        lines.push(line(&cells));
    }
    format!("{}\n\n{}\n", lines.join("\n"), summary(rows))
}

fn summary(rows: &[Row]) -> String {
    let judged = |row: &&Row| row.must.as_ref().is_some_and(|must| must.is_kept(row.own).is_some());
    let (judged, missed) = (rows.iter().filter(judged).count(), rows.iter().filter(|row| row.is_missed()).count());
    format!("{} of {judged} targets that must be kept are kept; {missed} are missed.", judged - missed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(own: f64) -> Row {
        Row::new("burst", "deliveries a second", Some(own), [None, None, Some(100_000.0)])
            .against(Measure::new("Node", Some(100_000.0)))
            .must(Target::least("25 x Node", Some(2.5e6)))
            .aim(Target::least("3,000,000", Some(3e6)))
    }

    #[test]
    fn both_forms_say_what_is_kept_and_how_far_the_aim_is() {
        for (own, verdict, far) in
            [(2.6e6, "kept", "1.15 x away"), (1e6, "MISSED", "3.00 x away"), (3e6, "kept", "reached")]
        {
            for shown in [text(&[row(own)]), markdown(&[row(own)])] {
                assert!(shown.contains(verdict) && shown.contains(far), "{shown}");
                assert!(shown.contains(">= 25 x Node"), "{shown}");
            }
        }
        assert!(text(&[row(2.6e6)]).ends_with("1 of 1 targets that must be kept are kept; 0 are missed."));
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        let row = Row::new("paced", "p99", Some(1.0), [None; 3]).must(Target::most("socketioxide", None));
        assert!(!row.is_missed());
        assert!(text(&[row]).contains("not measured"));
    }

    #[test]
    fn figures_are_short_and_readable() {
        let shown = [0.0, 0.284, 5.02, 44.25, 585_443.2, 3_000_000.0, -0.4, -1234.0].map(|one| figure(Some(one)));
        assert_eq!(shown, ["0", "0.28", "5.02", "44.2", "585,443", "3,000,000", "-0.40", "-1,234"]);
        assert_eq!(figure(None), "");
    }
}
