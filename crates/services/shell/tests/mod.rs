//! The tests of the service of terminals.
