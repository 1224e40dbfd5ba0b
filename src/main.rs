//! Tidings: the server between programs that work and people who watch.
//!
//! The composition root: [`config`] says what is wanted, [`cli`] what to do, [`app`] wires the parts,
//! [`catalogue`] gathers what they say of themselves, [`serve`] starts and stops them in the order that it gives to [`stop`],
//! [`entrance`] is what is there of the server while it starts, [`listen`] takes connections in, [`runtime`] and [`telemetry`]
//! are the server's surroundings; [`faults`] are for tests.
//!
//! Guarantees: nothing is decided here that a part could decide.
//! It is not a library: other programs speak with the server over its wire.

mod app;
mod catalogue;
mod cli;
mod config;
mod entrance;
mod faults;
mod figures;
mod known_users;
mod listen;
mod runtime;
mod serve;
mod services;
mod stop;
mod telemetry;

use std::process::ExitCode;

/// The system's allocator asks the kernel for a worker's memory page by page, which is a third of the
/// calls of a new connection.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
