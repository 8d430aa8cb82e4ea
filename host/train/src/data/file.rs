//! Files of rows - JSON lines, or Parquet - read as whatever kind of row is asked for.

use std::io::{BufRead, BufReader};
use std::path::Path;

use super::columns::placeless;
use super::{Columns, Outcome, Row, Skipped, parquet, skipped};
use crate::error::{Error, Result};

/// Longest accepted row: longer than any chat, short enough that a wrong file cannot exhaust memory.
pub(super) const ROW_BYTES_MAX: usize = 16 << 20;

/// What some editors of Windows write before the first line.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads the rows of a file: Parquet if its name ends so, else JSON lines. Not more than `rows_max`, and all as of
/// `data_source`, where those are given. The first bad row is an error that names its line, or its number in a Parquet
/// file. Well-formed rows that are left out are counted in `skipped`.
pub fn read_data<T: Row>(
    file: &Path,
    rows_max: Option<usize>,
    data_source: Option<&str>,
    skipped: &mut Vec<Skipped>,
) -> Result<Vec<T>> {
    let rows_max = rows_max.unwrap_or(usize::MAX);
    let mut rows = vec![];
    let mut take = |number: usize, columns: std::result::Result<Columns, String>| {
        let failed = |message: String| Error::Row { file: file.to_owned(), line: number, message };
        let mut columns = columns.map_err(failed)?;
        if let Some(source) = data_source {
            columns.set("data_source", source);
        }
        match T::read(columns, &format!("row-{number}")).map_err(failed)? {
            Outcome::Rows(read) => rows.extend(read),
            Outcome::Skipped(reason) => skipped::count(skipped, file, reason, 1),
        }
        Ok(rows.len() < rows_max)
    };
    if rows_max > 0 {
        match file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet")) {
            true => {
                let mut numbered = parquet::rows(file)?.zip(1..);
                while numbered.next().map_or(Ok(false), |(columns, number)| take(number, columns))? {}
            }
            false => each_line(file, take)?,
        }
    }
    match (rows.is_empty(), skipped.iter().find(|skipped| skipped.file == file)) {
        (true, None) => Err(Error::Row { file: file.to_owned(), line: 1, message: "the file holds no row".into() }),
        (true, Some(Skipped { reason, count, .. })) => {
            let message = format!("no row of the file can be learnt from: {count} skipped, {reason}");
            Err(Error::Row { file: file.to_owned(), line: 1, message })
        }
        (false, _) => Ok(rows),
    }
}

/// Hands every line with its number to `take` until that has enough. Blank lines do not count.
fn each_line(
    file: &Path,
    mut take: impl FnMut(usize, std::result::Result<Columns, String>) -> Result<bool>,
) -> Result<()> {
    let reader = std::fs::File::open(file).map_err(Error::io("open the data file", file))?;
    let mut reader = BufReader::new(reader);
    let mut line = vec![];
    for number in 1.. {
        line.clear();
        let read = std::io::Read::take(&mut reader, ROW_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line);
        if read.map_err(Error::io("read", file))? == 0 {
            break;
        }
        let row = if number == 1 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line) } else { &line };
        if row.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let columns = match line.len() > ROW_BYTES_MAX {
            true => Err(format!("longer than {} MiB; is this a JSONL file?", ROW_BYTES_MAX >> 20)),
            false => Columns::parse(row).map_err(|e| not_json(&e)),
        };
        if !take(number, columns)? {
            break;
        }
    }
    Ok(())
}

fn not_json(error: &serde_json::Error) -> String {
    let (what, column) = (placeless(error), error.column());
    format!("not a JSON object: {what} at column {column}; the file must hold one JSON object a line")
}

#[cfg(test)]
mod tests {
    use super::super::{Example, Pair};
    use super::*;

    fn read<T: Row>(content: &str) -> (Result<Vec<T>>, Vec<Skipped>) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows.jsonl");
        std::fs::write(&file, content).unwrap();
        let mut skipped = vec![];
        (read_data(&file, None, None, &mut skipped), skipped)
    }

    #[track_caller]
    fn check_file(content: &str, expected: &str) {
        let error = read::<Example>(content).0.unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
    }

    #[test]
    fn errors_name_file_and_line() {
        check_file(
            "{\"question\":\"Q\",\"answer\":\"1\"}\n\n{oops\n",
            "rows.jsonl:3: not a JSON object: key must be a string at column 2; the file must hold one JSON object a line",
        );
        check_file("\n", "rows.jsonl:1: the file holds no row");
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_row() {
        let rows = read::<Example>("\u{feff}{\"question\":\"Q\",\"answer\":\"1\"}\n").0.unwrap();
        assert_eq!(rows[0].task.ground_truth, "1");
        check_file("{}\n\u{feff}{}\n", "and {prompt, answer}");
        check_file("\u{feff}\n", "rows.jsonl:1: the file holds no row");
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let row = |label: &str| {
            format!(
                "{{\"prompt_conversation\":\"Q\",\"completion_A\":\"A\",\"completion_B\":\"B\",\"label\":\"{label}\"}}\n"
            )
        };
        let (pairs, skipped) = read::<Pair>(&["A", "Tie", "B", "Tie"].map(row).concat());
        assert_eq!(pairs.unwrap().len(), 2);
        assert_eq!(skipped.iter().map(|s| (s.reason, s.count)).collect::<Vec<_>>(), [("a tie", 2)]);
        let error = read::<Pair>(&row("Tie")).0.unwrap_err().to_string();
        assert!(error.ends_with("rows.jsonl:1: no row of the file can be learnt from: 1 skipped, a tie"), "{error}");
    }
}
