//! A turn of the demo: always the same, around what it was asked.
//!
//! Guarantees: what it begins it ends, unless it is interrupted; the file is touched after it was allowed only.
//! It is not the program: that is the module above.

use std::{fs, io::Write, path::Path};

use serde_json::{Value, json};

use super::{Player, Stop};

/// The one file that it writes.
const FILE: &str = "tidings-demo.md";
/// The most characters of a message that it puts into the file.
const ASKED_CHARS: usize = 200;
/// The most names of its directory that it shows.
const NAMES: usize = 20;

/// One turn.
pub(super) struct Turn<'a> {
    pub(super) player: &'a mut Player,
    pub(super) number: u64,
    pub(super) asked: &'a str,
}

impl Turn<'_> {
    /// Plays it to its end.
    pub(super) fn play(mut self) -> Result<(), Stop> {
        self.say(1, "thinking", "This is a demo: no model answers, but everything else is real.")?;
        let asked = self.shown();
        self.say(2, "text", &format!("You wrote: {asked}\nI will look around, ask you something, and write a line."))?;
        self.plan(0)?;
        self.look()?;
        self.plan(1)?;
        let Some(greeting) = self.ask()? else { return self.end("You did not answer, so I wrote nothing.") };
        self.plan(2)?;
        let line = format!("- {greeting} {asked}\n");
        if !self.may(&line)? {
            return self.end("You did not allow it, so I wrote nothing.");
        }
        let written = self.write(&line)?;
        self.plan(3)?;
        self.end(if written { "Done: there is a line more in tidings-demo.md." } else { "It could not be written." })
    }

    /// What it was asked, as one line.
    fn shown(&self) -> String {
        let line: String = self.asked.split_whitespace().collect::<Vec<_>>().join(" ");
        line.chars().filter(|it| !it.is_control()).take(ASKED_CHARS).collect()
    }

    fn id(&self, what: &str) -> String {
        format!("{what}-{}", self.number)
    }

    /// Says something in pieces, and then whole.
    fn say(&mut self, place: u64, kind: &str, text: &str) -> Result<(), Stop> {
        let message_id = format!("{}.{place}", self.id("message"));
        for piece in text.split_inclusive(' ') {
            self.player.tell(&format!("session.{kind}_delta"), &json!({ "messageId": message_id, "text": piece }))?;
            self.player.rest()?;
        }
        let blocks = json!([{ "type": kind, "text": text }]);
        Ok(self.player.tell("session.message", &json!({ "messageId": message_id, "blocks": blocks }))?)
    }

    fn plan(&mut self, done: usize) -> Result<(), Stop> {
        let parts = ["Look around", "Ask a question", "Write a line"];
        let status = |place: usize| match place.cmp(&done) {
            std::cmp::Ordering::Less => "completed",
            std::cmp::Ordering::Equal => "in_progress",
            std::cmp::Ordering::Greater => "pending",
        };
        let parts = parts.iter().enumerate();
        let steps: Vec<Value> = parts.map(|(place, text)| json!({ "text": text, "status": status(place) })).collect();
        Ok(self.player.tell("session.progress", &json!({ "current": done, "total": 3, "steps": steps }))?)
    }

    /// Calls a tool, and tells what it gave.
    fn tool(&mut self, name: &str, input: &Value, run: impl FnOnce() -> Result<Value, String>) -> Result<bool, Stop> {
        let id = self.id(&name.to_lowercase());
        self.player.tell("session.tool_started", &json!({ "executionId": id, "name": name, "input": input }))?;
        self.player.rest()?;
        let (status, output) = match run() {
            Ok(output) => ("success", output),
            Err(why) => ("error", json!(why)),
        };
        let ended = json!({ "executionId": id, "status": status, "output": output });
        self.player.tell("session.tool_completed", &ended)?;
        Ok(status == "success")
    }

    fn look(&mut self) -> Result<bool, Stop> {
        self.tool("List", &json!({ "path": "." }), || {
            let entries = fs::read_dir(".").map_err(|error| error.to_string())?;
            let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
            let mut names: Vec<String> = names.take(NAMES).collect();
            names.sort();
            Ok(json!(names))
        })
    }

    /// What a person answers; none where they would not.
    fn ask(&mut self) -> Result<Option<String>, Stop> {
        let question = "How is the line to begin?";
        let options = json!([
            { "label": "Hello:", "description": "As among friends" },
            { "label": "Good day:", "description": "As among strangers" },
        ]);
        let asked = json!([{ "question": question, "header": "Greeting", "options": options, "freeText": true }]);
        let request_id = self.id("question");
        self.player.tell("session.question_requested", &json!({ "requestId": request_id, "questions": asked }))?;
        let answer = self.player.answer(&request_id)?;
        Ok(answer["answers"][question].as_str().map(str::to_owned))
    }

    /// Whether a person lets it write this line.
    fn may(&mut self, line: &str) -> Result<bool, Stop> {
        let options = json!([
            { "id": "allow", "label": "Allow", "kind": "allow_once" },
            { "id": "reject", "label": "Do not allow", "kind": "reject_once" },
        ]);
        let request_id = self.id("permission");
        let input = json!({ "path": FILE, "content": line });
        let asked = json!({ "requestId": request_id, "tool": "Edit", "input": input, "options": options });
        self.player.tell("session.permission_requested", &asked)?;
        Ok(self.player.answer(&request_id)?["decision"] == "allowed")
    }

    fn write(&mut self, line: &str) -> Result<bool, Stop> {
        self.tool("Edit", &json!({ "path": FILE, "content": line }), || {
            let is_there = Path::new(FILE).exists();
            let mut file = fs::OpenOptions::new().append(true).create(true).open(FILE).map_err(|it| it.to_string())?;
            file.write_all(line.as_bytes()).map_err(|error| error.to_string())?;
            Ok(json!(if is_there { "added a line" } else { "made the file" }))
        })
    }

    fn end(&mut self, last: &str) -> Result<(), Stop> {
        self.say(3, "text", last)?;
        let words = |text: &str| text.split_whitespace().count();
        self.player.tell(
            "session.usage",
            &json!({ "inputTokens": words(self.asked), "outputTokens": words(last), "costUsd": 0.0 }),
        )?;
        Ok(self.player.tell("session.turn_completed", &json!({ "status": "success", "result": last }))?)
    }
}
