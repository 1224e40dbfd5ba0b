//! Numbers, order, time, and sends as units.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tidings_core::{Code, Timestamp};

use super::{ALL, Case, MINUTE, Make, ephemeral, name, numbers, said, seqs, text, texts, with_id};

pub(super) async fn cases(make: Make<'_>) {
    numbers_are_given_in_the_order_of_the_sends(make).await;
    concurrent_senders_leave_no_hole_and_announcements_come_in_order(make).await;
    a_send_is_one_unit_over_its_channels(make).await;
    a_bad_send_fails_alone(make).await;
    ephemeral_messages_pass_through_in_their_place(make).await;
    time_never_goes_back(make).await;
    a_message_reads_back_as_it_was_announced(make).await;
}

async fn numbers_are_given_in_the_order_of_the_sends(make: Make<'_>) {
    let case = Case::new(make);
    let log = case.log();
    let mut receipts = Vec::new();
    for n in 0..200 {
        let slot = log.reserve(64).await.expect("room");
        receipts.push(slot.send(vec![said(if n % 2 == 0 { "test:even" } else { "test:odd" }, &n.to_string())]));
    }
    for (n, receipt) in (0..).zip(receipts) {
        let placed = receipt.await.expect("durable");
        assert_eq!(seqs(&placed), [Some(n / 2 + 1)]);
        assert_eq!(placed[0].position.as_ref().expect("a position").epoch, log.epoch());
    }
    let odd = case.kept("test:odd").await;
    assert_eq!(texts(&odd.messages), (0..100).map(|n| (n * 2 + 1).to_string()).collect::<Vec<_>>());
    assert_eq!((odd.first, odd.head), (1, 100));
    assert_eq!(numbers(&odd.messages), (1..=100).collect::<Vec<_>>());
    case.end().await;
}

async fn concurrent_senders_leave_no_hole_and_announcements_come_in_order(make: Make<'_>) {
    let case = Case::new(make);
    let sender = |from: u64| {
        let case = &case;
        async move {
            for n in 0..50 {
                let channel = format!("test:{}", (from + n) % 5);
                case.send(vec![said(&channel, &format!("{from}/{n}"))]).await.expect("durable");
            }
        }
    };
    join_all((0..20).map(sender)).await;
    let heard = case.sink.messages();
    assert_eq!(heard.len(), 1000, "what has a receipt was announced");
    assert!(heard.is_sorted_by(|a, b| a.global < b.global), "the whole log rises");
    let mut heads = BTreeMap::new();
    for committed in &heard {
        let head = heads.entry(committed.message.channel.clone()).or_insert(0);
        *head += 1;
        assert_eq!(committed.message.seq, Some(*head), "announced in order, without a hole");
    }
    for (channel, head) in heads {
        let page = case.kept(channel.as_str()).await;
        assert_eq!(page.head, head);
        assert_eq!(texts(&page.messages), texts(&case.sink.of(&channel)));
    }
    case.end().await;
}

async fn a_send_is_one_unit_over_its_channels(make: Make<'_>) {
    let case = Case::new(make);
    let send = vec![said("test:a", "1"), said("test:b", "2"), said("test:a", "3")];
    let placed = case.send(send).await.expect("durable");
    assert_eq!(seqs(&placed), [Some(1), Some(1), Some(2)]);
    assert_eq!(placed[1].channel, name("test:b"));
    let heard: Vec<String> = case.sink.messages().iter().map(|committed| text(&committed.message)).collect();
    assert_eq!(heard, ["1", "2", "3"]);
    assert_eq!(case.send(Vec::new()).await.expect("nothing is durable at once"), []);
    case.end().await;
}

