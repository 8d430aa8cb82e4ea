//! The settings of a command: lines of `a.b.c=value`, or a shell script that starts a trainer with such words or with
//! `--name value`.
//!
//! Nothing is run. Variables that the script itself sets are put in, with `$HOME`, `${NAME:-default}` and the four kinds of
//! arithmetic; a setting with any other `$` keeps it, and is later listed as one that cannot be translated.

use std::collections::HashMap;

use anyhow::{Result, bail};
use serde_json::Value;

use super::source::{Entry, VALUES_MAX, flatten, is_key};
use super::yaml;

/// A variable's value may grow by another's; beyond this it is no config any more.
const TEXT_MAX: usize = 1 << 16;
/// Defaults in defaults: `${A:-${B:-c}}`.
const DEFAULTS_MAX: usize = 4;
/// Characters between the brackets behind a `$`.
const BRACKETS_MAX: usize = 4096;

/// A word of a command with the line it begins in, and whether a new command begins with it.
struct Word {
    text: String,
    line: usize,
    first: bool,
}

/// The settings, and the words that start the trainer.
pub(super) fn read(text: &str, home: Option<&str>) -> Result<(Vec<Entry>, String)> {
    let mut reader = Reader::default();
    reader.variables.extend(home.map(|home| ("HOME".to_owned(), home.to_owned())));
    reader.split(text.trim_start_matches('\u{feff}'))?;
    // `trl` is a program where a word follows it.
    let is_trl = |pair: &[Word]| pair[0].text == "trl" && pair.get(1).is_some_and(|next| !next.first);
    let starts = |rest: &[Word]| is_trl(rest) || rest[0].text == "-m" || is_script(&rest[0].text);
    // Without a command, the file is nothing but settings.
    let start = (0..reader.words.len()).find(|&place| starts(&reader.words[place..]));
    settings(reader.words, start)
}

/// A file of Python, and no setting that names one.
fn is_script(word: &str) -> bool {
    word.ends_with(".py") && !word.contains('=')
}

fn settings(words: Vec<Word>, start: Option<usize>) -> Result<(Vec<Entry>, String)> {
    let (mut program, mut entries, mut running) = (vec![], vec![], false);
    let mut words = words.into_iter().enumerate().peekable();
    while let Some((place, word)) = words.next() {
        if entries.len() >= VALUES_MAX {
            bail!("line {}: more than {VALUES_MAX} settings", word.line);
        }
        running = start == Some(place) || (running && !word.first);
        if let Some(flag) = word.text.strip_prefix("--").filter(|_| running) {
            // `--flag` alone means yes.
            let mut value = || words.next_if(|(_, next)| !next.first && !next.text.starts_with("--"));
            let (key, value) = match flag.split_once('=') {
                Some((key, value)) => (key, value.to_owned()),
                None => (flag, value().map_or("true".into(), |(_, word)| word.text)),
            };
            add(key, &value, word.line, &mut entries)?;
            continue;
        }
        // Hydra's `+a=b` adds a key, `++a=b` whether it is there or not.
        let setting = word.text.trim_start_matches('+').split_once('=').filter(|(key, _)| is_key(key));
        // A name without a dot is a variable, unless the trainer is handed it.
        let is_variable = |key: &str| start.is_some() && !running && !key.contains('.');
        match setting {
            Some((key, value)) if !is_variable(key) => add(key, value, word.line, &mut entries)?,
            None if running => program.push(word.text),
            _ => {}
        }
    }
    Ok((entries, program.join(" ")))
}

fn add(key: &str, text: &str, line: usize, entries: &mut Vec<Entry>) -> Result<()> {
    let value = if text.contains('$') { None } else { yaml::value(text) };
    let value = value.unwrap_or_else(|| Value::String(text.to_owned()));
    flatten(key.to_owned(), value, Some(line), 0, entries)
}

#[derive(Default)]
struct Reader {
    variables: HashMap<String, String>,
    words: Vec<Word>,
    /// The word being read; none between words.
    word: Option<Word>,
    /// Whether the next word begins a command.
    first: bool,
}

impl Reader {
    /// Splits into words as a shell does: quotes, `\`, comments, and `;`, `|` and `&` between commands.
    fn split(&mut self, text: &str) -> Result<()> {
        let mut quote: Option<(char, usize)> = None;
        let (mut line, mut rest) = (1, text);
        self.first = true;
        while let Some(c) = rest.chars().next() {
            let mut next = &rest[c.len_utf8()..];
            match (quote.map(|(quote, _)| quote), c) {
                (Some(end), c) if c == end => quote = None,
                (None, '"' | '\'') => (_, quote) = (self.push("", line)?, Some((c, line))),
                (None | Some('"'), '\\') => match next.strip_prefix('\n').or_else(|| next.strip_prefix("\r\n")) {
                    Some(after) => (line, next) = (line + 1, after),
                    None => {
                        let c = next.chars().next().unwrap_or('\\');
                        next = next.get(c.len_utf8()..).unwrap_or_default();
                        self.push(c.encode_utf8(&mut [0; 4]), line)?;
                    }
                },
                (None | Some('"'), '$') => next = self.expand(next, line)?,
                (None, '#') if self.word.is_none() => next = next.find('\n').map_or("", |end| &next[end..]),
                (None, ' ' | '\t' | '\r') => self.end(false),
                (None, '\n' | ';' | '|' | '&') => self.end(true),
                (_, c) => self.push(c.encode_utf8(&mut [0; 4]), line)?,
            }
            line += usize::from(c == '\n');
            rest = next;
        }
        if let Some((quote, line)) = quote {
            bail!("line {line}: the quotation mark {quote} is not closed");
        }
        self.end(true);
        Ok(())
    }

