//! What is made of the server's own types: that it is in step, and that it is served.
//!
//! Guarantees: the real program makes it, with the default configuration.
//! What is in it is the catalogue's own tests' business, and that of the programs that read it.

use tidings_client::http::{self, Method};

use crate::server::{Server, tidings};

/// What is made, and where it is kept.
const FILES: [(&str, &str); 5] = [
    ("openapi.json", "schemas/openapi.json"),
    ("asyncapi.json", "schemas/asyncapi.json"),
    ("events.schema.json", "schemas/events.schema.json"),
    ("tidings.ts", "schemas/tidings.ts"),
    ("EVENTS.md", "docs/EVENTS.md"),
];

#[test]
fn what_is_generated_is_what_the_types_say() {
    let home = tempfile::tempdir().expect("a directory");
    let output = tidings(home.path()).args(["schema", "--out", "made"]).output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (name, place) in FILES {
        let made = std::fs::read_to_string(home.path().join("made").join(name)).expect(name);
        let kept = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(place);
        let kept = std::fs::read_to_string(kept).unwrap_or_default();
        assert!(made == kept, "{place} is behind the types: run `cargo xtask gen`");
    }
    assert!(!home.path().join("data").exists(), "the data directory is not touched");
}

#[tokio::test]
async fn everybody_may_read_the_documents_of_the_running_server() {
    let server = Server::start("");
    for form in ["openapi", "asyncapi"] {
        let served =
            http::request(Method::GET, &server.url(), &format!("/{form}.json"), None, None).await.expect("answers");
        assert_eq!(served.status, 200);
        assert_eq!(served.text().trim(), server.cli(&["schema", form], "").trim());
    }
}
