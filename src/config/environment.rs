//! The one place that reads the server's environment.
//!
//! Guarantees: variables that are no UTF-8 are left out unless they are settings, which are then refused
//! as any other text that is not allowed.
//! It is not the meaning of a variable: see the layers.

/// Every variable of the environment, names and values.
#[must_use]
pub(crate) fn variables() -> Vec<(String, String)> {
    let own = |name: &str| name.starts_with("TIDINGS_") || name == "PORT";
    std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            match value.into_string() {
                Ok(value) => Some((name, value)),
                Err(value) if own(&name) => Some((name, value.to_string_lossy().into_owned())),
                Err(_) => None,
            }
        })
        .collect()
}
