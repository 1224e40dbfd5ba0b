//! `tidings-player SCRIPT`: plays a recorded agent as a real program, with real pipes and real time.
//!
//! Guarantees: what it prints is written at once, piece by piece, as the script says; it exits with the
//! script's code, with 64 for a script that it cannot read, with 70 when its standard input ends before
//! what it expects, with 74 when nobody reads it any more. Arguments beyond the script are ignored, so
//! that it can stand in for a program with flags.
//! The script's format is in `tidings_testkit::script`.

use std::{
    io::{BufRead, StdinLock, Write, stderr, stdin, stdout},
    process::ExitCode,
    thread::{park, sleep},
    time::Duration,
};

use tidings_testkit::script::{Instruction, fill, fits, parse};

const NO_SCRIPT: u8 = 64;
const NOT_TOLD: u8 = 70;
const UNREAD: u8 = 74;

struct Player {
    input: StdinLock<'static>,
    /// The line that was last expected.
    heard: String,
    round: u64,
}

impl Player {
    /// Plays; an error is the code to exit with.
    fn play(&mut self, script: &[Instruction]) -> Result<(), u8> {
        for instruction in script {
            match instruction {
                Instruction::Print(text) => say(&mut stdout().lock(), &fill(text, &self.heard, self.round))?,
                Instruction::Complain(text) => say(&mut stderr().lock(), &fill(text, &self.heard, self.round))?,
                Instruction::Wait(ms) => sleep(Duration::from_millis(*ms)),
                Instruction::Expect(what) => self.expect(what)?,
                Instruction::Repeat(times, body) => {
                    for round in 0..*times {
                        self.round = round;
                        self.play(body)?;
                    }
                }
                Instruction::Exit(code) => return Err(*code),
                Instruction::Hang => loop {
                    park();
                },
            }
        }
        Ok(())
    }

    fn expect(&mut self, what: &str) -> Result<(), u8> {
        loop {
            let mut line = String::new();
            match self.input.read_line(&mut line) {
                Ok(count) if count > 0 => {}
                _ => {
                    say(&mut stderr().lock(), &format!("the input ended before: {what}\n"))?;
                    return Err(NOT_TOLD);
                }
            }
            if fits(what, line.trim_end()) {
                self.heard = line;
                return Ok(());
            }
        }
    }
}

fn say(out: &mut impl Write, text: &str) -> Result<(), u8> {
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|_| UNREAD)
}

fn script() -> Result<Vec<Instruction>, String> {
    let path = std::env::args_os().nth(1).ok_or("which script?")?;
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    parse(&text)
}

fn main() -> ExitCode {
    let script = match script() {
        Ok(script) => script,
        Err(error) => {
            let said = say(&mut stderr().lock(), &format!("{error}\n"));
            return said.map_or_else(ExitCode::from, |()| NO_SCRIPT.into());
        }
    };
    let mut player = Player { input: stdin().lock(), heard: String::new(), round: 0 };
    match player.play(&script) {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => code.into(),
    }
}
