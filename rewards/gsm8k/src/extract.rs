//! Finds the answer in a completion. Two readings: the original graders' regular expressions, reproduced character by
//! character, and the one of a person who looks for the same thing.

use crate::{Decimal, Method};

const MARKER: &str = "####";

/// verl looks at so many characters of the end.
const TAIL_CHARS: usize = 300;

/// An answer as a person reads it.
pub(crate) struct Answer {
    /// As it stands in the text.
    pub(crate) text: String,
    /// None when it looks like an answer and is not one number, such as `3/4` or `1.2.3`.
    pub(crate) value: Option<Decimal>,
}

/// The reference answer.
pub(crate) struct Reference<'a> {
    pub(crate) text: &'a str,
    pub(crate) value: Decimal,
}

/// The reference from a whole GSM8K answer ("... #### 72") or from the number alone.
pub(crate) fn reference(ground_truth: &str) -> Option<Reference<'_>> {
    let text = ground_truth.rsplit_once(MARKER).map_or(ground_truth, |(_, after)| after).trim();
    let value = number_at(text)?.value?;
    Some(Reference { text, value })
}

fn tail(text: &str) -> &str {
    text.char_indices().rev().nth(TAIL_CHARS - 1).map_or(text, |(start, _)| &text[start..])
}

/// What the original grader of this method takes for the answer.
pub(crate) fn exact_answer(text: &str, method: Method) -> Option<String> {
    match method {
        Method::First => marked(text).next().map(|answer| answer.replace(',', "")),
        Method::Strict => marked(tail(text)).last().map(|answer| answer.replace(',', "")),
        Method::Flexible => last_run(tail(text)).map(str::to_owned),
    }
}

/// All matches of `#### (\-?[0-9\.\,]+)`.
fn marked(text: &str) -> impl Iterator<Item = &str> {
    const PREFIX: &str = "#### ";
    // Overlapping candidates do not exist: the space ends the hashes.
    text.match_indices(PREFIX).filter_map(|(start, _)| run_at(&text[start + PREFIX.len()..]))
}

/// `\-?[0-9\.\,]+` at the start of the text.
fn run_at(text: &str) -> Option<&str> {
    let sign = usize::from(text.starts_with('-'));
    let length = text[sign..].bytes().take_while(|byte| in_run(*byte)).count();
    (length > 0).then(|| &text[..sign + length])
}

fn in_run(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b'.' || byte == b','
}

/// The last match of `\-?[0-9\.\,]+` that is not a lone point; a lone point only when there is nothing else.
fn last_run(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let mut end = bytes.len();
    let mut first = None;
    while let Some(last) = bytes[..end].iter().rposition(|byte| in_run(*byte)) {
        let mut start = bytes[..last].iter().rposition(|byte| !in_run(*byte)).map_or(0, |before| before + 1);
        end = start;
        if start > 0 && bytes[start - 1] == b'-' {
            start -= 1;
            end = start;
        }
        let run = &text[start..=last];
        if run != "." {
            return Some(run);
        }
        first = Some(run);
    }
    first
}

/// What a person takes for the answer, looking where the method says.
pub(crate) fn lenient_answer(text: &str, method: Method) -> Option<Answer> {
    match method {
        Method::First => marked_loosely(text).next(),
        Method::Strict => marked_loosely(tail(text)).last(),
        Method::Flexible => last_number(tail(text)),
    }
}

/// All answers after a marker, with or without the space, whatever is wrapped around the number.
fn marked_loosely(text: &str) -> impl Iterator<Item = Answer> {
    text.match_indices(MARKER).filter_map(|(start, _)| {
        let rest = &text[start + MARKER.len()..];
        // Five to seven hashes are one marker too. No more are skipped here: the next match begins with them.
        let hashes = rest.bytes().take(MARKER.len() - 1).take_while(|byte| *byte == b'#').count();
        number_at(&rest[hashes..])
    })
}

/// The number at the start of the text, after signs, currency, emphasis and brackets. Reads no further than the number,
/// and never past a `#`, which keeps a text full of markers linear.
fn number_at(text: &str) -> Option<Answer> {
    let mut negative = false;
    let start = text.char_indices().find(|(_, c)| {
        negative |= matches!(c, '-' | '\u{2212}');
        !is_wrapping(*c)
    });
    let (mut start, first) = start?;
    if let Some(rest) = text[start..].strip_prefix("boxed{") {
        return number_at(rest).map(|answer| negated(answer, negative));
    }
    if first == '.' {
        // A point opens a number only when a digit follows it at once.
        start += usize::from(!text[start + 1..].starts_with(|c: char| c.is_ascii_digit()));
    }
    let digits = text[start..].split(|c: char| !c.is_ascii() || !in_run(c as u8)).next().unwrap_or("");
    if !digits.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(answer(negative, digits, &text[start + digits.len()..]))
}

fn is_wrapping(c: char) -> bool {
    c.is_whitespace() || "*_`$€£¥₹\\([{\"'~≈=:+-\u{2212}".contains(c)
}

fn negated(answer: Answer, negative: bool) -> Answer {
    if !negative {
        return answer;
    }
    let text = format!("-{}", answer.text);
    let value = Decimal::parse(!answer.text.starts_with('-'), answer.text.trim_start_matches('-'));
    Answer { text, value: answer.value.and(value) }
}

fn answer(negative: bool, digits: &str, rest: &str) -> Answer {
    let digits = digits.trim_end_matches(['.', ',']);
    let text = if negative { format!("-{digits}") } else { digits.to_owned() };
    // `3/4` is not the number 3.
    let fraction = rest.strip_prefix('/').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let value = if fraction { None } else { Decimal::parse(negative, digits) };
    Answer { text, value }
}

/// The last number of the text. A `-` is a sign unless it stands after a letter, a digit or a bracket, as in `10-5`.
fn last_number(text: &str) -> Option<Answer> {
    let bytes = text.as_bytes();
    let last = bytes.iter().rposition(u8::is_ascii_digit)?;
    let start = bytes[..last].iter().rposition(|byte| !in_run(*byte)).map_or(0, |before| before + 1);
    let before = text[..start].trim_end_matches(['$', '€', '£', '¥', '₹', '*', '\\']);
    let minus = before.strip_suffix(['-', '\u{2212}']);
    let negative = minus.is_some_and(|left| !left.ends_with(|c: char| c.is_alphanumeric() || c == ')' || c == ']'));
    let over = before.strip_suffix('/').is_some_and(|left| left.ends_with(|c: char| c.is_ascii_digit()));
    let digits = text[start..=last].trim_start_matches(',');
    let mut found = answer(negative, digits, "");
    if over {
        found.value = None;
    }
    Some(found)
}
