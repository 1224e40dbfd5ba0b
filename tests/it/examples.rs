//! The examples, run: a domain of one's own in Rust. That by configuration alone is tried in `vocabulary`.
//!
//! Guarantees: what docs/ADDING_A_DOMAIN.md refers to works.
//! It is not a test of the engine.

#[path = "../../examples/deploy/main.rs"]
#[expect(dead_code, reason = "as an example it has a main of its own")]
mod deploy;

#[tokio::test]
async fn a_domain_of_ones_own_in_rust_deploys_and_shows_its_state() {
    let state = deploy::deployed().await;
    assert_eq!(state, serde_json::json!({"target": "production", "running": true}));
}
