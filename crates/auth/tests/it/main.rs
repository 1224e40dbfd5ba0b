//! Identity from outside: what transports and the command line see of it.
//!
//! Guarantees: every test has its own directory and clock; none waits for time to pass.
//! It is not the place of tests of the parts: those are beside them.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod accounts;
mod elsewhere;
mod house;
mod keys;
mod logins;
mod revocations;
mod tokens;
mod users;
