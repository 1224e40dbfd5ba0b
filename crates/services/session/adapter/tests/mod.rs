//! Tests of the adapters: recorded lines in, steps out.
//!
//! Guarantees: no process and no clock; every step of a script is looked at.
//! They are not tests of the run.

mod acp;
mod claude_code;
mod codex;
mod events;
mod gemini;
mod ledger;
mod limits;
mod play;
mod surprises;
