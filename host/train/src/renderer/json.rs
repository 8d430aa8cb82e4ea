//! Values as Python writes them, because chat templates are written for Python: `tojson` is its `json.dumps`, a printed
//! boolean is `True`. minijinja's own forms differ by a space here and a capital there.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, Value};

use super::bounded::TEXT_BYTES_MAX;

/// Deeper than any tool's schema, shallower than the stack.
const DEPTH_MAX: usize = 64;

/// Jinja's `tojson` as transformers has it: `json.dumps(value, ensure_ascii=False, indent=.., separators=.., sort_keys=..)`.
pub(super) fn tojson(value: &Value, indent: Option<usize>, options: Kwargs) -> Result<String, Error> {
    let indent = match indent {
        Some(indent) => Some(indent),
        None => options.get("indent")?,
    };
    if options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false) {
        return Err(Error::new(ErrorKind::InvalidOperation, "tojson(ensure_ascii=true) is not supported"));
    }
    let mut style = Style::new(indent);
    if let Some(separators) = options.get::<Option<Vec<String>>>("separators")? {
        let [comma, colon] = separators.try_into().map_err(|_| {
            Error::new(ErrorKind::InvalidOperation, "tojson needs two separators, such as (\",\", \":\")")
        })?;
        (style.comma, style.colon) = (comma, colon);
    }
    style.sort_keys = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    options.assert_all_used()?;
    style.dumps(value)
}

/// The same without options.
pub(super) fn dumps(value: &Value) -> Result<String, Error> {
    Style::new(None).dumps(value)
}

/// What `{{ value }}` prints.
pub(super) fn printed(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::Undefined => Ok(String::new()),
        ValueKind::None => Ok("None".into()),
        ValueKind::Bool => Ok((if value.is_true() { "True" } else { "False" }).into()),
        ValueKind::Number => number(value),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => {
            let message = format!("prints a {}, which no format reads back; use the filter tojson", value.kind());
            Err(Error::new(ErrorKind::InvalidOperation, message))
        }
        _ => Ok(value.to_string()),
    }
}

struct Style {
    indent: Option<usize>,
    comma: String,
    colon: String,
    sort_keys: bool,
}

impl Style {
    fn new(indent: Option<usize>) -> Self {
        let comma = if indent.is_some() { "," } else { ", " };
        Self { indent, comma: comma.to_owned(), colon: ": ".to_owned(), sort_keys: false }
    }

    fn dumps(&self, value: &Value) -> Result<String, Error> {
        let mut out = String::new();
        self.write(value, 0, &mut out)?;
        Ok(out)
    }

    fn write(&self, value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
        if depth > DEPTH_MAX {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                format!("tojson of a value over {DEPTH_MAX} levels deep"),
            ));
        }
        // A list that holds another twice, and that one a third, is short to make and long to write.
        if out.len() > TEXT_BYTES_MAX {
            let message = format!("tojson grows beyond {} MiB", TEXT_BYTES_MAX >> 20);
            return Err(Error::new(ErrorKind::InvalidOperation, message));
        }
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&number(value)?),
            ValueKind::String => string(value.as_str().unwrap_or_default(), out),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.list(('[', ']'), &items, depth, out, |item, out| self.write(item, depth + 1, out))?;
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort_keys {
                    keys.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
                }
                self.list(('{', '}'), &keys, depth, out, |key, out| {
                    string(key.as_str().ok_or_else(|| unwritable(key))?, out);
                    out.push_str(&self.colon);
                    self.write(&value.get_item(key)?, depth + 1, out)
                })?;
            }
            _ => return Err(unwritable(value)),
        }
        Ok(())
    }

    fn list(
        &self,
        (open, close): (char, char),
        items: &[Value],
        depth: usize,
        out: &mut String,
        each: impl Fn(&Value, &mut String) -> Result<(), Error>,
    ) -> Result<(), Error> {
        out.push(open);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push_str(&self.comma);
            }
            self.new_line(depth + 1, out);
            each(item, out)?;
        }
        if !items.is_empty() {
            self.new_line(depth, out);
        }
        out.push(close);
        Ok(())
    }

    fn new_line(&self, depth: usize, out: &mut String) {
        if let Some(indent) = self.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent.min(DEPTH_MAX) * depth));
        }
    }
}

fn unwritable(value: &Value) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("tojson of {} is not defined", value.kind()))
}

/// As `json.dumps` with `ensure_ascii=False`, which serde_json agrees with.
fn string(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// Integers as they are; others as Python's `repr`: the shortest digits that read back, with an exponent outside of
/// 1e-4 to 1e16.
fn number(value: &Value) -> Result<String, Error> {
    if value.is_integer() {
        return Ok(value.to_string());
    }
    let number = f64::try_from(value.clone())?;
    if !number.is_finite() {
        return Err(Error::new(ErrorKind::InvalidOperation, format!("{number} cannot be written")));
    }
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        return Ok(format!("{digits}e{sign}{exponent:0>2}"));
    }
    Ok(format!("{number:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: &str) {
        let value: Value = serde_json::from_str(json).unwrap();
        assert_eq!(dumps(&value).unwrap(), expected);
    }

    /// Each right side is what Python's json.dumps prints.
    #[test]
    fn json_is_written_as_python_writes_it() {
        check(r#"{"b":1,"a":[true,null,"x"]}"#, r#"{"b": 1, "a": [true, null, "x"]}"#);
        check(r#"{"t":"<&'\"\u0001\u007f é ½"}"#, "{\"t\": \"<&'\\\"\\u0001\u{7f} é ½\"}");
        check(
            "[1.0, 0.1, 1e20, 1.5e-7, 123456789012345678, -0.0]",
            "[1.0, 0.1, 1e+20, 1.5e-07, 123456789012345678, -0.0]",
        );
        check("[1e16, 9007199254740993.0, 0.0001]", "[1e+16, 9007199254740992.0, 0.0001]");
        check("[[], {}]", "[[], {}]");
    }

    #[test]
    fn indentation_is_pythons() {
        let value: Value = serde_json::from_str(r#"{"a": [1, {"b": []}]}"#).unwrap();
        let expected = "{\n    \"a\": [\n        1,\n        {\n            \"b\": []\n        }\n    ]\n}";
        assert_eq!(Style::new(Some(4)).dumps(&value).unwrap(), expected);
    }

    #[test]
    fn what_is_printed_is_pythons() {
        for (json, expected) in [("true", "True"), ("null", "None"), ("2.0", "2.0"), ("7", "7"), ("\"é\"", "é")] {
            assert_eq!(printed(&serde_json::from_str(json).unwrap()).unwrap(), expected);
        }
        assert!(printed(&serde_json::from_str("[1]").unwrap()).unwrap_err().to_string().contains("tojson"));
    }
}
