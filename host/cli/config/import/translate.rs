//! From a config of another system to lines of ours, by the rows of its tables.

use std::collections::HashSet;

use rewarden_train::nearest;
use serde_json::Value;

use super::recognise::matches;
use super::source::Source;
use super::table::{Dialect, Row, literal};

/// One line of ours.
pub(super) struct Line {
    /// Dotted path.
    pub(super) key: String,
    pub(super) value: toml::Value,
    /// Where it comes from.
    pub(super) comment: String,
    /// Place of the entry it translates; none of what the config leaves to its system.
    pub(super) entry: Option<usize>,
}

/// What has no line.
pub(super) struct Left {
    /// Place of the entry; none of what the config leaves to its system.
    pub(super) entry: Option<usize>,
    /// The key, where there is no entry.
    pub(super) key: String,
    pub(super) reason: String,
}

#[derive(Default)]
pub(super) struct Translation {
    pub(super) lines: Vec<Line>,
    pub(super) left: Vec<Left>,
    /// Our keys whose value cannot be said: no default of theirs may take its place.
    refused: HashSet<String>,
    /// Entries that a row has heard.
    heard: HashSet<usize>,
    /// Entries that no row can hear as things are, and why.
    idle: Vec<Left>,
}

/// Everything that can be said, and why the rest cannot.
pub(super) fn translate(source: &Source, dialect: &Dialect) -> Translation {
    let mut translation = Translation::default();
    let rows = || dialect.rows.iter().copied().flatten();
    let ours = |row: &Row| row.to.replacen('*', dialect.recipe.name(), 1);
    for row in rows() {
        let places = row.from.split('|').filter_map(|key| source.get(key).and_then(|_| source.place(key)));
        places.for_each(|place| translation.hear(source, row, ours(row), place));
    }
    for row in rows().filter(|row| row.hindrance(source).is_none()) {
        if let Some(default) = row.default {
            translation.assume(ours(row), default, first_name(row), "default there");
        }
    }
    for (key, value, why) in dialect.implied {
        translation.assume(key.replacen('*', dialect.recipe.name(), 1), value, "", why);
    }
    translation.list_the_rest(source, dialect);
    translation
}

fn first_name(row: &Row) -> &'static str {
    row.from.split('|').next().unwrap_or(row.from)
}

impl Translation {
    fn hear(&mut self, source: &Source, row: &Row, ours: String, place: usize) {
        let entry = &source.entries[place];
        let left = |reason| Left { entry: Some(place), key: entry.key.clone(), reason };
        if let Some(hindrance) = row.hindrance(source) {
            return self.idle.push(left(format!("not in force: {hindrance}")));
        }
        match row.how.convert(source, &entry.value) {
            Ok(value) => {
                self.heard.insert(place);
                let is_new = !self.lines.iter().any(|line| line.key == ours);
                if let Some(value) = value.filter(|_| is_new) {
                    let note = if row.note.is_empty() { "" } else { ": " };
                    let comment = format!("{}{note}{}", shown_name(row, &entry.key), row.note);
                    self.lines.push(Line { key: ours, value, comment, entry: Some(place) });
                }
            }
            Err(reason) => {
                self.refused.insert(ours);
                if !self.left.iter().any(|left| left.entry == Some(place)) {
                    self.left.push(left(reason));
                }
            }
        }
    }

    /// What holds there without being said.
    fn assume(&mut self, ours: String, value: &str, theirs: &str, why: &str) {
        if self.refused.contains(&ours) || self.lines.iter().any(|line| line.key == ours) {
            return;
        }
        let comment = if theirs.is_empty() { why.to_owned() } else { format!("{theirs}: {why}") };
        match literal(value) {
            Ok(Some(value)) => self.lines.push(Line { key: ours, value, comment, entry: None }),
            Ok(None) => {}
            Err(reason) => self.left.push(Left { entry: None, key: theirs.to_owned(), reason }),
        }
    }

    fn list_the_rest(&mut self, source: &Source, dialect: &Dialect) {
        let known: HashSet<usize> =
            self.left.iter().filter_map(|left| left.entry).chain(self.heard.iter().copied()).collect();
        for (place, entry) in source.entries.iter().enumerate() {
            // What is null, or said again below, says nothing.
            if known.contains(&place) || entry.value.is_null() || source.place(&entry.key) != Some(place) {
                continue;
            }
            let idle = self.idle.iter().find(|left| left.entry == Some(place)).map(|left| left.reason.clone());
            let without = || {
                let mut reasons = dialect.without.iter().copied().flatten();
                reasons
                    .find(|(pattern, _)| matches(pattern, &entry.key))
                    .map(|(_, reason)| format!("no counterpart: {reason}"))
            };
            let reason = idle.or_else(without).unwrap_or_else(|| unknown(&entry.key, dialect));
            self.left.push(Left { entry: Some(place), key: entry.key.clone(), reason });
        }
        self.left.sort_by_key(|left| left.entry);
    }

    /// Entries that have a line, or need none.
    pub(super) fn translated(&self) -> usize {
        let left: HashSet<usize> = self.left.iter().filter_map(|left| left.entry).collect();
        self.heard.difference(&left).count()
    }
}

/// The name in the table, which is the one in the file: nothing a file says goes into comments.
fn shown_name(row: &Row, key: &str) -> &'static str {
    row.from.split('|').find(|name| *name == key).unwrap_or(row.from)
}

fn unknown(key: &str, dialect: &Dialect) -> String {
    let names = dialect.rows.iter().copied().flatten().flat_map(|row| row.from.split('|'));
    let near = (key.len() < 100).then(|| nearest(key, names)).flatten();
    match near {
        Some(near) if near != key => format!("unknown key; a known one is {near}"),
        _ => "unknown key".to_owned(),
    }
}

/// A value in an enumeration of what is left: short, on one line, and never a secret.
pub(super) fn shown(key: &str, value: &Value) -> String {
    const LENGTH_MAX: usize = 60;
    let is_secret = ["token", "secret", "password", "api_key"].iter().any(|word| key.to_lowercase().ends_with(word));
    let text = value.to_string();
    let cut = text.char_indices().nth(LENGTH_MAX).map(|(end, _)| &text[..end]);
    match (is_secret && value.is_string(), cut) {
        (true, _) => "(not shown)".to_owned(),
        (false, Some(cut)) => format!("{cut}..."),
        (false, None) => text,
    }
}
