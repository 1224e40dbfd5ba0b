//! Requests to subscribe, as a client sends them: what is accepted keeps the bounds of the wire.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidings_engine::hub::SubscribeRequest;

fuzz_target!(|text: &str| {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(text) else { return };
    match SubscribeRequest::parse(&value) {
        Ok(request) => {
            let named = value.as_str().or_else(|| value["channel"].as_str());
            assert_eq!(named, Some(request.channel.as_str()));
            if let Some(since) = &request.since {
                assert!(request.last.is_none() && (since.seq == 0 || since.epoch.is_some()));
            }
        }
        Err(error) => assert!(!error.message().is_empty() && !error.retryable()),
    }
});
