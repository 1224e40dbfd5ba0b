//! The tests of the service of terminals: real programs in real terminals, over a log in memory.

mod house;
mod input;
mod lives;
mod many;
mod output;