    fn push(&mut self, text: &str, line: usize) -> Result<()> {
        let first = self.first;
        let word = self.word.get_or_insert_with(|| Word { text: String::new(), line, first });
        word.text.push_str(text);
        if word.text.len() > TEXT_MAX {
            bail!("line {}: a word is longer than {TEXT_MAX} bytes", word.line);
        }
        Ok(())
    }

    /// Ends a word. One that begins a command and reads `NAME=value` sets a variable, and is a setting too in files that
    /// are nothing but settings.
    fn end(&mut self, command: bool) {
        if let Some(word) = self.word.take() {
            let assigned = word.text.split_once('=').filter(|(name, _)| word.first && is_name(name));
            if let Some((name, value)) = assigned {
                self.variables.insert(name.to_owned(), value.to_owned());
            }
            // Words before a command, such as `export` and further assignments, do not end its beginning.
            self.first = assigned.is_some() || (word.first && ["export", "local"].contains(&word.text.as_str()));
            self.words.push(word);
        }
        self.first |= command;
    }

    /// Puts in what stands behind a `$`, and gives back what follows it; what cannot be known stays as it is written.
    fn expand<'a>(&mut self, text: &'a str, line: usize) -> Result<&'a str> {
        let (value, rest) = self.dollar(text, 0);
        match value {
            Some(value) => self.push(&value, line)?,
            None => self.push(&format!("${}", &text[..text.len() - rest.len()]), line)?,
        }
        Ok(rest)
    }

    /// What stands behind a `$`, if it can be known, and what follows it.
    fn dollar<'a>(&self, text: &'a str, depth: usize) -> (Option<String>, &'a str) {
        if let Some(inner) = text.strip_prefix("((") {
            let end = closing(inner, '(', ')');
            return end
                .map_or((None, text), |end| (self.calculate(&inner[..end]), inner[end..].trim_start_matches(')')));
        }
        if let Some(inner) = text.strip_prefix('{') {
            let Some(end) = closing(inner, '{', '}') else { return (None, text) };
            let (name, default) = match inner[..end].split_once(":-") {
                Some((name, default)) => (name, self.fill(default, depth + 1)),
                None => (&inner[..end], None),
            };
            return (self.variables.get(name).cloned().or(default), &inner[end + 1..]);
        }
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        (self.variables.get(&text[..end]).cloned(), &text[end..])
    }

    /// A default, with its variables put in and its quotes taken off.
    fn fill(&self, text: &str, depth: usize) -> Option<String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$').filter(|_| depth <= DEFAULTS_MAX) {
            filled.push_str(before);
            let (value, after) = self.dollar(after, depth);
            filled.push_str(&value?);
            rest = after;
        }
        filled.push_str(rest);
        (!rest.contains('$') && filled.len() <= TEXT_MAX).then(|| filled.replace(['"', '\''], ""))
    }

    /// Sums and products of whole numbers and variables; no brackets.
    fn calculate(&self, sum: &str) -> Option<String> {
        let spaced = ['+', '-', '*', '/'].iter().fold(sum.to_owned(), |sum, c| sum.replace(*c, &format!(" {c} ")));
        let mut words = spaced.split_whitespace();
        let number = |word: &str| {
            let name = word.trim_start_matches('$').trim_start_matches('{').trim_end_matches('}');
            self.variables.get(name).map_or(word, |value| value).parse::<i64>().ok()
        };
        let (mut total, mut product) = (0_i64, number(words.next()?)?);
        while let Some(sign) = words.next() {
            let right = number(words.next()?)?;
            match sign {
                "*" => product = product.checked_mul(right)?,
                "/" => product = product.checked_div(right)?,
                sign => {
                    total = total.checked_add(product)?;
                    product = if sign == "-" { right.checked_neg()? } else { right };
                }
            }
        }
        Some(total.checked_add(product)?.to_string())
    }
}

fn is_name(word: &str) -> bool {
    is_key(word) && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Where the bracket closes that was opened just before the text.
fn closing(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 1;
    for (place, c) in text.char_indices().take(BRACKETS_MAX) {
        depth += usize::from(c == open);
        depth -= usize::from(c == close);
        if depth == 0 {
            return Some(place);
        }
    }
    None
}
