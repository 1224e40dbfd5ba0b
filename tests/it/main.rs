//! The Rust tests of the whole: of the house itself, and of the server as it runs.
//!
//! Guarantees: one binary, so that it links once; port 0 and directories of its own; what a test
//! starts it ends.
//! They are not the tests of the crates, which stand beside their code.

mod agents;
mod cable;
mod cli;
mod commands;
mod connections;
mod deadlines;
mod directory;
mod discretion;
mod documented;
mod endings;
mod escapes;
mod examples;
mod faults;
mod full_disk;
mod generated;
mod handshakes;
mod hosted;
mod http;
mod identity;
mod json;
mod limits;
mod locks;
mod logins;
mod operations;
mod origins;
mod outsiders;
mod own_tokens;
mod polling;
mod queue;
mod recovery;
mod repositories;
mod restarts;
mod rights_of_runs;
mod roots;
mod running;
mod saving;
mod server;
mod sessions;
mod slow;
mod starts;
mod tails;
mod tidy;
mod vocabulary;
mod watcher;
mod workflows;
mod wrappers;
