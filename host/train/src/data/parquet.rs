//! Parquet files, as verl and the Hugging Face hub keep rows: every row becomes the JSON object it would be in a file of
//! lines. A row group's columns are read a page at a time, so memory holds a few pages and one row.

use parquet::file::reader::SerializedFileReader;
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use std::fmt::Write;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::Columns;
use super::columns::placeless;
use super::file::ROW_BYTES_MAX;
use crate::error::{Error, Result};

/// The rows of a file, in its order.
pub(super) fn rows(file: &Path) -> Result<impl Iterator<Item = std::result::Result<Columns, String>>> {
    let opened = File::open(file).map_err(Error::io("open the data file", file))?;
    let reader = sound(|| SerializedFileReader::new(opened))
        .and_then(|reader| reader.map_err(|e| format!("not Parquet: {e}")))
        .map_err(|message| Error::Row { file: file.to_owned(), line: 1, message })?;
    let mut rows = RowIter::from_file_into(Box::new(reader));
    let row = move || match sound(|| rows.next()) {
        Ok(row) => row.map(|row| columns(row.map_err(|e| format!("cannot be read: {e}"))?)),
        Err(damaged) => Some(Err(damaged)),
    };
    Ok(std::iter::from_fn(row))
}

/// The reader panics at some of what a damaged file says. That is the file's fault, and no reason to take the process along.
fn sound<T>(read: impl FnOnce() -> T) -> std::result::Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|_| "the file is damaged: fetch or write it again".to_owned())
}

fn columns(row: Row) -> std::result::Result<Columns, String> {
    let mut json = String::new();
    for (index, (name, field)) in row.get_column_iter().enumerate() {
        json.push(if index == 0 { '{' } else { ',' });
        key(name, &mut json);
        value(field, &mut json).map_err(|e| format!("column `{name}` {e}"))?;
    }
    json.push('}');
    Columns::parse(json.as_bytes()).map_err(|e| placeless(&e))
}

fn key(name: &str, json: &mut String) {
    json.push_str(&serde_json::Value::from(name).to_string());
    json.push(':');
}

/// A struct's nulls are the columns that other rows have, so they are left out.
fn value(field: &Field, json: &mut String) -> std::result::Result<(), String> {
    if json.len() > ROW_BYTES_MAX {
        return Err(format!("makes the row longer than {} MiB", ROW_BYTES_MAX >> 20));
    }
    match field {
        Field::Null => json.push_str("null"),
        Field::Bool(flag) => json.push_str(if *flag { "true" } else { "false" }),
        Field::Str(text) => text_value(text, json),
        Field::Bytes(bytes) => match bytes.as_utf8() {
            Ok(text) => text_value(text, json),
            Err(_) => return Err("holds bytes that are no text (an image?): leave the column out".into()),
        },
        Field::Float(number) => float(f64::from(*number), json),
        Field::Float16(number) => float(f64::from(*number), json),
        Field::Double(number) => float(*number, json),
        Field::Byte(_) | Field::Short(_) | Field::Int(_) | Field::Long(_) => _ = write!(json, "{field}"),
        Field::UByte(_) | Field::UShort(_) | Field::UInt(_) | Field::ULong(_) => _ = write!(json, "{field}"),
        Field::Group(row) => {
            let held = row.get_column_iter().filter(|(_, field)| !matches!(field, Field::Null));
            list('{', '}', held, json, |(name, field), json| {
                key(name, json);
                value(field, json)
            })?;
        }
        Field::ListInternal(items) => list('[', ']', items.elements().iter(), json, value)?,
        Field::MapInternal(map) => list('{', '}', map.entries().iter(), json, |(name, field), json| {
            match name {
                Field::Str(name) => key(name, json),
                other => key(&other.to_string(), json),
            }
            value(field, json)
        })?,
        // Dates, times and decimals: as people write them.
        other => text_value(&other.to_string(), json),
    }
    Ok(())
}

fn list<T>(
    open: char,
    close: char,
    items: impl Iterator<Item = T>,
    json: &mut String,
    each: impl Fn(T, &mut String) -> std::result::Result<(), String>,
) -> std::result::Result<(), String> {
    json.push(open);
    for (index, item) in items.enumerate() {
        if index > 0 {
            json.push(',');
        }
        each(item, json)?;
    }
    json.push(close);
    Ok(())
}

fn text_value(text: &str, json: &mut String) {
    json.push_str(&serde_json::Value::from(text).to_string());
}

/// pandas keeps a missing number as NaN, which JSON has not.
fn float(number: f64, json: &mut String) {
    json.push_str(&serde_json::Number::from_f64(number).map_or("null".to_owned(), |number| number.to_string()));
}

#[cfg(test)]
mod tests {
    use super::super::{Example, read_data};
    use super::*;
    use std::path::PathBuf;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/parquet").join(name)
    }

    fn read(file: &Path) -> Result<Vec<Example>> {
        read_data(file, None, None, &mut vec![])
    }

    /// What pyarrow wrote reads as the same rows in JSON lines (fixtures/make_parquet.py).
    #[test]
    fn rows_equal_those_of_json_lines() {
        for (name, count) in [("verl", 5), ("chat", 2), ("gzip", 1)] {
            let rows = read(&fixture(&format!("{name}.parquet"))).unwrap();
            assert_eq!(rows, read(&fixture(&format!("{name}.jsonl"))).unwrap(), "{name}");
            assert_eq!(rows.len(), count, "{name}");
        }
    }

    #[test]
    fn nested_columns_arrive() {
        let verl = &read(&fixture("verl.parquet")).unwrap()[3].task;
        assert_eq!((verl.prompt[1].content.as_str(), verl.ground_truth.as_str()), ("What is 3+1? ½", "4"));
        assert_eq!(verl.extra, r#"{"ability":"math","hard":false,"index":3,"score":0.75,"split":"train","tags":[]}"#);
        let chat = &read(&fixture("chat.parquet")).unwrap()[0];
        assert_eq!((chat.task.prompt[1].tool_calls[0].name.as_str(), chat.task.tools.len()), ("add", 1));
    }

    #[test]
    fn bad_files_are_named_with_their_row() {
        let bytes = read(&fixture("image.parquet")).unwrap_err().to_string();
        assert!(
            bytes.ends_with(
                "image.parquet:1: column `image` holds bytes that are no text (an image?): leave the column out"
            ),
            "{bytes}"
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows.parquet");
        std::fs::write(&file, "{}\n").unwrap();
        let text = read(&file).unwrap_err().to_string();
        assert!(text.contains("rows.parquet:1: not Parquet: "), "{text}");
        let some: Vec<Example> = read_data(&fixture("verl.parquet"), Some(2), None, &mut vec![]).unwrap();
        assert_eq!(some.len(), 2);
    }

    /// Wherever a file is damaged or cut, reading it ends with rows or an error.
    #[test]
    fn damaged_files_end() {
        let whole = std::fs::read(fixture("verl.parquet")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows.parquet");
        for at in (0..whole.len()).step_by(11) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            std::fs::write(&file, damaged).unwrap();
            _ = read(&file);
            std::fs::write(&file, &whole[..at]).unwrap();
            read(&file).unwrap_err();
        }
    }
}
