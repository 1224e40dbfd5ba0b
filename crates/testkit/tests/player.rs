//! The player as a real program.
//!
//! Guarantees: the test has read what the player printed, piece by piece, before it goes on.
//! It is not a test of any agent.

use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
};

use tempfile::NamedTempFile;

fn play(script: &str) -> (NamedTempFile, Child) {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(script.as_bytes()).expect("writes");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings-player"));
    command.arg(file.path()).arg("--ignored");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("starts");
    (file, child)
}

fn read(child: &mut Child, text: &str) {
    let mut bytes = vec![0; text.len()];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut bytes).expect("reads");
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

#[test]
fn a_player_prints_in_pieces_answers_what_it_was_told_and_exits_with_its_code() {
    let (_file, mut child) = play(concat!(
        "# a dialogue\n> first\npart {\"half\nexpect {\"method\":\"ask\"}\n> \":{{/id}}}\n",
        "! oops\nwait 1\nrepeat 2\n> round {{n}}\nend\nexit 7\n",
    ));
    read(&mut child, "first\n{\"half");
    let lines = "rubbish\n{\"method\":\"other\",\"id\":1}\n{\"method\":\"ask\",\"id\":\"a-2\"}\n";
    child.stdin.as_mut().expect("a pipe").write_all(lines.as_bytes()).expect("writes");
    read(&mut child, "\":\"a-2\"}\nround 0\nround 1\n");
    let output = child.wait_with_output().expect("ends");
    assert_eq!((output.status.code(), output.stdout, output.stderr), (Some(7), Vec::new(), b"oops\n".to_vec()));
}

#[test]
fn a_player_that_is_not_told_what_it_expects_says_so() {
    let (_file, mut child) = play("expect hello\n> never\n");
    drop(child.stdin.take());
    let output = child.wait_with_output().expect("ends");
    assert_eq!((output.status.code(), output.stdout), (Some(70), Vec::new()));
    assert_eq!(output.stderr, b"the input ended before: hello\n");
}

#[test]
fn a_player_without_a_script_says_which_line_is_wrong() {
    let (_file, child) = play("> a\nsay b\n");
    let output = child.wait_with_output().expect("ends");
    assert_eq!((output.status.code(), output.stderr), (Some(64), b"line 2: say b\n".to_vec()));
}
