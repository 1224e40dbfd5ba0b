//! Programs as they are started: their priority, where they are found, and what they inherit.
//!
//! Guarantees: the programs are the system's own, in a directory of the test's.

use std::{collections::BTreeMap, fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path, sync::Arc};

use rustix::process::getpriority_process;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

use super::{Begun, Environment, Programs, ProgramsConfig, process::Running};

fn programs(dir: &TempDir, nice: i32) -> Arc<Programs> {
    let data = dir.path().join("data");
    fs::create_dir_all(&data).expect("a folder");
    let mut config = ProgramsConfig::new(data);
    let path = format!("{}:/usr/bin:/bin", dir.path().join("tools").display());
    config.env = Environment::new(&[], [], &BTreeMap::from([("PATH".to_owned(), path)]));
    config.nice = nice;
    Programs::new(config).expect("ready to run programs")
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

async fn printed(mut running: Running) -> String {
    let mut text = String::new();
    running.stdout.read_to_string(&mut text).await.expect("reads");
    running.child.wait().await.expect("ends");
    text
}

async fn run(programs: &Programs, root: &Path, argv: &[&str]) -> String {
    printed(programs.program(words(argv), root.to_owned()).start().await.expect("starts")).await
}

#[tokio::test]
async fn programs_step_back_behind_the_server_as_far_as_configured() {
    let dir = tempfile::tempdir().expect("a directory");
    let own = getpriority_process(None).expect("a priority");
    for (nice, expected) in [(0, own), (7, (own + 7).min(19)), (19, 19)] {
        // The system's priority of a program is set right after its start: what it forks then has it.
        let script = "until [ \"$(nice)\" = \"$1\" ]; do :; done; sh -c nice";
        let argv = ["sh", "-c", script, "sh", &expected.to_string()];
        assert_eq!(run(&programs(&dir, nice), dir.path(), &argv).await, format!("{expected}\n"));
    }
}

#[tokio::test]
async fn a_program_is_found_on_its_own_path_and_a_text_is_run_by_the_shell() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("tools")).expect("a folder");
    let script = |path: &str, text: &str| {
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o755).open(dir.path().join(path));
        file.and_then(|mut file| file.write_all(text.as_bytes())).expect("a file");
    };
    script("tools/nice", "#!/bin/sh\necho mine $0 $1\n");
    script("plain", "echo plain $1\n");
    let programs = programs(&dir, 15);
    let shadowed = run(&programs, dir.path(), &["nice", "a"]).await;
    assert_eq!(shadowed, format!("mine {} a\n", dir.path().join("tools/nice").display()));
    assert_eq!(run(&programs, dir.path(), &["./plain", "b"]).await, "plain b\n");
    assert!(programs.program(words(&["no-such-program"]), dir.path().to_owned()).start().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_reports_on_a_pipe_that_nobody_else_inherits() {
    let dir = tempfile::tempdir().expect("a directory");
    let programs = programs(&dir, 15);
    let reporting = |n: usize| {
        let programs = programs.clone();
        let root = dir.path().to_owned();
        async move {
            let argv = words(&["sh", "-c", "echo $(ls /proc/self/fd | wc -l); echo told >> $REPORT"]);
            let program = programs.program(argv, root);
            let Begun { running, mut reports, youth } =
                programs.start_reporting(program, "REPORT", &format!("p{n}")).await.expect("starts");
            drop(youth);
            let mut report = String::new();
            let (open, told) = tokio::join!(printed(running), reports.read_to_string(&mut report));
            told.expect("reads");
            programs.forget_in_turn(&format!("p{n}")).await;
            (open.trim().to_owned(), report)
        }
    };
    let plain = || run(&programs, dir.path(), &["sh", "-c", "echo $(ls /proc/self/fd | wc -l)"]);
    let alone = plain().await.trim().parse::<usize>().expect("a number");
    let all = futures_util::future::join_all((0..20).map(reporting));
    let others = futures_util::future::join_all((0..20).map(|_| plain()));
    let (all, others) = tokio::join!(all, others);
    for (open, report) in all {
        assert_eq!((open, report.as_str()), ((alone + 1).to_string(), "told\n"), "its own pipe and no other");
    }
    assert!(others.iter().all(|open| open.trim() == alone.to_string()), "{others:?}");
}
