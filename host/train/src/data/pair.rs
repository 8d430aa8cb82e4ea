//! Two answers to one prompt, one of which is preferred, in the shapes of the field:
//!
//! | keys | shape |
//! | --- | --- |
//! | `prompt`, `chosen`, `rejected` (`margin`) | TRL: texts, or lists of messages |
//! | `chosen`, `rejected` | TRL's implicit prompt: the messages with which both begin |
//! | `prompt_conversation`, `completion_A`, `completion_B`, `label` | tinker: `label` is A, B or Tie; ties are skipped |
//!
//! tinker's may stand in a `comparison` beside the `label`. Any further key is left alone.

use rewarden_runtime::{Message, Role};

use super::columns::{Columns, kind, optional_text, text};
use super::messages::spoken;
use super::{Arithmetic, Dataset, Outcome, Row};

/// A prompt and two answers to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Unique within the data set.
    pub id: String,
    /// The messages that are answered.
    pub prompt: Vec<Message>,
    /// The messages of the better answer.
    pub chosen: Vec<Message>,
    /// The messages of the other.
    pub rejected: Vec<Message>,
    /// By how much it is better, on the scale of the reward; 0 where the row does not say.
    pub margin: f64,
}

impl Row for Pair {
    fn read(mut row: Columns, id: &str) -> std::result::Result<Outcome<Self>, String> {
        let id = optional_text(&mut row, "id")?.unwrap_or_else(|| id.to_owned());
        let margin = match row.take("margin")? {
            None => 0.0,
            Some(value) => value.as_f64().ok_or_else(|| format!("`margin` is {}, expected a number", kind(&value)))?,
        };
        if row.has("label") && (row.has("comparison") || row.has("prompt_conversation")) {
            return Ok(match compared(row)? {
                None => Outcome::Skipped("a tie"),
                Some((prompt, chosen, rejected)) => Outcome::Rows(vec![Self { id, prompt, chosen, rejected, margin }]),
            });
        }
        let (prompt, chosen, rejected) = preferred(row)?;
        Ok(Outcome::Rows(vec![Self { id, prompt, chosen, rejected, margin }]))
    }

    fn generate(arithmetic: &Arithmetic, seed: u64) -> Dataset<Self> {
        arithmetic.pairs(seed)
    }

    fn id(&mut self) -> &mut String {
        &mut self.id
    }

    fn prompt(&self) -> &[Message] {
        &self.prompt
    }
}

/// A prompt, the better answer and the other.
type Preference = (Vec<Message>, Vec<Message>, Vec<Message>);

/// TRL's row.
fn preferred(mut row: Columns) -> std::result::Result<Preference, String> {
    // Beside conversations that begin with the prompt, a `prompt` that is text only repeats it: TRL reads it so, too.
    let may_be_implicit = row.has_list("chosen") && row.has_list("rejected") && !row.has_list("prompt");
    let has_prompt = row.has("prompt");
    let prompt = if has_prompt { spoken(&mut row, "prompt", Role::User)? } else { vec![] };
    let chosen = spoken(&mut row, "chosen", Role::Assistant)?;
    let rejected = spoken(&mut row, "rejected", Role::Assistant)?;
    check_different(&chosen, &rejected, ["chosen", "rejected"])?;
    if may_be_implicit {
        let shared = chosen.iter().zip(&rejected).take_while(|(one, other)| one == other).count();
        if shared > 0 {
            let answers = [&chosen[shared..], &rejected[shared..]].map(<[Message]>::to_vec);
            return checked(
                (chosen[..shared].to_vec(), answers[0].clone(), answers[1].clone()),
                ["chosen", "rejected"],
            );
        }
    }
    match has_prompt {
        true => checked((prompt, chosen, rejected), ["chosen", "rejected"]),
        false if may_be_implicit => {
            Err("`chosen` and `rejected` do not begin with the same message: give what they answer as `prompt`".into())
        }
        false => {
            Err("texts do not tell where the prompt ends: give what `chosen` and `rejected` answer as `prompt`".into())
        }
    }
}

/// tinker's row; nothing where neither answer is better.
fn compared(mut row: Columns) -> std::result::Result<Option<Preference>, String> {
    let label = text(&mut row, "label")?;
    let mut row = if row.has("comparison") { row.take_object("comparison")? } else { row };
    let prompt = spoken(&mut row, "prompt_conversation", Role::User)?;
    let a = spoken(&mut row, "completion_A", Role::Assistant)?;
    let b = spoken(&mut row, "completion_B", Role::Assistant)?;
    let keys = ["completion_A", "completion_B"];
    match label.as_str() {
        "A" => checked((prompt, a, b), keys).map(Some),
        "B" => checked((prompt, b, a), keys).map(Some),
        "Tie" => Ok(None),
        other => Err(format!("`label` is `{other}`, expected A, B or Tie")),
    }
}

