//! A line of JSON changed in one place, its other bytes kept.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;

/// The members of an object, its own and not those of what it holds: each key and where its value stands. The text is
/// known to be a JSON object.
pub(crate) fn members(text: &str) -> Vec<(String, Range<usize>)> {
    let bytes = text.as_bytes();
    let (mut members, mut depth, mut at) = (vec![], 0_usize, 0);
    let (mut key, mut value) = (None, None);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                let end = string_end(bytes, at);
                if depth == 1 && key.is_none() {
                    key = serde_json::from_str::<String>(&text[at..end]).ok();
                } else if depth == 1 {
                    value.get_or_insert(at);
                }
                at = end;
                continue;
            }
            b'{' | b'[' => {
                if depth == 1 {
                    value.get_or_insert(at);
                }
                depth += 1;
            }
            end @ (b'}' | b']' | b',') => {
                if end != b',' {
                    depth = depth.saturating_sub(1);
                }
                let is_last = depth == 0;
                if (is_last || (depth == 1 && end == b','))
                    && let (Some(key), Some(start)) = (key.take(), value.take())
                {
                    members.push((key, start..start + text[start..at].trim_end().len()));
                }
            }
            byte if depth == 1 && key.is_some() && byte != b':' && !byte.is_ascii_whitespace() => {
                value.get_or_insert(at);
            }
            _ => {}
        }
        at += 1;
    }
    members
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// The line with this member's value replaced, or the member added at its end.
fn with_member(line: &str, key: &str, value: &Value) -> String {
    match members(line).into_iter().find(|(name, _)| name == key) {
        Some((_, place)) => format!("{}{value}{}", &line[..place.start], &line[place.end..]),
        None => {
            let end = line.rfind('}').unwrap_or(line.len());
            let head = line[..end].trim_end();
            let comma = if head.ends_with('{') { "" } else { ", " };
            format!("{head}{comma}\"{key}\": {value}{}", &line[end..])
        }
    }
}

/// The file with the expectations of some lines (counted from 1) written anew.
pub(crate) fn with_expectations(text: &str, new: &BTreeMap<usize, Value>) -> String {
    let line = |(index, line): (usize, &str)| match new.get(&(index + 1)) {
        Some(value) => with_member(line, "expect", value),
        None => line.to_owned(),
    };
    text.split_inclusive('\n').enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(line: &str, value: Value, expected: &str) {
        assert_eq!(with_member(line, "expect", &value), expected);
    }

    #[test]
    fn one_value_changes_and_every_other_byte_stays() {
        check(r#"{"expect": 1.0}"#, json!(0.0), r#"{"expect": 0.0}"#);
        check(
            r#"{ "name" : "a" ,  "expect":1 , "b":[1,{"expect":2}] }"#,
            json!(3),
            r#"{ "name" : "a" ,  "expect":3 , "b":[1,{"expect":2}] }"#,
        );
        check(
            r#"{"sample": {"expect": 1, "b": "\"}{,"}, "expect": {"fault": "x"}}"#,
            json!(1),
            r#"{"sample": {"expect": 1, "b": "\"}{,"}, "expect": 1}"#,
        );
        check(
            r#"{"expect": null, "a": "expect"}"#,
            json!({"fault": "trap"}),
            r#"{"expect": {"fault":"trap"}, "a": "expect"}"#,
        );
        check(r#"{"exp\u0065ct": [1, 2]}"#, json!("ü"), r#"{"exp\u0065ct": "ü"}"#);
        check("{\"expect\": \"a\\\\\"}\r\n", json!(true), "{\"expect\": true}\r\n");
        check("\t{\"expect\":-1e5\t}", json!(1), "\t{\"expect\":1\t}");
    }

    #[test]
    fn a_missing_one_is_added() {
        check(r#"{"name": "a"}"#, json!(1.0), r#"{"name": "a", "expect": 1.0}"#);
        check("{\"name\": \"}\" }\n", json!(1.0), "{\"name\": \"}\", \"expect\": 1.0}\n");
        check("{}", json!(1), "{\"expect\": 1}");
    }

    #[test]
    fn lines_are_found_by_number() {
        let text = "{\"expect\": 1}\n\n{\"expect\": 2}\r\n{\"expect\": 3}";
        let new = BTreeMap::from([(1, json!(0)), (4, json!(9))]);
        assert_eq!(with_expectations(text, &new), "{\"expect\": 0}\n\n{\"expect\": 2}\r\n{\"expect\": 9}");
    }
}
