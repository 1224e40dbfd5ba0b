//! Tests of the service's parts.

mod folding;
mod recovering;
mod scheduling;
