//! Pays 1 when the text after the last `####` is the reference answer.

use rewarden_sdk::{Fault, Sample, Score, reward};

#[derive(serde::Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What an answer earns that has the marker and is wrong.
    pub format_score: f64,
}

/// The text between the last `####` and the end of its line.
fn marked(text: &str) -> Option<&str> {
    text.rsplit_once("####")?.1.split('\n').next()
}

/// `" $1,200. "` is `1200`.
fn clean(text: &str) -> String {
    let text = text.trim_matches([' ', '\t', '\r', '\n', '\x0b', '\x0c']);
    let text = text.strip_prefix('$').unwrap_or(text).replace(',', "");
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

pub fn score(sample: &Sample, settings: &Settings) -> Result<Score, Fault> {
    let Some(said) = marked(sample.response()).map(clean) else {
        return Ok(Score::of(0.0).note("no ####"));
    };
    let wanted = clean(marked(&sample.ground_truth).unwrap_or(&sample.ground_truth));
    Ok(Score::of(if said == wanted { 1.0 } else { settings.format_score }).note(said))
}

reward!(score, Settings, schema = include_str!("../settings.schema.json"));
