//! Answers to questions, held against what was asked.
//!
//! Guarantees: what is passed on answers every question of the request, and nothing else; an answer is one that was
//! offered, unless the question takes a text.
//! It is not the agent's format: an answer that was offered is passed on by its place.

use std::collections::BTreeMap;

use tidings_core::{Code, Error, Result};

use super::super::{
    adapter::{Choice, Reply},
    contract::question::{Answer, Question},
    input::AnswerQuestion,
};

/// What an input replies to these questions.
///
/// # Errors
/// `invalid_data`, with each question that is not answered as it can be.
pub(super) fn reply_to(questions: &[Question], input: &AnswerQuestion) -> Result<Reply> {
    let Some(answers) = &input.answers else { return Ok(Reply::Declined(input.decline.clone())) };
    let mut flaws: BTreeMap<String, String> = BTreeMap::new();
    for unknown in answers.keys().filter(|named| !questions.iter().any(|asked| asked.question == **named)) {
        flaws.insert(place(unknown), "is not one of the questions that were asked".to_owned());
    }
    let mut given = Vec::new();
    for asked in questions {
        match choices(asked, answers.get(&asked.question)) {
            Ok(choices) => given.push(choices),
            Err(why) => drop(flaws.insert(place(&asked.question), why)),
        }
    }
    if flaws.is_empty() {
        return Ok(Reply::Answers { given, shown: answers.clone() });
    }
    let error = Error::new(Code::InvalidData, "some questions are not answered as they can be");
    Err(flaws.into_iter().fold(error, |error, (field, why)| error.with_field(field, why)))
}

fn place(question: &str) -> String {
    format!("answers.{question}")
}

fn choices(asked: &Question, given: Option<&Answer>) -> std::result::Result<Vec<Choice>, String> {
    let texts = given.map(Answer::texts).filter(|texts| !texts.is_empty()).ok_or("is not answered")?;
    if texts.len() > 1 && !asked.multiple {
        return Err("takes one answer".to_owned());
    }
    let labels = || asked.options.iter().map(|option| option.label.as_str()).collect::<Vec<_>>().join(", ");
    let choice = |text: &String| {
        let offered = asked.options.iter().position(|option| option.label == *text);
        match offered {
            Some(place) => Ok(Choice::Option(place)),
            None if asked.free_text => Ok(Choice::Text(text.clone())),
            None => Err(format!("is one of: {}", labels())),
        }
    };
    texts.iter().map(choice).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn reply(answers: &Value) -> std::result::Result<Reply, Vec<(String, String)>> {
        let questions: Vec<Question> = serde_json::from_value(json!([
            {"question": "Which?", "options": [{"label": "A"}, {"label": "B"}]},
            {"question": "What else?", "options": [{"label": "C"}], "multiple": true, "freeText": true},
        ]))
        .expect("questions");
        let input = json!({"sessionId": "s1", "requestId": "q1", "answers": answers});
        let input: AnswerQuestion = serde_json::from_value(input).expect("parses");
        reply_to(&questions, &input).map_err(|error| error.fields().clone().into_iter().collect())
    }

    #[test]
    fn every_question_is_answered_by_what_it_offers_or_a_text_where_it_takes_one() {
        let Ok(Reply::Answers { given, .. }) = reply(&json!({"Which?": "B", "What else?": ["C", "and tests"]})) else {
            panic!("a reply")
        };
        let text = Choice::Text("and tests".to_owned());
        assert_eq!(given, [vec![Choice::Option(1)], vec![Choice::Option(0), text]]);
        let table = [
            (json!({"Which?": "D", "What else?": "C"}), "answers.Which?: is one of: A, B"),
            (json!({"Which?": ["A", "B"], "What else?": "C"}), "answers.Which?: takes one answer"),
            (json!({"Which?": "A"}), "answers.What else?: is not answered"),
            (json!({"Which?": "A", "What else?": []}), "answers.What else?: is not answered"),
            (
                json!({"Which?": "A", "What else?": "C", "Why?": "x"}),
                "answers.Why?: is not one of the questions that were asked",
            ),
        ];
        for (answers, expected) in table {
            let flaws = reply(&answers).expect_err("refused");
            let flaws: Vec<String> = flaws.into_iter().map(|(field, why)| format!("{field}: {why}")).collect();
            assert_eq!(flaws, [expected], "{answers}");
        }
    }
}
