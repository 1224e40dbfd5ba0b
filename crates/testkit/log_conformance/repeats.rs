//! Idempotency ids.

use futures_util::future::join_all;
use tidings_core::Code;

use super::{Case, DAY, MINUTE, Make, name, said, seqs, texts, with_id};

pub(super) async fn cases(make: Make<'_>) {
    a_repeat_gets_the_first_position_and_publishes_nothing(make).await;
    an_id_belongs_to_a_channel_and_a_user(make).await;
    repeats_that_wait_together_publish_once(make).await;
    what_follows_an_id_in_its_send_is_repeated_with_it(make).await;
    an_id_is_free_again_after_a_day(make).await;
}

async fn a_repeat_gets_the_first_position_and_publishes_nothing(make: Make<'_>) {
    let mut case = Case::new(make);
    case.publish("test:a", &["0"]).await;
    let first = case.send(vec![with_id(said("test:a", "1"), "k")]).await.expect("durable");
    case.publish("test:a", &["2"]).await;
    let again = case.send(vec![with_id(said("test:a", "1"), "k")]).await.expect("a repeat");
    assert_eq!(again, first);
    case.restart().await;
    assert_eq!(case.send(vec![with_id(said("test:a", "1"), "k")]).await.expect("a repeat"), first);
    let other = case.send(vec![with_id(said("test:a", "other"), "k")]).await.expect_err("another body");
    assert_eq!(other.code(), Code::Conflict);
    let mut typed = with_id(said("test:a", "1"), "k");
    typed.event.event_type = "test.shouted".parse().expect("a type");
    assert_eq!(case.send(vec![typed]).await.expect_err("another type").code(), Code::Conflict);
    assert_eq!(texts(&case.kept("test:a").await.messages), ["0", "1", "2"]);
    assert!(case.sink.messages().is_empty(), "repeats are not announced");
    case.end().await;
}

async fn an_id_belongs_to_a_channel_and_a_user(make: Make<'_>) {
    let case = Case::new(make);
    let by = |user: Option<&str>, channel: &str, text: &str| {
        let mut publication = with_id(said(channel, text), "k");
        publication.event.by = user.map(|user| user.parse().expect("an id"));
        vec![publication]
    };
    for (user, channel, seq) in
        [(None, "test:a", 1), (Some("u1"), "test:a", 2), (Some("u2"), "test:a", 3), (Some("u1"), "test:b", 1)]
    {
        let text = format!("{user:?} {channel}");
        let placed = case.send(by(user, channel, &text)).await.expect("an id of its own");
        assert_eq!(seqs(&placed), [Some(seq)]);
        assert_eq!(seqs(&case.send(by(user, channel, &text)).await.expect("a repeat")), [Some(seq)]);
    }
    case.end().await;
}

async fn repeats_that_wait_together_publish_once(make: Make<'_>) {
    let case = Case::new(make);
    let log = case.log();
    let mut receipts = Vec::new();
    for _ in 0..50 {
        receipts.push(log.reserve(64).await.expect("room").send(vec![with_id(said("test:a", "once"), "k")]));
    }
    for answer in join_all(receipts).await {
        assert_eq!(seqs(&answer.expect("the first position")), [Some(1)]);
    }
    let twice = vec![with_id(said("test:b", "x"), "k"), with_id(said("test:b", "x"), "k")];
    assert_eq!(seqs(&case.send(twice).await.expect("the first position")), [Some(1), Some(1)]);
    assert_eq!(case.sink.messages().len(), 2);
    case.end().await;
}

async fn what_follows_an_id_in_its_send_is_repeated_with_it(make: Make<'_>) {
    let case = Case::new(make);
    let send = |copy: &str| vec![with_id(said("test:a", "1"), "k"), said("test:board", copy), said("test:a", "2")];
    let first = case.send(send("copy")).await.expect("durable");
    case.publish("test:board", &["more"]).await;
    assert_eq!(case.send(send("copy")).await.expect("a repeat"), first);
    assert_eq!(case.send(send("another copy")).await.expect_err("another body").code(), Code::Conflict);
    let mixed = vec![with_id(said("test:a", "new"), "new"), with_id(said("test:c", "c"), "c")];
    case.send(vec![with_id(said("test:c", "c"), "c")]).await.expect("durable");
    let third = vec![said("test:a", "0"), said("test:a", "1"), with_id(said("test:c", "other"), "c")];
    let refused = case.send(third).await.expect_err("the third is another body");
    assert_eq!(refused.fields().keys().collect::<Vec<_>>(), ["[2].id"], "its place is told");
    assert_eq!(seqs(&case.send(mixed).await.expect("one is new")), [Some(3), Some(1)]);
    assert_eq!(case.log().facts(&name("test:board")).await.expect("reads").expect("known").head, 2);
    case.end().await;
}

async fn an_id_is_free_again_after_a_day(make: Make<'_>) {
    let case = Case::new(make);
    let send = |text: &str| vec![with_id(said("test:a", text), "k")];
    case.send(send("1")).await.expect("durable");
    // In steps, since a log may distrust a clock that leaps.
    for _ in 0..24 {
        case.clock.advance(DAY / 24 - MINUTE / 24);
        case.publish("test:tick", &["tick"]).await;
    }
    assert_eq!(seqs(&case.send(send("1")).await.expect("a repeat")), [Some(1)]);
    case.clock.advance(2 * MINUTE);
    case.publish("test:tick", &["tick"]).await;
    assert_eq!(seqs(&case.send(send("2")).await.expect("a fresh id")), [Some(2)]);
    assert_eq!(seqs(&case.send(send("2")).await.expect("a repeat")), [Some(2)]);
    case.end().await;
}
