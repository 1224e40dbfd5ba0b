//! The table's place in docs/BENCHMARKS.md.
//!
//! Guarantees: nothing but the lines between the two marks changes.
//! It does not judge the table.

use std::{fs, path::Path};

use crate::step::Outcome;

const BEGIN: &str = "<!-- bench:begin -->";
const END: &str = "<!-- bench:end -->";

/// Puts a block between the marks of a document.
pub(crate) fn write(place: &Path, block: &str) -> Outcome {
    let failed = |error: std::io::Error| format!("{}: {error}", place.display());
    let text = fs::read_to_string(place).map_err(failed)?;
    let replaced = replaced(&text, block).ok_or_else(|| format!("{} lacks {BEGIN} or {END}", place.display()))?;
    fs::write(place, replaced).map_err(failed)
}

fn replaced(text: &str, block: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", block.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let text = "# A\n\n<!-- bench:begin -->\nold\n<!-- bench:end -->\n\nend\n";
        let expected = "# A\n\n<!-- bench:begin -->\n\n| new |\n\n<!-- bench:end -->\n\nend\n";
        assert_eq!(replaced(text, "| new |\n").as_deref(), Some(expected));
        assert_eq!(replaced(expected, "| new |").as_deref(), Some(expected), "a second time is the same");
        assert_eq!(replaced("# no marks", "x"), None);
    }

    #[test]
    fn the_document_has_the_marks() {
        let text = fs::read_to_string(crate::step::workspace().join("docs/BENCHMARKS.md")).expect("the document");
        assert!(replaced(&text, "x").is_some());
    }
}
