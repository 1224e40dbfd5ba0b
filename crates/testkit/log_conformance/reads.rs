//! Pages of a channel, and the feed of the whole log.

use tidings_core::{Seq, log::Read};

use super::{ALL, Case, Make, name, numbers, said};

type Expected = &'static [Seq];

pub(super) async fn cases(make: Make<'_>) {
    a_page_is_the_asked_part_of_the_range(make).await;
    a_page_ends_at_its_bytes_but_has_one_message(make).await;
    an_unknown_channel_is_an_empty_one(make).await;
    the_feed_has_every_message_in_the_order_of_the_log(make).await;
}

async fn a_page_is_the_asked_part_of_the_range(make: Make<'_>) {
    let case = Case::new(make);
    for n in 1..=10 {
        case.publish("test:a", &[&n.to_string()]).await;
        case.publish("test:b", &["between"]).await;
    }
    let table: [(Seq, Option<Seq>, usize, bool, Expected); 14] = [
        (0, None, 3, false, &[1, 2, 3]),
        (0, None, 3, true, &[8, 9, 10]),
        (4, None, 100, false, &[5, 6, 7, 8, 9, 10]),
        (4, Some(7), 100, false, &[5, 6]),
        (4, Some(7), 100, true, &[5, 6]),
        (4, Some(9), 2, false, &[5, 6]),
        (4, Some(9), 2, true, &[7, 8]),
        (0, Some(3), 100, true, &[1, 2]),
        (10, None, 100, false, &[]),
        (Seq::MAX, None, 100, false, &[]),
        (0, Some(Seq::MAX), 2, true, &[9, 10]),
        (0, Some(0), 100, false, &[]),
        (7, Some(3), 100, false, &[]),
        (0, None, 0, false, &[]),
    ];
    for (after, before, limit, newest, expected) in table {
        let page = case.read("test:a", Read { after, before, limit, max_bytes: usize::MAX, newest }).await;
        assert_eq!(numbers(&page.messages), expected, "after {after} before {before:?} limit {limit} newest {newest}");
        assert_eq!((page.first, page.head), (1, 10));
    }
    case.end().await;
}

async fn a_page_ends_at_its_bytes_but_has_one_message(make: Make<'_>) {
    let case = Case::new(make);
    let hundred = "x".repeat(100 - r#"{"text":""}"#.len());
    case.publish("test:a", &[hundred.as_str(); 6]).await;
    for (max_bytes, newest, expected) in [
        (250, false, vec![1, 2]),
        (250, true, vec![5, 6]),
        (300, false, vec![1, 2, 3]),
        (1, false, vec![1]),
        (0, true, vec![6]),
    ] {
        let page = case.read("test:a", Read { max_bytes, newest, ..ALL }).await;
        assert_eq!(numbers(&page.messages), expected, "{max_bytes} bytes, newest {newest}");
    }
    case.end().await;
}

async fn an_unknown_channel_is_an_empty_one(make: Make<'_>) {
    let case = Case::new(make);
    let page = case.kept("test:unknown").await;
    assert_eq!((page.messages.len(), page.first, page.head), (0, 1, 0));
    assert!(case.log().facts(&name("test:unknown")).await.expect("reads").is_none());
    assert!(case.log().feed(0, 10).await.expect("reads").is_empty());
    case.end().await;
}

async fn the_feed_has_every_message_in_the_order_of_the_log(make: Make<'_>) {
    let mut case = Case::new(make);
    for n in 0..30 {
        let channel = format!("test:{}", n % 3);
        let send = vec![said(&channel, &n.to_string()), said("test:all", &n.to_string())];
        case.send(send).await.expect("durable");
    }
    let announced: Vec<(u64, String)> = case.sink.messages().iter().map(|c| (c.global, c.message.to_json(0))).collect();
    case.restart().await;
    let mut read = Vec::new();
    let mut after = 0;
    loop {
        let page = case.log().feed(after, 7).await.expect("reads");
        assert!(page.len() <= 7);
        let Some(last) = page.last() else { break };
        after = last.global;
        read.extend(page.iter().map(|c| (c.global, c.message.to_json(0))));
    }
    assert_eq!(read, announced);
    case.publish("test:all", &["after the restart"]).await;
    let fed = case.log().feed(after, 7).await.expect("reads");
    assert_eq!(fed.len(), 1);
    assert_eq!(fed[0].global, case.sink.messages()[0].global);
    case.end().await;
}
