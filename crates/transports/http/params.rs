//! What stands in the address: segments of the path and the query.
//!
//! Guarantees: a query's names are known and come once, its numbers are in their range; what is not
//! is refused with the name.
//! It is not a place for tokens: none is ever read from here.

use std::ops::RangeInclusive;

use axum::extract::{FromRequestParts, Query as AxumQuery, RawPathParams};
use http::request::Parts;
use tidings_core::{Error, Result, refusal::shown};

use super::{Shared, problem::Problem};

/// The names and values of the path, decoded.
pub(super) struct Path(pub(super) Vec<(String, String)>);

/// The names and values of the query, in their order.
pub(super) struct Query(pub(super) Vec<(String, String)>);

impl FromRequestParts<Shared> for Path {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Error::bad_request("a segment of the path is not UTF-8"))?;
        Ok(Self(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }
}

impl Path {
    /// The value of the one segment that a route leaves open.
    pub(super) fn only(&self) -> &str {
        self.0.first().map_or("", |(_, value)| value)
    }
}

impl FromRequestParts<Shared> for Query {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Problem> {
        let AxumQuery(pairs) = AxumQuery::from_request_parts(parts, state)
            .await
            .map_err(|_| Error::bad_request("the query is not of the form name=value&…"))?;
        Ok(Self(pairs))
    }
}

impl Query {
    /// Takes a value out.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(own, _)| own == name)?;
        Some(self.0.remove(at).1)
    }

    /// Takes a number out.
    pub(super) fn number(&mut self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.map(Some).ok_or_else(|| {
            Error::invalid_field(name, format!("is a whole number from {} to {}", range.start(), range.end()))
        })
    }

    /// Takes the limit of a list out: 1 to `most`.
    pub(super) fn limit(&mut self, default: u64, most: u64) -> Result<usize> {
        let limit = self.number("limit", 1..=most)?.unwrap_or(default);
        Ok(usize::try_from(limit).unwrap_or(usize::MAX))
    }

    /// Refuses what nobody took.
    pub(super) fn finish(self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Error::invalid_field(shown(name), "is not known here, or is there twice")),
        }
    }
}