fn checked(preference: Preference, keys: [&str; 2]) -> std::result::Result<Preference, String> {
    let (prompt, chosen, rejected) = &preference;
    for (is_empty, what) in [
        (prompt.is_empty(), "the prompt has no message".to_owned()),
        (chosen.is_empty() || rejected.is_empty(), format!("`{}` or `{}` has no message of its own", keys[0], keys[1])),
    ] {
        if is_empty {
            return Err(what);
        }
    }
    check_different(chosen, rejected, keys)?;
    Ok(preference)
}

fn check_different(one: &[Message], other: &[Message], [a, b]: [&str; 2]) -> std::result::Result<(), String> {
    match one == other {
        true => Err(format!("`{a}` and `{b}` say the same, so neither can be preferred: remove the row")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// prompt | chosen | rejected | margin
    #[track_caller]
    fn check(row: &str, expected: &str) {
        let words = |messages: &[Message]| messages.iter().map(|m| m.content.as_str()).collect::<Vec<_>>().join(" / ");
        let got = match Pair::read(Columns::parse(row.as_bytes()).unwrap(), "row-1") {
            Err(message) => message,
            Ok(Outcome::Skipped(reason)) => format!("skipped: {reason}"),
            Ok(Outcome::Rows(pairs)) => pairs
                .iter()
                .map(|p| format!("{} | {} | {} | {}", words(&p.prompt), words(&p.chosen), words(&p.rejected), p.margin))
                .collect(),
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn every_shape_is_read() {
        check(r#"{"prompt":"Q","chosen":"A","rejected":"B"}"#, "Q | A | B | 0");
        check(
            r#"{"prompt":[{"role":"user","content":"Q"}],"chosen":[{"role":"assistant","content":"A"}],"rejected":[{"role":"assistant","content":"B"}],"margin":2.5}"#,
            "Q | A | B | 2.5",
        );
        let answers = r#""chosen":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}],"rejected":[{"role":"user","content":"Q"},{"role":"assistant","content":"B"},{"role":"user","content":"C"}]"#;
        check(&format!("{{{answers}}}"), "Q | A | B / C | 0");
        check(&format!(r#"{{"prompt":"Q","score_chosen":9,{answers}}}"#), "Q | A | B / C | 0");
    }

    #[test]
    fn labelled_comparisons_are_read() {
        let row = |label: &str| {
            format!(
                r#""prompt_conversation":[{{"role":"user","content":"Q"}}],"completion_A":[{{"role":"assistant","content":"A"}}],"completion_B":[{{"role":"assistant","content":"B"}}]{label}"#
            )
        };
        check(&format!("{{{}}}", row(r#","label":"A""#)), "Q | A | B | 0");
        check(&format!("{{{}}}", row(r#","label":"B""#)), "Q | B | A | 0");
        check(&format!("{{{}}}", row(r#","label":"Tie""#)), "skipped: a tie");
        check(&format!(r#"{{"comparison":{{{}}},"label":"B"}}"#, row("")), "Q | B | A | 0");
        check(&format!("{{{}}}", row(r#","label":"C""#)), "`label` is `C`, expected A, B or Tie");
        check(r#"{"comparison":[],"label":"B"}"#, "`comparison` is a list, expected an object");
        check(r#"{"comparison":{},"label":"B"}"#, "`prompt_conversation` is missing");
    }

    #[test]
    fn bad_rows_say_what_is_wrong() {
        check(r#"{"prompt":"Q","chosen":"A"}"#, "`rejected` is missing");
        check(r#"{"prompt":"Q","chosen":"A","rejected":3}"#, "`rejected` is a number, expected a list");
        check(r#"{"prompt":"Q","chosen":"A","rejected":"B","margin":"1"}"#, "`margin` is a string, expected a number");
        check(r#"{"prompt":[],"chosen":"A","rejected":"B"}"#, "the prompt has no message");
        check(
            r#"{"prompt":"Q","chosen":"A","rejected":"A"}"#,
            "`chosen` and `rejected` say the same, so neither can be preferred: remove the row",
        );
        check(r#"{"prompt":"Q","chosen":[],"rejected":"A"}"#, "`chosen` or `rejected` has no message of its own");
        check(
            r#"{"chosen":"Q A","rejected":"Q B"}"#,
            "texts do not tell where the prompt ends: give what `chosen` and `rejected` answer as `prompt`",
        );
        check(
            r#"{"chosen":[{"role":"user","content":"Q"}],"rejected":[{"role":"user","content":"R"}]}"#,
            "`chosen` and `rejected` do not begin with the same message: give what they answer as `prompt`",
        );
        check(
            r#"{"chosen":[{"role":"user","content":"Q"}],"rejected":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}]}"#,
            "`chosen` or `rejected` has no message of its own",
        );
    }
}