async fn a_bad_send_fails_alone(make: Make<'_>) {
    let case = Case::new(make);
    case.send(vec![with_id(said("test:a", "first"), "k")]).await.expect("durable");
    let log = case.log();
    let mut receipts = Vec::new();
    for send in [
        vec![said("test:a", "before")],
        vec![said("test:a", "lost"), said("test:new", "lost"), with_id(said("test:a", "another body"), "k")],
        vec![said("test:a", "after"), said("test:b", "after")],
        vec![with_id(said("test:a", "x"), "twice"), with_id(said("test:a", "y"), "twice")],
        vec![said("test:a", "last")],
    ] {
        receipts.push(log.reserve(64).await.expect("room").send(send));
    }
    let answers = join_all(receipts).await;
    let codes: Vec<Option<Code>> = answers.iter().map(|answer| answer.as_ref().err().map(|e| e.code())).collect();
    assert_eq!(codes, [None, Some(Code::Conflict), None, Some(Code::Conflict), None]);
    let page = case.kept("test:a").await;
    assert_eq!(texts(&page.messages), ["first", "before", "after", "last"]);
    assert_eq!(numbers(&page.messages), [1, 2, 3, 4]);
    assert!(log.facts(&name("test:new")).await.expect("reads").is_none(), "a failed send opens nothing");
    assert_eq!(case.sink.messages().len(), 5, "nothing of a failed send is announced");
    assert!(log.status().healthy);
    case.end().await;
}

async fn ephemeral_messages_pass_through_in_their_place(make: Make<'_>) {
    let case = Case::new(make);
    case.publish("test:a", &["1"]).await;
    let send = vec![said("test:a", "2"), ephemeral(said("test:a", "delta")), said("test:a", "3")];
    assert_eq!(seqs(&case.send(send).await.expect("durable")), [Some(2), None, Some(3)]);
    let only = case.send(vec![ephemeral(said("test:b", "typing"))]).await.expect("passed on");
    assert_eq!((only[0].channel.as_str(), &only[0].position), ("test:b", &None));
    let heard = case.sink.messages();
    let order: Vec<_> = heard.iter().map(|c| (text(&c.message), c.message.seq, c.global - heard[0].global)).collect();
    let expected = [("1", Some(1), 0), ("2", Some(2), 1), ("delta", None, 1), ("3", Some(3), 2), ("typing", None, 2)];
    assert_eq!(order, expected.map(|(text, seq, global)| (text.to_owned(), seq, global)));
    assert_eq!(texts(&case.kept("test:a").await.messages), ["1", "2", "3"]);
    assert!(case.log().facts(&name("test:b")).await.expect("reads").is_none(), "nothing of it is kept");
    case.end().await;
}

async fn time_never_goes_back(make: Make<'_>) {
    let mut case = Case::new(make);
    case.publish("test:a", &["1"]).await;
    case.clock.advance(MINUTE);
    case.publish("test:a", &["2"]).await;
    case.clock.leap_to(Timestamp(1_000));
    case.publish("test:b", &["3"]).await;
    case.send(vec![ephemeral(said("test:b", "4"))]).await.expect("passed on");
    let times: Vec<i64> = case.sink.messages().iter().map(|committed| committed.message.time.0).collect();
    assert_eq!(times[1] - times[0], 60_000);
    assert_eq!(times[1..], [times[1]; 3]);
    case.restart().await;
    case.publish("test:a", &["5"]).await;
    assert_eq!(case.sink.messages()[0].message.time.0, times[1], "not through a restart either");
    assert_eq!(case.kept("test:b").await.messages[0].time.0, times[1]);
    case.end().await;
}

async fn a_message_reads_back_as_it_was_announced(make: Make<'_>) {
    let mut case = Case::new(make);
    let mut publication = with_id(said("test:a", "grüße \u{1f600} \"quoted\""), "key-1");
    publication.event.by = Some("u1".parse().expect("an id"));
    case.send(vec![publication, said("test:a", "plain")]).await.expect("durable");
    let announced: Vec<String> = case.sink.messages().iter().map(|c| c.message.to_json(0)).collect();
    case.restart().await;
    let read: Vec<String> = case.read("test:a", ALL).await.messages.iter().map(|m| m.to_json(0)).collect();
    assert_eq!(read, announced);
    assert!(read[0].contains(r#""by":{"userId":"u1"},"id":"key-1""#));
    case.end().await;
}
