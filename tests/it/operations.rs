//! What docs/OPERATIONS.md tells operators to do, done: backing up, restoring, upgrading, over a stop and a
//! `kill -9`.
//!
//! Guarantees: the commands are read out of the page, so that page and test cannot part. Those of a program
//! that this machine lacks are left out, and said to be; SQLite's own back-up is tried in any case.
//! They are not the tests of faults, which nobody does on purpose.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::{Command, Stdio},
};

use rusqlite::{Connection, MAIN_DB, backup::Progress};
use serde_json::json;
use tempfile::TempDir;
use tidings_client::http;
use tokio::task::JoinSet;

use crate::{
    directory,
    server::{Server, eventually, note, notes, program, tidings},
    watcher::Watcher,
};

const PAGE: &str = include_str!("../../docs/OPERATIONS.md");
/// What was there before the back-up.
const BEFORE: u64 = 200;

/// The commands of the page that begin with this word, or have it in them.
fn sample(word: &str) -> &'static str {
    let (_, section) = PAGE.split_once("## Back-up and restore").expect("the section");
    let section = section.split("\n## ").next().expect("its text");
    let mut blocks = section.split("```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    blocks.find(|block| block.contains(word)).unwrap_or_else(|| panic!("no sample has {word}"))
}

#[expect(clippy::print_stdout, reason = "whoever reads the test's output is told what was left out")]
fn left_out(needs: &str) {
    println!("left out: there is no {needs} here");
}

/// Runs commands with the names that the page uses. False where the program that they need is not there.
fn runs(commands: &str, needs: &str, places: &[(&str, &Path)]) -> bool {
    let there = Command::new(needs).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        left_out(needs);
        return false;
    }
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", commands]).envs(places.iter().copied());
    assert!(shell.status().expect("runs").success(), "{commands}");
    true
}

/// SQLite's own back-up without any other program.
fn backs_up(data: &Path, backup: &Path) {
    std::fs::create_dir(backup).expect("a directory");
    for name in ["users.db", "log.db"] {
        let source = Connection::open(data.join(name)).expect("opens");
        source.backup(MAIN_DB, backup.join(name), None::<fn(Progress)>).expect("is copied");
    }
    std::fs::copy(data.join("signing.key"), backup.join("signing.key")).expect("is copied");
}

/// A home in which the page's commands have restored a back-up.
fn restored(backup: &Path) -> TempDir {
    let home = tempfile::tempdir().expect("a directory");
    let places = [("BACKUP", backup), ("RESTORED", &home.path().join("data"))];
    assert!(runs(sample("$RESTORED"), "cp", &places));
    home
}

/// What was there before is there, under a new epoch that everybody is told of and that stays; logins work;
/// numbers go on.
async fn is_whole(home: TempDir, bearer: &str, password: &str, epoch: &str) {
    let mut server = Server::start_in(home, &[]);
    let body = json!({"username": "admin", "password": password});
    let mut now = String::new();
    for start in ["the first", "after a stop", "after a kill"] {
        let login = http::post_json(&server.url(), "/api/auth/login", None, &body).await.expect("an answer");
        assert_eq!(login.status, 200, "{start}: {}", login.text());
        let page = server.get("/api/channels/session:load/events?limit=1000", bearer).await.json();
        assert_eq!(page["first"], 1, "{start}: it begins later than it did");
        let kept = page["events"].as_array().expect("events");
        let numbers: Vec<u64> = kept.iter().filter_map(|event| event["data"]["n"].as_u64()).collect();
        assert!(numbers.len() as u64 >= BEFORE, "{start}: {} messages", numbers.len());
        assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "{start}: {numbers:?}");
        let mut watcher = Watcher::connect(&server, bearer).await;
        let since = json!({"channel": "session:load", "since": {"epoch": epoch, "seq": 5}});
        let answer = watcher.done("subscribe", since).await;
        assert_eq!((&answer["recovered"], &answer["reason"]), (&json!(false), &json!("epoch")), "{start}: {answer}");
        let told = watcher.of_type("channel.reset").await["data"]["epoch"].clone();
        if now.is_empty() {
            told.as_str().expect("an epoch").clone_into(&mut now);
        }
        assert!(now != epoch && told == now, "{start}: {told} after {now} after {epoch}");
        let placed = server.publish(bearer, note("load", numbers.len() as u64 + 1)).await;
        assert_eq!((&placed[0]["seq"], &placed[0]["epoch"]), (&json!(numbers.len() + 1), &json!(now)), "{start}");
        match start {
            "the first" => server.stop(),
            _ => server.kill(),
        }
        server.start_again();
    }
}

