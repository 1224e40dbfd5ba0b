//! Terminals by the hundred: nothing of one stays when it has ended.
//!
//! Guarantees: processes are found by a mark in their environment; descriptors and tasks are this very
//! process's.
//! It is not a measurement: how many there are is what a slow machine does in some seconds.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::house::House;

/// How many terminals are wanted, and how long may be spent on them.
const MANY: usize = 1_000;
const SPENT: Duration = Duration::from_secs(30);
/// How many are open at once.
const AT_ONCE: usize = 25;

/// The system's list of this process's own.
fn count(of: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{of}")).expect("the system lists it").count()
}

/// The processes whose terminal, or whose parent, this one made: those that carry its mark in their environment.
fn marked(mark: &str) -> usize {
    let processes = std::fs::read_dir("/proc").expect("the system lists them").filter_map(Result::ok);
    let environments = processes.filter_map(|process| std::fs::read(process.path().join("environ")).ok());
    environments.filter(|environment| environment.windows(mark.len()).any(|part| part == mark.as_bytes())).count()
}

async fn some(house: &House, mark: &str) {
    let open = |_| async {
        let script = "sleep 600 & sh -c 'trap \"\" HUP; sleep 600' & echo up; read line";
        house.try_open("u1", json!({"command": ["sh", "-c", script], "env": {"MARK": mark}})).await.expect("opens")
    };
    let ids = futures_util::future::join_all((0..AT_ONCE).map(open)).await;
    for (number, id) in ids.iter().enumerate() {
        house.until_written(id, "up").await;
        house.resize(id, 90, 30).await.expect("resizes");
        if number % 2 == 0 {
            house.close_shell(id).await.expect("closes");
        } else {
            house.keys(id, "x\r").await;
        }
    }
    for id in &ids {
        house.end(id).await;
        house.memory.forget(id);
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_thousand_terminals() {
    let house = House::with(|config| (config.per_user, config.per_project, config.total) = (0, 0, 0));
    let mark = format!("of-{}", std::process::id());
    // The first ones make what is made once: threads, buffers of the allocator.
    some(&house, &mark).await;
    let (descriptors, from, mut made) = (count("fd"), Instant::now(), AT_ONCE);
    while made < MANY && from.elapsed() < SPENT {
        some(&house, &mark).await;
        made += AT_ONCE;
    }
    assert!(made >= 4 * AT_ONCE, "{made} terminals in {SPENT:?}");
    println!("{made} terminals");
    assert_eq!(marked(&mark), 0, "processes");
    // Another test of this program may have some open at this moment, and closes them.
    let settled = async {
        while count("fd") > descriptors {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(super::house::PATIENCE, settled).await.expect("no descriptor is left");
    assert_eq!(house.tasks.running(), Vec::<&str>::new());
    house.close().await;
}
