//! The Rust tests of the whole: of the house itself, and of the server as it runs.
//!
//! Guarantees: one binary, so that it links once; port 0 and directories of its own; what a test
//! starts it ends.
//! They are not the tests of the crates, which stand beside their code.

mod agents;
mod behind_walls;
mod cable;
mod cli;
mod commands;
mod connections;
mod deadlines;
mod declared;
mod definitions;
mod demo;
mod directory;
mod discretion;
mod documented;
mod endings;
mod escapes;
mod examples;
mod expressions;
mod faults;
mod full_disk;
mod generated;
mod grounds;
mod handshakes;
mod hosted;
mod http;
mod identity;
mod json;
mod limits;
mod locks;
mod logins;
mod openings;
mod operations;
mod ordinary_repositories;
mod origins;
mod outputs;
mod outsiders;
mod own_tokens;
mod polling;
mod programs_events;
mod questions;
mod queue;
mod recovery;
mod repositories;
mod restarts;
mod rights_of_runs;
mod roots;
mod running;
mod sandboxes;
mod saving;
mod server;
mod sessions;
mod slow;
mod starts;
mod tails;
mod tidy;
mod unfinished;
mod vocabulary;
mod watcher;
mod without_landlock;
mod workflows;
mod wrappers;
