//! That every event of the services is documented, and every documented one is there.
//!
//! Guarantees: each event type of a contract has its row in docs/PROTOCOL.md, and says there whether it is ephemeral.
//! Whether what is said of the fields is true is for the tests of each domain.

use std::collections::BTreeMap;

use tidings_services::{
    project::contract::{MEMBER_REMOVED, MEMBER_SET, REGISTERED, REMOVED},
    session::contract::EVENTS,
};

/// The event types in the tables of the document, and whether each is said to be ephemeral.
fn documented() -> BTreeMap<String, bool> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/PROTOCOL.md");
    let text = std::fs::read_to_string(path).expect("the document");
    let tables = text.split("\n| event | data, ").skip(1);
    let rows = tables.flat_map(|table| table.lines().skip(1).take_while(|line| line.starts_with('|')).skip(1));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    cells.filter_map(|cell| Some((cell.split('`').nth(1)?.to_owned(), cell.contains("(ephemeral)")))).collect()
}

#[test]
fn every_event_type_has_its_row_in_the_document_and_says_what_it_tells() {
    let of_projects = [REGISTERED, MEMBER_SET, MEMBER_REMOVED, REMOVED];
    let mut there: BTreeMap<String, bool> = of_projects.iter().map(|&name| (name.to_owned(), false)).collect();
    for row in EVENTS {
        assert!(row.doc.ends_with('.'), "{} says what it tells", row.event_type);
        there.insert(row.event_type.to_owned(), !row.durable);
    }
    assert_eq!(documented(), there);
}
