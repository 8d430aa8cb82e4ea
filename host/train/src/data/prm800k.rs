//! PRM800K's own files (OpenAI, 2023): at each step of a solution, people rated one or several ways to go on and chose one of
//! them, or wrote their own.
//!
//! As TRL converts them: every rated way that was not chosen ends a chain that begins with what was chosen before it, and
//! what was chosen throughout is a chain of its own. A rating of 1 is right, -1 is wrong, and 0 is wrong too: the step is
//! sound, and leads nowhere. What people wrote themselves is right. Unlike there, a step that nobody rated has no label;
//! and rows that say nothing of a solution - a bad problem, questions that test the labeler - are skipped, and counted.

use rewarden_runtime::Role;
use serde::Deserialize;

use super::columns::{Columns, optional_text};
use super::{Chain, Outcome};
use crate::renderer::message;

#[derive(Deserialize)]
struct Question {
    problem: String,
}

#[derive(Deserialize)]
struct Label {
    steps: Vec<Step>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Step {
    completions: Option<Vec<Completion>>,
    human_completion: Option<Completion>,
    chosen_completion: Option<usize>,
}

#[derive(Deserialize)]
struct Completion {
    text: String,
    rating: Option<i64>,
}

/// The chains of a row.
pub(super) fn read(mut row: Columns, id: &str) -> std::result::Result<Outcome<Chain>, String> {
    let id = optional_text(&mut row, "id")?.unwrap_or_else(|| id.to_owned());
    let question: Question = row.take_as("question")?;
    let label: Label = row.take_as("label")?;
    let is_test = |row: &mut Columns, key| Ok::<_, String>(row.take(key)?.is_some_and(|value| value == true));
    if is_test(&mut row, "is_quality_control_question")? || is_test(&mut row, "is_initial_screening_question")? {
        return Ok(Outcome::Skipped("a question that tests the labeler"));
    }
    if label.finish_reason.as_deref() == Some("bad_problem") {
        return Ok(Outcome::Skipped("a bad problem"));
    }
    let chains = chains(&label.steps)?;
    if chains.is_empty() {
        return Ok(Outcome::Skipped("no rated step"));
    }
    let chain = |(number, steps): (usize, Labelled)| {
        let (steps, labels) = steps.into_iter().unzip();
        let prompt = vec![message(Role::User, question.problem.as_str())];
        Chain { id: format!("{id}/{number}"), prompt, steps, labels }
    };
    Ok(Outcome::Rows(chains.into_iter().enumerate().map(chain).collect()))
}

/// The steps of a chain, each with its label.
type Labelled = Vec<(String, Option<f64>)>;

fn chains(steps: &[Step]) -> std::result::Result<Vec<Labelled>, String> {
    let mut chains = vec![];
    let mut chosen: Labelled = vec![];
    for (at, step) in steps.iter().enumerate() {
        let ways = step.completions.as_deref().unwrap_or_default();
        let labelled = |(way, it): (usize, &Completion)| {
            let label = it.label().map_err(|e| format!("`label.steps[{at}].completions[{way}]`: {e}"));
            label.map(|label| (it.text.clone(), label))
        };
        let ways: Labelled = ways.iter().enumerate().map(labelled).collect::<std::result::Result<_, String>>()?;
        let others =
            ways.iter().enumerate().filter(|(way, (_, label))| label.is_some() && Some(*way) != step.chosen_completion);
        chains.extend(others.map(|(_, way)| chosen.iter().chain([way]).cloned().collect::<Labelled>()));
        match (step.chosen_completion, &step.human_completion) {
            (Some(way), _) => chosen.push(ways.get(way).cloned().ok_or_else(|| {
                format!("`label.steps[{at}].chosen_completion` is {way} of {} completions", ways.len())
            })?),
            (None, Some(human)) => chosen.push((human.text.clone(), Some(1.0))),
            (None, None) => break, // the last step: no way was right
        }
    }
    if chosen.iter().any(|(_, label)| label.is_some()) {
        chains.push(chosen);
    }
    Ok(chains)
}

impl Completion {
    fn label(&self) -> std::result::Result<Option<f64>, String> {
        match self.rating {
            None => Ok(None),
            Some(1) => Ok(Some(1.0)),
            Some(0 | -1) => Ok(Some(0.0)),
            Some(other) => Err(format!("rating {other}, expected -1, 0, 1 or null")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Row;
    use super::*;

    /// The chains of a row with these steps, a step as its text and label.
    #[track_caller]
    fn check(steps: &str, expected: &[&str]) {
        let row = format!(
            r#"{{"question":{{"problem":"P"}},"label":{{"steps":[{steps}],"finish_reason":"solution"}},"labeler":"x"}}"#
        );
        let told = |chain: &Chain| {
            let label = |label: &Option<f64>| label.map_or("?".to_owned(), |label| label.to_string());
            let steps: Vec<_> =
                chain.steps.iter().zip(&chain.labels).map(|(s, l)| format!("{s}{}", label(l))).collect();
            format!("{} {}: {}", chain.id, chain.prompt[0].content, steps.join(" "))
        };
        match Chain::read(Columns::parse(row.as_bytes()).unwrap(), "r") {
            Ok(Outcome::Rows(chains)) => assert_eq!(chains.iter().map(told).collect::<Vec<_>>(), expected),
            Ok(Outcome::Skipped(reason)) => assert_eq!([reason], expected),
            Err(error) => assert_eq!([error.as_str()], expected),
        }
    }

    const TWO: &str = r#"{"completions":[{"text":"a","rating":-1},{"text":"b","rating":1}],"human_completion":null,"chosen_completion":1}"#;

    #[test]
    fn what_was_not_chosen_ends_a_chain() {
        check(TWO, &["r/0 P: a0", "r/1 P: b1"]);
        let human = r#"{"completions":[{"text":"c","rating":0}],"human_completion":{"text":"h","rating":null},"chosen_completion":null}"#;
        let last = r#"{"completions":[{"text":"d","rating":1},{"text":"e","rating":-1}],"human_completion":null,"chosen_completion":0}"#;
        let expected = ["r/0 P: a0", "r/1 P: b1 c0", "r/2 P: b1 h1 e0", "r/3 P: b1 h1 d1"];
        check(&format!("{TWO},{human},{last}"), &expected);
    }

    #[test]
    fn nothing_follows_a_step_where_nothing_was_chosen() {
        let wrong = r#"{"completions":[{"text":"w","rating":-1}],"human_completion":null,"chosen_completion":null}"#;
        check(&format!("{TWO},{wrong},{TWO}"), &["r/0 P: a0", "r/1 P: b1 w0", "r/2 P: b1"]);
        check(wrong, &["r/0 P: w0"]);
        let none = r#"{"completions":null,"human_completion":null,"chosen_completion":null}"#;
        check(&format!("{TWO},{none}"), &["r/0 P: a0", "r/1 P: b1"]);
    }

    #[test]
    fn what_nobody_rated_has_no_label() {
        let open = r#"{"completions":[{"text":"u","rating":null},{"text":"v","rating":null}],"human_completion":null,"chosen_completion":0}"#;
        check(&format!("{open},{TWO}"), &["r/0 P: u? a0", "r/1 P: u? b1"]);
        check(open, &["no rated step"]);
        check("", &["no rated step"]);
    }

    #[test]
    fn bad_rows_say_what_is_wrong() {
        let rated =
            |rating| format!(r#"{{"completions":[{{"text":"a","rating":{rating}}}],"chosen_completion":null}}"#);
        check(&rated("2"), &["`label.steps[0].completions[0]`: rating 2, expected -1, 0, 1 or null"]);
        check(&rated("\"1\""), &["`label`: invalid type: string \"1\", expected i64"]);
        let far = r#"{"completions":[{"text":"a","rating":1}],"chosen_completion":1}"#;
        check(far, &["`label.steps[0].chosen_completion` is 1 of 1 completions"]);
    }

    /// A row of this kind, and why it is skipped.
    #[track_caller]
    fn check_skipped(finish: &str, control: bool, screening: bool, expected: &str) {
        let row = format!(
            r#"{{"question":{{"problem":"P"}},"is_quality_control_question":{control},"is_initial_screening_question":{screening},"label":{{"steps":[{TWO}],"finish_reason":"{finish}"}}}}"#
        );
        match Chain::read(Columns::parse(row.as_bytes()).unwrap(), "r") {
            Ok(Outcome::Skipped(reason)) => assert_eq!(reason, expected),
            Ok(Outcome::Rows(chains)) => assert_eq!(format!("{} chains", chains.len()), expected),
            Err(error) => assert_eq!(error, expected),
        }
    }

    #[test]
    fn rows_that_say_nothing_of_a_solution_are_skipped() {
        check_skipped("give_up", false, false, "2 chains");
        check_skipped("bad_problem", false, false, "a bad problem");
        check_skipped("solution", true, false, "a question that tests the labeler");
        check_skipped("solution", false, true, "a question that tests the labeler");
    }
}
