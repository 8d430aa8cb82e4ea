//! Lines from a reader, in chunks of what is there already: a file comes in full chunks, a person's line alone.

use std::io::{self, BufRead, BufReader, Read};

/// Longest request. A longer one is skipped to its end and answered as an error.
const LINE_BYTES_MAX: usize = 16 << 20;

/// A chunk ends with so many lines or bytes: enough to keep every core busy, little enough to hold a few in memory.
const CHUNK_LINES: usize = 512;
const CHUNK_BYTES: usize = 8 << 20;

/// One line without its end.
#[derive(Debug, PartialEq)]
pub(crate) enum Line {
    Bytes(Vec<u8>),
    TooLong,
}

/// Lines that are judged together; none of them blank.
pub(crate) struct Chunk(pub(crate) Vec<Line>);

pub(crate) struct Lines<R> {
    reader: BufReader<R>,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(reader: BufReader<R>) -> Lines<R> {
        Lines { reader }
    }

    /// The next lines; None at the end of the input. Waits for the first line only.
    pub(crate) fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while lines.len() < CHUNK_LINES && bytes < CHUNK_BYTES {
            if !lines.is_empty() && !self.reader.buffer().contains(&b'\n') {
                break;
            }
            let Some(line) = self.next_line()? else { break };
            match line {
                Line::Bytes(line) if line.trim_ascii().is_empty() => {}
                line => {
                    bytes += if let Line::Bytes(line) = &line { line.len() } else { 0 };
                    lines.push(line);
                }
            }
        }
        Ok((!lines.is_empty()).then_some(Chunk(lines)))
    }

    fn next_line(&mut self) -> io::Result<Option<Line>> {
        let mut line = Vec::new();
        let mut too_long = false;
        loop {
            let buffer = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                buffer => buffer?,
            };
            if buffer.is_empty() {
                let nothing = line.is_empty() && !too_long;
                return Ok((!nothing).then_some(if too_long { Line::TooLong } else { Line::Bytes(line) }));
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            too_long |= line.len() + part.len() > LINE_BYTES_MAX;
            if too_long {
                line = Vec::new();
            } else {
                line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                return Ok(Some(if too_long { Line::TooLong } else { Line::Bytes(line) }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8], capacity: usize) -> Vec<Line> {
        let mut lines = Lines::new(BufReader::with_capacity(capacity, input));
        let mut all = Vec::new();
        while let Some(Chunk(chunk)) = lines.next_chunk().unwrap() {
            all.extend(chunk);
        }
        all
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        let expected: Vec<_> = ["a", "bc", " d", "e"].map(|line| Line::Bytes(line.into())).into();
        for capacity in [1, 2, 3, 100] {
            assert_eq!(all(b"a\n\nbc\n  \n d\ne", capacity), expected);
        }
        assert_eq!(all(b"\n\n", 10), []);
    }

    #[test]
    fn a_line_over_the_cap_is_one_error_and_the_next_is_whole() {
        let mut input = vec![b'x'; LINE_BYTES_MAX + 1];
        input.extend(b"\nnext\n");
        assert_eq!(all(&input, 1 << 16), [Line::TooLong, Line::Bytes("next".into())]);
    }
}
