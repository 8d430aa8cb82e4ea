//! Lines as a Rewarden TOML that parses: what a run would refuse is left out and listed, what a run needs and the other
//! config does not say stands there as a comment.

use std::path::Path;

use rewarden_train::RunConfig;

use super::table::{Dialect, float};
use super::translate::{Left, Line, Translation};
use crate::args::Recipe;

/// Where comments begin, if the line is not longer.
const COMMENT_COLUMN: usize = 44;

/// What a run of a stage needs, if no line says it: stage (none is every), key, an example, what to write.
const NEEDED: [(Option<Recipe>, &str, &str, &str); 4] = [
    (None, "model_name", "\"Qwen/Qwen3-0.6B\"", "add the model: a folder, or a name on the Hugging Face hub"),
    (None, "data.path", "\"train.jsonl\"", "add the rows: a file of JSON lines or Parquet"),
    (Some(Recipe::Rl), "rl.max_steps", "100", "add the number of steps; 100 if left out, and num_epochs too"),
    (Some(Recipe::Rl), "rl.group_size", "16", "add the number of answers to each task; 16 if left out"),
];

/// What reinforcement learning needs and no other system can hand over.
const REWARD: &str = "
# Add what judges the answers: a folder or component made with `rewarden plugin new`.
# [[reward]]
# name = \"accuracy\"
# plugin = \"rewards/gsm8k\"
";

/// The whole file.
pub(super) fn write(translation: &mut Translation, dialect: &Dialect, file: &Path) -> String {
    complete(&mut translation.lines, dialect.recipe, file);
    let refused = refuse_what_a_run_would(translation);
    translation.left.extend(refused);
    translation.left.sort_by_key(|left| left.entry);
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let head =
        format!("# {}: {}. Behind each line stands the key that it comes from.\n\n", name.escape_debug(), dialect.name);
    head + &text(&translation.lines, Some(dialect.recipe))
}

/// What every config has.
fn complete(lines: &mut Vec<Line>, recipe: Recipe, file: &Path) {
    let stages = toml::Value::Array(vec![recipe.name().into()]);
    lines.insert(0, Line { key: "stages".into(), value: stages, comment: "what the trainer does".into(), entry: None });
    if !lines.iter().any(|line| line.key == "log_path") {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let (value, comment) = (format!("runs/{stem}").into(), "not said there: the run directory".into());
        lines.insert(0, Line { key: "log_path".into(), value, comment, entry: None });
    }
}

/// Takes out lines with which the whole does not parse, each with what a run would say.
fn refuse_what_a_run_would(translation: &mut Translation) -> Vec<Left> {
    let (accepted, refused) = accept(std::mem::take(&mut translation.lines));
    translation.lines = accepted;
    // Defaults of the other system that mean nothing beside what the config says are no loss.
    let said = refused.into_iter().filter(|(line, _)| line.entry.is_some());
    said.map(|(line, error)| {
        let reason = error.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        let reason = reason.strip_prefix("config key ").unwrap_or(reason);
        Left { entry: line.entry, key: line.key, reason: format!("value not supported: {reason}") }
    })
    .collect()
}

/// As many lines as parse together, in their order, and why the others do not. Some need one that follows them, so they
/// are tried as long as that helps.
fn accept(lines: Vec<Line>) -> (Vec<Line>, Vec<(Line, String)>) {
    let mut waiting: Vec<(usize, Line)> = lines.into_iter().enumerate().collect();
    let (mut accepted, mut places, mut errors) = (vec![], vec![], vec![]);
    loop {
        let before = waiting.len();
        errors.clear();
        for (place, line) in std::mem::take(&mut waiting) {
            accepted.push(line);
            places.push(place);
            if let Err(error) = RunConfig::parse(Path::new("import"), &text(&accepted, None), &[]) {
                errors.push(error.to_string());
                waiting.extend(places.pop().zip(accepted.pop()));
            }
        }
        if waiting.is_empty() || waiting.len() == before {
            break;
        }
    }
    let mut in_order: Vec<(usize, Line)> = places.into_iter().zip(accepted).collect();
    in_order.sort_by_key(|(place, _)| *place);
    let refused = waiting.into_iter().map(|(_, line)| line).zip(errors).collect();
    (in_order.into_iter().map(|(_, line)| line).collect(), refused)
}

/// TOML: keys of the root, then tables; with comments and what is needed if it is for a person.
fn text(lines: &[Line], recipe: Option<Recipe>) -> String {
    let mut shown: Vec<(String, String)> = vec![];
    for line in lines {
        let (table, key) = line.key.rsplit_once('.').unwrap_or(("", &line.key));
        shown.push((table.to_owned(), commented(&format!("{key} = {}", value(&line.value)), &line.comment)));
    }
    let needs = NEEDED.iter().filter(|(stage, key, ..)| {
        let concerns = recipe.is_some_and(|recipe| stage.is_none_or(|stage| stage == recipe));
        // Steps follow from epochs.
        let is_said = |said: &str| said == *key || *key == "rl.max_steps" && said == "rl.num_epochs";
        concerns && !lines.iter().any(|line| is_said(&line.key))
    });
    for (_, key, example, what) in needs {
        let (table, key) = key.rsplit_once('.').unwrap_or(("", key));
        shown.push((table.to_owned(), commented(&format!("# {key} = {example}"), what)));
    }
    // Tables in the order of their first line, those below a table right behind it.
    let rank = |table: &str| {
        let top = table.split('.').next().unwrap_or_default();
        let order = ["", "data", "rubric", "sft", "prm", "dpo", "rl", "eval"];
        (order.iter().position(|name| *name == top), table.to_owned())
    };
    shown.sort_by_key(|(table, _)| rank(table));
    let mut text = String::new();
    let mut current = "";
    for (table, line) in &shown {
        if table != current {
            text.push_str(&format!("\n[{table}]\n"));
            current = table;
        }
        text.push_str(line);
        text.push('\n');
    }
    if recipe == Some(Recipe::Rl) {
        text.push_str(REWARD);
    }
    text
}

fn commented(line: &str, comment: &str) -> String {
    format!("{line:COMMENT_COLUMN$} # {comment}")
}

fn value(value: &toml::Value) -> String {
    match value {
        toml::Value::Float(number) => format!("{:?}", float(*number).as_float().unwrap_or(*number)),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::recognise::dialects;
    use super::super::source::Source;
    use super::super::translate::translate;
    use super::*;

    /// A slip in a default would leave its line out without a word.
    #[test]
    fn what_a_trainer_does_unasked_is_a_config() {
        for dialect in dialects() {
            let mut lines = translate(&Source::default(), dialect).lines;
            complete(&mut lines, dialect.recipe, Path::new("x"));
            let refused: Vec<String> =
                accept(lines).1.into_iter().map(|(line, error)| format!("{}: {error}", line.key)).collect();
            assert_eq!(refused, Vec::<String>::new(), "{}", dialect.name);
        }
    }
}
