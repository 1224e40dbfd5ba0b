//! Tests of the service's parts.

mod scheduling;