/// Publishes one event after the other until nobody takes them any more, or it is ended.
async fn publishes(url: String, bearer: String) {
    for n in BEFORE + 1.. {
        let body = note("load", n);
        let placed = http::post_json(&url, "/api/events", Some(&bearer), &body).await;
        if !placed.is_ok_and(|placed| placed.status == 200) {
            return;
        }
    }
}

/// A server with some history: its administrator's token and the epoch.
async fn with_history(server: &Server) -> (String, String) {
    let bearer = server.admin();
    let placed = server.publish(&bearer, notes("load", 1..=BEFORE)).await;
    (bearer, placed[0]["epoch"].as_str().expect("an epoch").to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_commands_back_a_running_server_up_and_what_is_restored_is_whole() {
    let ways: [(&str, &str); 3] = [("sqlite3", "sqlite3 "), ("python3", "python3 "), ("", "")];
    for (program, word) in ways {
        let mut server = Server::start("");
        let (bearer, epoch) = with_history(&server).await;
        let password = server.password().to_owned();
        let backup = server.home().join("backup");
        // Somebody publishes all the while.
        let mut publishing = JoinSet::new();
        publishing.spawn(publishes(server.url(), bearer.clone()));
        let at_least = async |n: u64| {
            let page = server.get("/api/channels/session:load/events?limit=1", &bearer).await.json();
            page["head"].as_u64() >= Some(n)
        };
        eventually("that somebody publishes", async || at_least(BEFORE + 5).await).await;
        let data = server.data_dir();
        let done = tokio::task::block_in_place(|| match program {
            "" => {
                backs_up(&data, &backup);
                true
            }
            _ => runs(sample(word), program, &[("DATA", &data), ("BACKUP", &backup)]),
        });
        publishing.shutdown().await;
        server.kill();
        // What is restored may then lie exactly where the lost one did.
        std::fs::remove_dir_all(&data).expect("is removed");
        if done {
            is_whole(restored(&backup), &bearer, &password, &epoch).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_command_copies_a_stopped_server_and_what_is_restored_is_whole() {
    let mut server = Server::start("");
    let (bearer, epoch) = with_history(&server).await;
    let password = server.password().to_owned();
    server.stop();
    let backup = server.home().join("backup");
    assert!(runs(sample("cp -a \"$DATA\""), "cp", &[("DATA", &server.data_dir()), ("BACKUP", &backup)]));
    is_whole(restored(&backup), &bearer, &password, &epoch).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_as_the_page_says_keeps_every_position_and_its_back_up_leads_back() {
    let made = directory::unpack("v0.1.0", directory::Lies::WhereItWas);
    let (expected, place) = (made.expected.clone(), tempfile::tempdir().expect("a directory"));
    let backup = place.path().join("backup");
    let places = [("DATA", made.home.path().join("data")), ("BACKUP", backup.clone())];
    let places: Vec<(&str, &Path)> = places.iter().map(|(name, place)| (*name, place.as_path())).collect();
    assert!(runs(sample("cp -a \"$DATA\""), "cp", &places));
    // Made while the other one is there: a file that is gone leaves its number to the next one.
    let back = directory::Made { home: restored(&backup), expected: expected.clone() };
    let epoch = directory::brings_everything_along(made).await;
    assert_eq!(epoch, expected["epoch"], "an upgrade resets nobody");
    assert_ne!(directory::brings_everything_along(back).await, expected["epoch"], "a back-up has another epoch");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_a_newer_version_is_refused_by_name_and_left_as_it_is() {
    let mut server = Server::start("");
    let (bearer, _) = with_history(&server).await;
    server.stop();
    for name in ["log.db", "users.db"] {
        let file = server.data_dir().join(name);
        let version = |set: Option<i64>| -> i64 {
            let sql = Connection::open(&file).expect("opens");
            let before = sql.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version");
            if let Some(version) = set {
                sql.pragma_update(None, "user_version", version).expect("is set");
            }
            before
        };
        let before = version(Some(999));
        let refused = tidings(server.home()).args(["serve", "--listen", "127.0.0.1:0"]).output().expect("runs");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains(name) && said.contains("999"), "{name}: {said}");
        assert_eq!(version(Some(before)), 999, "{name} is left as it is");
    }
    server.start_again();
    let page = server.get("/api/channels/session:load/events?limit=1000", &bearer).await.json();
    assert_eq!((&page["first"], &page["head"]), (&json!(1), &json!(BEFORE)));
}

#[test]
fn the_pages_unit_is_one_and_starts_the_program_with_flags_that_it_takes() {
    let unit = PAGE.split_once("```ini\n").and_then(|(_, rest)| rest.split("```").next()).expect("a unit");
    let value = |key: &str| {
        unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_else(|| panic!("no {key}"))
    };
    let number = |key: &str| value(key).parse::<u64>().expect("a number");
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("tidings.toml");
    std::fs::write(&file, "[bus]\ndebug = true\n").expect("writes");
    let (program, file) = (program().display().to_string(), file.display().to_string());
    let here =
        |text: &str| text.replace("/usr/local/bin/tidings", &program).replace("/etc/tidings/tidings.toml", &file);
    let start = here(value("ExecStart"));
    let mut words = start.split(' ');
    assert_eq!((words.next(), words.next()), (Some(&*program), Some("serve")), "{start}");
    // The flags are those of all commands: this one tells what it was started with, and ends.
    let told = tidings(home.path()).arg("check").args(words).output().expect("runs");
    let effective = String::from_utf8_lossy(&told.stdout);
    assert!(told.status.success() && effective.contains(&format!("debug = true  # {file}\n")), "{effective}");
    let default = |key: &str| {
        let line = effective.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        line.and_then(|line| line.split(' ').next()?.parse::<u64>().ok()).unwrap_or_else(|| panic!("no {key}"))
    };
    assert!(number("TimeoutStopSec") * 1000 > default("drain_ms") + default("grace_ms") + 5000, "a stop is cut off");
    assert!(number("LimitNOFILE") >= 2 * default("max_connections"), "too few files");
    assert_eq!(value("KillMode"), "mixed", "programs are the server's to end");
    let service = home.path().join("tidings.service");
    std::fs::write(&service, here(unit)).expect("writes");
    let verdict = Command::new("systemd-analyze").arg("verify").arg(&service).output();
    let Ok(verdict) = verdict else { return left_out("systemd-analyze") };
    let said = String::from_utf8_lossy(&verdict.stderr);
    assert!(verdict.status.success() && !said.contains("tidings.service:"), "{said}");
}

/// The figures in the first column of the page's table, with the names of their labels.
fn figures_of_the_page() -> BTreeSet<String> {
    let (_, section) = PAGE.split_once("## Health and metrics").expect("the section");
    let rows = section.lines().skip_while(|line| !line.starts_with("| metric |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.trim_matches('|').split('|').next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// The figures that a server shows, in the same form.
fn figures_of(text: &str) -> BTreeSet<String> {
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let mut figures = BTreeSet::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kinds.insert(name, kind);
            continue;
        }
        let Some(series) = line.split(' ').next().filter(|series| series.starts_with("tidings_")) else { continue };
        let (name, labels) = series.trim_end_matches('}').split_once('{').unwrap_or((series, ""));
        let part = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
        let name = part.filter(|name| kinds.get(name) == Some(&"histogram")).unwrap_or(name);
        let labels = labels.split("\",").filter_map(|label| label.split('=').next());
        let labels: Vec<&str> = labels.filter(|label| !label.is_empty() && *label != "le").collect();
        let all = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        figures.insert(format!("{name}{all}"));
    }
    figures
}

#[tokio::test]
async fn a_fresh_server_shows_every_figure_of_the_page_with_its_labels_and_no_other() {
    let server = Server::start("");
    // A request and a commit: what has to be measured, and routes that are asked for.
    assert_eq!(server.get("/health/ready", "").await.status, 200);
    let text = server.get("/metrics", "").await.text();
    let (shown, told) = (figures_of(&text), figures_of_the_page());
    let untold: Vec<&String> = shown.difference(&told).collect();
    let unseen: Vec<&String> = told.difference(&shown).collect();
    assert!(untold.is_empty() && unseen.is_empty(), "the page lacks {untold:?}, the server {unseen:?}");
    // An alert can be written: each stands at zero, with every value of its labels, and says what it is.
    for series in [
        "tidings_panics_total{task=\"hub.fanout\"}",
        "tidings_gaps_total{reason=\"trimmed\"}",
        "tidings_limited_total{limit=\"git_reads\"}",
        "tidings_held_refused_total{bound=\"user\",of=\"answers\"}",
        "tidings_connections_ended_total{code=\"silent\"}",
        "tidings_denied_total{action=\"ingest\"}",
        "tidings_refusals_total{code=\"overloaded\"}",
        "tidings_log_failed_total",
        "tidings_replay_failures_total",
    ] {
        assert!(text.contains(&format!("\n{series} 0\n")), "{series} is not there at 0: {text}");
    }
    for figure in &shown {
        let name = figure.split('{').next().expect("a name");
        assert!(text.contains(&format!("# HELP {name} ")), "{name} does not say what it is");
    }
}
