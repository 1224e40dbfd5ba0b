//! History: pages forward and backward, filtered by type, bounded in number and bytes.

use serde_json::json;
use tidings_core::{Code, Event, Seq, bus::EventBus, handler::Retention, principal::Role};
use tidings_testkit::MemoryConfig;

use super::{super::History, super::HistoryQuery, code};
use crate::house::{House, Things, channel, event, of_role, pattern, somebody};

fn query(after: Option<Seq>, before: Option<Seq>, limit: usize, types: &[&str]) -> HistoryQuery {
    HistoryQuery { after, before, limit, types: types.iter().map(|text| pattern(text)).collect() }
}

async fn ask(house: &House, query: HistoryQuery) -> History {
    house.gate.history(&of_role("a", Role::Admin), &channel("thing:1"), query).await.expect("a page")
}

fn seqs(history: &History) -> Vec<Seq> {
    history.events.iter().filter_map(|message| message.seq).collect()
}

/// A channel of so many messages, every tenth of which is a `thing.made`.
async fn filled(house: &House, many: u64) {
    for n in 1..=many {
        let event_type = if n % 10 == 0 { "thing.made" } else { "thing.said" };
        house.bus.emit(event(event_type, "1", n)).await.expect("room").await.expect("durable");
    }
}

#[tokio::test]
async fn pages_go_forward_and_backward_and_say_whether_more_follow() {
    let house = House::new(Things::default());
    filled(&house, 25).await;
    let table = [
        (query(None, None, 10, &[]), (1, 10), true),
        (query(Some(10), None, 10, &[]), (11, 20), true),
        (query(Some(20), None, 10, &[]), (21, 25), false),
        (query(Some(15), None, 10, &[]), (16, 25), false),
        (query(Some(25), None, 10, &[]), (1, 0), false),
        (query(None, Some(26), 10, &[]), (16, 25), true),
        (query(None, Some(16), 10, &[]), (6, 15), true),
        (query(None, Some(6), 10, &[]), (1, 5), false),
        (query(None, Some(11), 10, &[]), (1, 10), false),
        (query(None, Some(1), 10, &[]), (1, 0), false),
        (query(Some(3), Some(8), 10, &[]), (4, 7), false),
        (query(Some(3), Some(8), 2, &[]), (4, 5), true),
    ];
    for (asked, (from, to), more) in table {
        let shown = format!("{asked:?}");
        let page = ask(&house, asked).await;
        assert_eq!((seqs(&page), page.more), ((from..=to).collect(), more), "{shown}");
        assert_eq!((page.first, page.head), (1, 25), "{shown}");
    }
    house.stop().await;
}

#[tokio::test]
async fn a_filter_by_type_fills_its_pages_from_further_away() {
    let house = House::new(Things::default());
    filled(&house, 1000).await;
    let made = &["thing.made"];
    let table = [
        (query(None, None, 3, made), vec![10, 20, 30], true),
        (query(Some(970), None, 5, made), vec![980, 990, 1000], false),
        (query(None, Some(1001), 3, made), vec![980, 990, 1000], true),
        (query(None, Some(31), 5, made), vec![10, 20, 30], false),
        (query(None, None, 100, made), (1..=100).map(|n| n * 10).collect(), false),
        (query(None, None, 100, &["thing.ticked", "other.*"]), vec![], false),
        (query(Some(988), None, 3, &["thing.ticked", "*.said"]), vec![989, 991, 992], true),
    ];
    for (asked, expected, more) in table {
        let shown = format!("{asked:?}");
        let page = ask(&house, asked).await;
        assert_eq!((seqs(&page), page.more), (expected, more), "{shown}");
    }
    house.stop().await;
}

#[tokio::test]
async fn a_page_ends_by_its_bytes_and_the_next_one_goes_on_without_a_hole() {
    let house = House::new(Things::default());
    for n in 1..=30 {
        let data = json!({"id": "1", "n": n, "text": "x".repeat(400_000)});
        house.bus.emit(Event::new("thing.said", data)).await.expect("room").await.expect("durable");
    }
    // Reading goes on in parts of 4 MiB until there is that much, so that a page has less than two parts.
    let (mut after, mut pages, mut all) = (None, 0, Vec::new());
    loop {
        let page = ask(&house, query(after, None, 1000, &[])).await;
        let bytes: usize = page.events.iter().map(|message| message.payload.json().len()).sum();
        assert!(bytes <= 4 * 1024 * 1024 + 256 * 1024, "{bytes} bytes in one page");
        all.extend(seqs(&page));
        (after, pages) = (page.next, pages + 1);
        assert_eq!(page.next.is_some(), page.more, "where to go on is told with `more`");
        if !page.more {
            break;
        }
    }
    assert_eq!(all, (1..=30).collect::<Vec<_>>());
    assert!(pages >= 2, "{pages} pages for 12 MB");
    house.stop().await;
}

#[tokio::test]
async fn what_was_trimmed_is_not_there_and_the_page_says_where_it_begins() {
    let keep = Retention { messages: 10, bytes: 0, age_ms: 0 };
    let config = MemoryConfig { retention: std::sync::Arc::new(move |_| keep), ..MemoryConfig::default() };
    let house = House::with(Things::default(), config);
    filled(&house, 25).await;
    let forward = ask(&house, query(None, None, 5, &[])).await;
    assert_eq!((seqs(&forward), forward.first, forward.more), ((16..=20).collect(), 16, true));
    let backward = ask(&house, query(None, Some(21), 5, &[])).await;
    assert_eq!((seqs(&backward), backward.more), ((16..=20).collect(), false));
    let unknown =
        house.gate.history(&of_role("a", Role::Admin), &channel("thing:404"), query(None, None, 5, &[])).await;
    let unknown = unknown.expect("an unknown channel is an empty one");
    assert_eq!((unknown.events.len(), unknown.head, unknown.more), (0, 0, false));
    house.stop().await;
}

#[tokio::test]
async fn history_needs_the_right_to_read_and_a_limit_of_1_to_1000() {
    let house = House::new(Things::default());
    filled(&house, 3).await;
    let asked = |who, limit| {
        let house = &house;
        async move { house.gate.history(&who, &channel("thing:1"), query(None, None, limit, &[])).await }
    };
    assert_eq!(code(asked(somebody("u", &["thing:1=publish,command"]), 10).await), Some(Code::Forbidden));
    for limit in [0, 1001] {
        assert_eq!(code(asked(somebody("u", &["thing:1=subscribe"]), limit).await), Some(Code::BadRequest));
    }
    assert_eq!(asked(somebody("u", &["thing:1=subscribe"]), 1000).await.expect("a page").events.len(), 3);
    house.stop().await;
}
