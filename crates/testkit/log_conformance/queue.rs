//! The queue's bound, and the end.

use futures_util::FutureExt;
use tidings_core::Code;

use super::{Case, Make, Setup, said, seqs, texts};

pub(super) async fn cases(make: Make<'_>) {
    a_full_queue_says_so_and_has_room_again(make).await;
    what_waits_at_the_end_is_written_and_more_is_refused(make).await;
}

async fn a_full_queue_says_so_and_has_room_again(make: Make<'_>) {
    let case = Case::with(make, |setup| Setup { queue: 4, ..setup });
    let log = case.log();
    let mut slots: Vec<_> = (0..4).map(|_| log.try_reserve(10).expect("room")).collect();
    assert_eq!(log.try_reserve(10).err().expect("no room").code(), Code::Overloaded);
    let mut waiting = log.reserve(10);
    assert!((&mut waiting).now_or_never().is_none(), "it waits");
    drop(slots.pop());
    let slot = waiting.await.expect("room again");
    let placed = slot.send(vec![said("test:a", "1")]).await.expect("durable");
    assert_eq!(seqs(&placed), [Some(1)]);
    for slot in slots {
        slot.send(vec![said("test:a", "more")]).await.expect("durable");
    }
    for n in 0..20 {
        let slot = log.reserve(10).await.expect("room");
        slot.send(vec![said("test:a", &n.to_string())]).await.expect("durable");
    }
    assert_eq!(case.kept("test:a").await.head, 24);
    case.end().await;
}

async fn what_waits_at_the_end_is_written_and_more_is_refused(make: Make<'_>) {
    let mut case = Case::new(make);
    let log = case.log();
    let late = log.reserve(10).await.expect("room");
    let mut receipts = Vec::new();
    for n in 0..100 {
        receipts.push(log.reserve(10).await.expect("room").send(vec![said("test:a", &n.to_string())]));
    }
    log.close().await;
    log.close().await;
    for receipt in receipts {
        receipt.await.expect("what waited is durable");
    }
    assert_eq!(late.send(vec![said("test:a", "late")]).await.expect_err("too late").code(), Code::Unavailable);
    assert_eq!(log.reserve(10).await.err().expect("closed").code(), Code::Unavailable);
    assert_eq!(log.try_reserve(10).err().expect("closed").code(), Code::Unavailable);
    case.restart().await;
    let kept = texts(&case.kept("test:a").await.messages);
    assert_eq!(kept, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
    case.end().await;
}
