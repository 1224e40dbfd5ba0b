//! The header `Prefer` of RFC 7240, as far as it says for how long a client would wait: `wait=10`, in seconds.
//!
//! Guarantees: a preference is none where it cannot be understood, and no more than may be: it is never a reason to
//! refuse a request; what was heeded is said in `Preference-Applied`.
//! It is not the wait: that is the command's.

use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The longest wait that is heeded, in seconds; a longer one is as good as this.
const LONGEST: u32 = 60;

const PREFER: HeaderName = HeaderName::from_static("prefer");
/// Says in an answer what was heeded.
pub(super) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// For how many seconds a client would wait. Of several such preferences the first counts.
pub(super) fn wait(headers: &HeaderMap) -> Option<u32> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut waits = values.flat_map(|value| value.split(',')).filter_map(|preference| {
        // What stands behind a semicolon are parameters of the preference.
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"'))
    });
    let seconds = waits.next()?;
    let is_number = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
    // A number that is larger than any is longer than the longest.
    is_number.then(|| seconds.parse().map_or(LONGEST, |seconds: u32| seconds.min(LONGEST)))
}

/// Says in an answer what was heeded.
pub(super) fn applied(response: &mut Response, seconds: u32) {
    if let Ok(value) = HeaderValue::try_from(format!("wait={seconds}")) {
        response.headers_mut().insert(PREFERENCE_APPLIED, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wait_that_is_preferred_counts_and_what_is_not_understood_is_none() {
        let table: [(&[&str], Option<u32>); 12] = [
            (&["wait=10"], Some(10)),
            (&["respond-async, Wait = 7 ; foo=bar, wait=9"], Some(7)),
            (&["handling=lenient", "wait=\"3\""], Some(3)),
            (&["wait=0"], Some(0)),
            (&["wait=61"], Some(60)),
            (&["wait=99999999999999999999"], Some(60)),
            (&["wait=-1"], None),
            (&["wait=1.5"], None),
            (&["wait="], None),
            (&["wait"], None),
            (&["await=5"], None),
            (&[], None),
        ];
        for (values, expected) in table {
            let values = values.iter().map(|value| (PREFER, HeaderValue::from_str(value).expect("a header")));
            assert_eq!(wait(&values.clone().collect()), expected, "{:?}", values.collect::<Vec<_>>());
        }
    }
}
