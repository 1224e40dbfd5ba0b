//! The routes of the domains, mounted from the gate's rows.
//!
//! Guarantees: no two rows have the same method and path, and none takes a route of the server's
//! own: what contradicts is an error at start. The token is judged before the body is read.
//! It is not a list of domains: it mounts what it is given.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{MethodRouter, delete, get, patch, post},
};
use http::HeaderMap;
use tidings_core::command::{Command, Method};

use super::{
    Shared,
    access::Caller,
    body::Text,
    commands::{run_read, run_write},
    params::{Path, Query},
    problem::Problem,
};

/// Two rows, or a row and the server, that want one route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the command {command} cannot have the path {path}: {why}")]
pub struct RowConflict {
    command: &'static str,
    path: &'static str,
    why: String,
}

/// The routes of these rows.
///
/// # Errors
/// [`RowConflict`] for the first row that cannot be mounted.
pub(super) fn mount(commands: &[Command], own: &[&str]) -> Result<Router<Shared>, RowConflict> {
    let rows: Vec<Row> = commands.iter().map(Row::from).collect();
    check(&rows, own)?;
    let mut routes: BTreeMap<&'static str, MethodRouter<Shared>> = BTreeMap::new();
    for command in commands {
        let endpoint = endpoint(command.clone());
        let merged = match routes.remove(command.path) {
            Some(there) => there.merge(endpoint),
            None => endpoint,
        };
        routes.insert(command.path, merged);
    }
    Ok(routes.into_iter().fold(Router::new(), |router, (path, endpoint)| router.route(path, endpoint)))
}

/// What of a command decides whether it can be mounted.
#[derive(Debug, Clone, Copy)]
struct Row {
    name: &'static str,
    method: Method,
    path: &'static str,
    status: u16,
}

impl From<&Command> for Row {
    fn from(command: &Command) -> Self {
        Self { name: command.name, method: command.method, path: command.path, status: command.status }
    }
}

fn check(rows: &[Row], own: &[&str]) -> Result<(), RowConflict> {
    let mut seen: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for row in rows.iter().copied() {
        let conflict = |why: String| RowConflict { command: row.name, path: row.path, why };
        let shape = shape(row.path).map_err(|why| conflict(why.to_owned()))?;
        if own.iter().any(|path| self::shape(path).is_ok_and(|taken| taken == shape)) {
            return Err(conflict("it is a route of the server's own".to_owned()));
        }
        if !(200..300).contains(&row.status) {
            return Err(conflict(format!("{} is no status of success", row.status)));
        }
        let others = seen.entry(shape).or_default();
        for other in others.iter() {
            if other.method == row.method {
                return Err(conflict(format!("{} has it already, with the same method", other.name)));
            }
            if other.path != row.path {
                return Err(conflict(format!("{} has it with other names: {}", other.name, other.path)));
            }
        }
        others.push(row);
    }
    Ok(())
}

/// A path without the names of its open segments: what decides whether two paths are one.
fn shape(path: &str) -> Result<String, &'static str> {
    let segments = path.strip_prefix("/api/").ok_or("a path starts with /api/")?;
    let mut shape = String::new();
    for segment in segments.split('/') {
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let text = name.unwrap_or(segment);
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            return Err("a segment is a word, or {field}");
        }
        shape.push('/');
        shape.push_str(if name.is_some() { "{}" } else { text });
    }
    Ok(shape)
}

fn endpoint(command: Command) -> MethodRouter<Shared> {
    let method = command.method;
    let command = Arc::new(command);
    let read = {
        let command = Arc::clone(&command);
        move |State(state): State<Shared>,
              Caller(principal): Caller,
              Path(path): Path,
              Query(query): Query,
              headers: HeaderMap| async move {
            let answer = run_read(&state, &principal, &command, (path, query), &headers).await;
            answer.map_err(Problem::from)
        }
    };
    let write = move |State(state): State<Shared>,
                      Caller(principal): Caller,
                      Path(path): Path,
                      headers: HeaderMap,
                      Text(body): Text| async move {
        let answer: tidings_core::Result<Response> =
            run_write(&state, &principal, &command, &path, (&headers, &body)).await;
        answer.map_err(Problem::from)
    };
    match method {
        Method::Get => get(read),
        Method::Delete => delete(read),
        Method::Post => post(write),
        Method::Patch => patch(write),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &'static str, method: Method, path: &'static str) -> Row {
        Row { name, method, path, status: 200 }
    }

    fn conflict(rows: &[Row]) -> Option<String> {
        check(rows, &super::super::document::own_paths()).err().map(|conflict| conflict.to_string())
    }

    #[test]
    fn rows_that_want_one_route_are_refused_with_both_names() {
        let first = row("a.get", Method::Get, "/api/a/{id}");
        let cases = [
            (row("b.get", Method::Get, "/api/a/{id}"), "a.get has it already, with the same method"),
            (row("b.get", Method::Get, "/api/a/{other}"), "a.get has it already, with the same method"),
            (row("b.end", Method::Delete, "/api/a/{other}"), "a.get has it with other names: /api/a/{id}"),
            (row("b.get", Method::Get, "/api/users/{userId}"), "it is a route of the server's own"),
            (row("b.get", Method::Get, "/b"), "a path starts with /api/"),
            (row("b.get", Method::Get, "/api/{*rest}"), "a segment is a word, or {field}"),
            (Row { status: 404, ..row("b.get", Method::Get, "/api/b") }, "404 is no status of success"),
        ];
        for (second, why) in cases {
            let text = conflict(&[first, second]).expect(why);
            assert!(text.starts_with("the command b.") && text.ends_with(why), "{text}");
        }
    }

    #[test]
    fn methods_of_one_path_are_one_route() {
        let rows = [
            row("a.list", Method::Get, "/api/a"),
            row("a.start", Method::Post, "/api/a"),
            row("a.get", Method::Get, "/api/a/{id}"),
            row("a.end", Method::Delete, "/api/a/{id}"),
        ];
        assert_eq!(conflict(&rows), None);
    }
}
