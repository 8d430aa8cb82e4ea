//! Event files for TensorBoard, beside `metrics.jsonl`: one scalar for each number of a row.
//!
//! A file is a sequence of records, each framed by its length and two checksums (TFRecord), and each record an `Event`
//! message of protocol buffers, of which a scalar needs five fields. A resumed stage writes a file of its own that begins
//! with the mark of a new session: every reader then forgets what earlier files say of that step and later ones, which a
//! run that was interrupted wrote after its last checkpoint.

use crc::{CRC_32_ISCSI, Crc};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::clock;
use crate::error::{Error, Result};
use crate::run_dir::Metrics;

/// The format's version, which the first record of every file names.
const VERSION: &str = "brain.Event:2";

/// CRC-32C, as the format has it.
const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// An event file that is being written.
pub(crate) struct EventFile {
    file: File,
    path: PathBuf,
}

impl EventFile {
    /// Begins a file in `folder` for a stage that is about to do `step`. Readers take files in the order of their names.
    pub(crate) fn create(folder: &Path, step: usize) -> Result<Self> {
        let now = clock::unix_seconds();
        let numbered = |second: u64| folder.join(format!("events.out.tfevents.{second:010}.rewarden"));
        let path = (now as u64..).map(numbered).find(|path| !path.exists()).unwrap_or_else(|| numbered(0));
        let file = File::create_new(&path).map_err(Error::io("create", &path))?;
        let mut events = Self { file, path };
        let mut records = record(&event(now, 0, &text(3, VERSION)));
        if step > 0 {
            records.extend(record(&event(now, step, &message(7, &integer(1, 1)))));
        }
        events.write(&records)?;
        Ok(events)
    }

    /// Appends the numbers of a row as the scalars of `step`.
    pub(crate) fn append(&mut self, step: usize, row: &Metrics) -> Result<()> {
        let numbers = row.iter().filter(|(name, _)| *name != "step").filter_map(|(name, value)| {
            let value = [text(1, name), single(2, value.as_f64()? as f32)].concat();
            Some(message(1, &value))
        });
        let summary: Vec<u8> = numbers.flatten().collect();
        self.write(&record(&event(clock::unix_seconds(), step, &message(5, &summary))))
    }

    fn write(&mut self, records: &[u8]) -> Result<()> {
        self.file.write_all(records).map_err(Error::io("write", &self.path))
    }
}

/// An `Event`: wall time, step, and what happened.
fn event(wall_time: f64, step: usize, what: &[u8]) -> Vec<u8> {
    [&double(1, wall_time), &integer(2, step as u64), what].concat()
}

/// A record: length, its checksum, the bytes, theirs.
fn record(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), bytes, &masked(bytes)].concat()
}

/// The format masks its checksums, lest one of data that hold checksums be trivial.
fn masked(bytes: &[u8]) -> [u8; 4] {
    CHECKSUM.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

fn double(field: u8, value: f64) -> Vec<u8> {
    [&[field << 3 | 1], &value.to_le_bytes()[..]].concat()
}

fn single(field: u8, value: f32) -> Vec<u8> {
    [&[field << 3 | 5], &value.to_le_bytes()[..]].concat()
}

fn integer(field: u8, value: u64) -> Vec<u8> {
    [vec![field << 3], varint(value)].concat()
}

fn text(field: u8, value: &str) -> Vec<u8> {
    message(field, value.as_bytes())
}

fn message(field: u8, bytes: &[u8]) -> Vec<u8> {
    [&[field << 3 | 2], varint(bytes.len() as u64).as_slice(), bytes].concat()
}

/// Seven bits a byte, the lowest first; the high bit says that more follow.
fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = vec![];
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[test]
    fn numbers_are_encoded_as_protocol_buffers_say() {
        for (value, expected) in
            [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02"), (1 << 32, "8080808010")]
        {
            let hex: String = varint(value).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected);
        }
        assert_eq!(CHECKSUM.checksum(b"123456789"), 0xe306_9283, "the check value of CRC-32C");
    }

    /// Field numbers with their bytes; a varint as eight.
    fn fields(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut fields = vec![];
        while !bytes.is_empty() {
            let key = take_varint(&mut bytes) as u8;
            let length = match key & 7 {
                0 => {
                    fields.push((key >> 3, take_varint(&mut bytes).to_le_bytes().to_vec()));
                    continue;
                }
                1 => 8,
                5 => 4,
                _ => take_varint(&mut bytes) as usize,
            };
            let (value, rest) = bytes.split_at(length);
            fields.push((key >> 3, value.to_vec()));
            bytes = rest;
        }
        fields
    }

    fn take_varint(bytes: &mut &[u8]) -> u64 {
        let length = bytes.iter().position(|byte| byte & 0x80 == 0).expect("an end") + 1;
        let value = bytes[..length].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
        *bytes = &bytes[length..];
        value
    }

    /// What a reader makes of the files of a folder: step and value of each tag.
    fn read(folder: &Path) -> BTreeMap<String, Vec<(u64, f32)>> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let mut scalars: BTreeMap<String, Vec<(u64, f32)>> = BTreeMap::new();
        for file in files {
            let bytes = std::fs::read(file).unwrap();
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
                assert_eq!(rest[8..12], masked(&rest[..8]));
                assert_eq!(rest[12 + length..16 + length], masked(&rest[12..12 + length]));
                let event: BTreeMap<u8, Vec<u8>> = fields(&rest[12..12 + length]).into_iter().collect();
                let step = u64::from_le_bytes(event[&2].as_slice().try_into().unwrap());
                if event.contains_key(&7) {
                    scalars.values_mut().for_each(|points| points.retain(|(at, _)| *at < step));
                }
                for (_, value) in event.get(&5).map(|summary| fields(summary)).unwrap_or_default() {
                    let value: BTreeMap<u8, Vec<u8>> = fields(&value).into_iter().collect();
                    let tag = String::from_utf8(value[&1].clone()).unwrap();
                    let number = f32::from_le_bytes(value[&2].as_slice().try_into().unwrap());
                    scalars.entry(tag).or_default().push((step, number));
                }
                rest = &rest[16 + length..];
            }
        }
        scalars
    }

    #[test]
    fn a_reader_sees_every_number_once() {
        let folder = tempfile::tempdir().unwrap();
        let append = |events: &mut EventFile, step: usize, loss: f64| {
            let row = json!({"step": step, "loss": loss, "model": "a", "lr": 1e-5, "none": null});
            events.append(step, row.as_object().unwrap()).unwrap();
        };
        let mut events = EventFile::create(folder.path(), 0).unwrap();
        (0..4).for_each(|step| append(&mut events, step, step as f64));
        let mut resumed = EventFile::create(folder.path(), 2).unwrap();
        append(&mut resumed, 2, 0.5);
        let scalars = read(folder.path());
        assert_eq!(scalars["loss"], [(0, 0.0), (1, 1.0), (2, 0.5)]);
        assert_eq!(scalars.keys().collect::<Vec<_>>(), ["loss", "lr"]);
    }
}
