//! What concerns one person, wherever it happens.
//!
//! Guarantees: the contract is all that there is: nothing here runs.
//! It is not the administration of users: that is `tidings-auth`.

pub mod contract;
