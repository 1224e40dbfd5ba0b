//! What a work found, for people and for programs.
//!
//! Guarantees: every figure has one name, with its unit in it, in both forms.
//! It judges nothing: what is good enough stands with whoever asked.

use std::fmt;

use serde_json::{Map, Value, json};

/// The figures of one work.
#[derive(Debug, Default)]
pub struct Report {
    work: String,
    figures: Vec<(String, f64)>,
    problems: Vec<String>,
}

impl Report {
    /// An empty report on a work.
    #[must_use]
    pub fn new(work: &str) -> Self {
        Self { work: work.to_owned(), ..Self::default() }
    }

    /// Adds a figure.
    pub fn add(&mut self, name: &str, figure: f64) {
        self.figures.push((name.to_owned(), figure));
    }

    /// Adds something that people should know, if there is something.
    pub fn note(&mut self, problem: Option<&String>) {
        self.problems.extend(problem.cloned());
    }

    /// The report as one object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let number = |figure: f64| serde_json::Number::from_f64(figure).map_or(Value::Null, Value::Number);
        let figures: Map<String, Value> =
            self.figures.iter().map(|(name, figure)| (name.clone(), number(*figure))).collect();
        json!({ "work": self.work, "figures": figures, "problems": self.problems })
    }
}

/// One line.
impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:", self.work)?;
        for (name, figure) in &self.figures {
            match figure.abs() {
                _ if figure.fract() == 0.0 => write!(out, " {name}={figure:.0}")?,
                large if large >= 100.0 => write!(out, " {name}={figure:.0}")?,
                _ => write!(out, " {name}={figure:.3}")?,
            }
        }
        self.problems.iter().try_for_each(|problem| write!(out, " [{problem}]"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_stands_in_both_forms() {
        let mut report = Report::new("paced");
        report.add("delivered", 5000.0);
        report.add("p99_ms", 1.25);
        report.add("nothing", f64::NAN);
        report.note(Some(&"two left".to_owned()));
        assert!(report.to_string().starts_with("paced: delivered=5000 p99_ms=1.250"));
        let json = report.to_json();
        assert_eq!(json["figures"]["p99_ms"], 1.25);
        assert_eq!(json["figures"]["nothing"], Value::Null);
        assert_eq!(json["problems"][0], "two left");
    }
}
