//! Where the lines of a bundle come from: of a source map, what a stack trace needs.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// How a bundle's own lines are named in a stack trace.
const BUNDLE: &str = "/bundle.js:";

/// What the bundle's folder is below: the plugin's folder.
const UP: &str = "../../";

/// For each line of a bundle, from which column on it is from which file and line.
#[derive(Debug, Serialize)]
pub(crate) struct Lines {
    sources: Vec<String>,
    lines: Vec<Vec<Place>>,
}

/// From this column on (counted from one) it is this source, by its number, and this line of it; no source for our own SDK.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Place(usize, Option<usize>, usize);

#[derive(Deserialize)]
struct Map {
    sources: Vec<String>,
    mappings: String,
}

impl Lines {
    /// Reads a source map of version 3.
    pub(crate) fn read(json: &[u8]) -> Result<Lines> {
        let map: Map = serde_json::from_slice(json)?;
        let is_ours = |source: usize| map.sources.get(source).is_none_or(|name| name.starts_with("../../.rewarden/"));
        let (mut source, mut line) = (0, 0);
        let mut lines: Vec<Vec<Place>> = vec![];
        for generated in map.mappings.split(';') {
            let (mut column, mut places) = (0, Vec::<Place>::new());
            for segment in generated.split(',').filter(|segment| !segment.is_empty()) {
                let numbers = numbers(segment).context("its mappings are broken")?;
                // Column, source, line, column and name, each as the difference to the one before.
                let [of_column, of_source, of_line, of_source_column, ..] = numbers[..] else { continue };
                (column, source, line) = (column + of_column, source + of_source, line + of_line);
                let begun = lines.iter().any(|places| !places.is_empty());
                // A line of the bundle opens with where the one before has ended, which nothing on it is from.
                if (of_source, of_line, of_source_column) == (0, 0, 0) && places.is_empty() && begun {
                    continue;
                }
                let at = |number: i64| usize::try_from(number).context("its mappings are broken");
                let author = Some(at(source)?).filter(|source| !is_ours(*source));
                let place = Place(at(column)? + 1, author, at(line)? + 1);
                if places.last().is_none_or(|last| (last.1, last.2) != (place.1, place.2)) {
                    places.push(place);
                }
            }
            lines.push(places);
        }
        let name = |source: String| source.strip_prefix(UP).map(str::to_owned).unwrap_or(source);
        Ok(Lines { sources: map.sources.into_iter().map(name).collect(), lines })
    }

    /// `{"sources": [name], "lines": [[[column, source or null, line]]]}`, as the SDK reads it.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts")
    }

    /// A compiler's message with the author's files and lines in place of the bundle's.
    pub(crate) fn translate(&self, said: &str) -> String {
        let mut parts = said.split(BUNDLE);
        let mut translated = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (place, rest) =
                part.split_at(part.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(part.len()));
            match self.author(place) {
                Some((source, line)) => translated.push_str(&format!("{source}:{line}{rest}")),
                None => translated.push_str(&format!("{BUNDLE}{part}")),
            }
        }
        translated
    }

    /// The author's file and line for the bundle's `line:column`.
    fn author(&self, place: &str) -> Option<(&str, usize)> {
        let (line, column) = place.split_once(':')?;
        let (line, column) = (line.parse::<usize>().ok()?.checked_sub(1)?, column.parse::<usize>().ok()?);
        let places = self.lines.get(line)?;
        let Place(_, source, line) = places.iter().rfind(|place| place.0 <= column).or(places.first())?;
        Some((&self.sources[(*source)?], *line))
    }
}

/// The numbers of a segment: base 64 with five bits a digit, the sixth for "goes on", the lowest of all for the sign.
fn numbers(segment: &str) -> Option<Vec<i64>> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut numbers, mut value, mut shift) = (vec![], 0_i64, 0);
    for digit in segment.chars() {
        let digit = i64::try_from(DIGITS.find(digit)?).ok()?;
        value |= (digit & 31).checked_shl(shift)?;
        if digit & 32 != 0 {
            shift += 5;
        } else {
            numbers.push(if value & 1 == 1 { -(value >> 1) } else { value >> 1 });
            (value, shift) = (0, 0);
        }
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Lines {
        let sources = r#""../../.rewarden/sdk/guest.ts","../../plugin.ts","../../lib/more.ts""#;
        let mappings = ";AAAA;ACEA,QACE;AAAA,EACA;ACAF,kBAAkB;";
        Lines::read(format!("{{\"version\":3,\"sources\":[{sources}],\"mappings\":\"{mappings}\"}}").as_bytes())
            .unwrap()
    }

    #[test]
    fn a_place_is_where_its_statement_is_from() {
        assert_eq!(
            lines().to_json(),
            "{\"sources\":[\".rewarden/sdk/guest.ts\",\"plugin.ts\",\"lib/more.ts\"],\
             \"lines\":[[],[[1,null,1]],[[1,1,3],[9,1,4]],[[3,1,5]],[[1,2,5]],[]]}"
        );
        assert!(Lines::read(b"{}").is_err());
        assert!(Lines::read(br#"{"sources":[],"mappings":"!"}"#).is_err());
        assert!(Lines::read(br#"{"sources":[],"mappings":"ADDA"}"#).is_err());
    }

    #[track_caller]
    fn check(said: &str, expected: &str) {
        assert_eq!(lines().translate(said), expected);
    }

    #[test]
    fn messages_name_the_authors_lines() {
        check("at f (/bundle.js:3:8)\n at g (/bundle.js:3:12)", "at f (plugin.ts:3)\n at g (plugin.ts:4)");
        check("at /bundle.js:4:1", "at plugin.ts:5");
        check("at /bundle.js:5:1", "at lib/more.ts:5");
        check("at (/bundle.js:2:1) and /bundle.js:99:1", "at (/bundle.js:2:1) and /bundle.js:99:1");
        check("nothing", "nothing");
    }
}
