//! `rewarden config docs`: every key of a run's config, by table, with type, default and meaning.

use std::process::ExitCode;

use anyhow::Result;
use rewarden_train::{KeyDoc, config_docs};

use crate::args::ConfigDocsArgs;

pub(crate) fn run(args: ConfigDocsArgs) -> Result<ExitCode> {
    let docs = config_docs()?;
    match args.json {
        true => outln!("{}", serde_json::to_string_pretty(&docs)?),
        false => docs.iter().for_each(show),
    }
    Ok(ExitCode::SUCCESS)
}

fn show(doc: &KeyDoc) {
    let KeyDoc { key, kind, default, required, meaning, choices, is_table } = doc;
    if *is_table {
        let name = key.replace("[]", "");
        outln!("\n{}", if key.ends_with("[]") { format!("[[{name}]]") } else { format!("[{name}]") });
        return say(meaning, "# ");
    }
    let name = key.rsplit('.').next().unwrap_or(key);
    let kind = kind.replace("one of", "a word");
    match (default, required) {
        (Some(default), _) => outln!("{name} = {default}  ({kind})"),
        (None, true) => outln!("{name}  ({kind}, must be set)"),
        (None, false) => outln!("{name}  ({kind}, not set)"),
    }
    say(meaning, "    ");
    for (choice, meaning) in choices {
        say(&format!("{choice}: {meaning}"), "      ");
    }
}

/// Wraps at the width of a terminal.
fn say(text: &str, indent: &str) {
    let mut line = indent.to_owned();
    for word in text.split_whitespace() {
        if line.len() + word.len() > 100 {
            outln!("{}", line.trim_end());
            line = indent.to_owned();
        }
        line.push_str(word);
        line.push(' ');
    }
    outln!("{}", line.trim_end());
}
