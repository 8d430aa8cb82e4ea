//! The configuration of data: which rows there are, and which of them are held out.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

use crate::data::{Arithmetic, MixConfig};
use crate::error::{Error, Result};

/// Where examples come from: a file, or a generator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// A file of rows: JSON lines, or Parquet (`.parquet`); of chats, GSM8K, verl, TRL, SkyRL or verifiers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Another file, of held-out rows; without it `test_size` rows of `path` are held out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_path: Option<PathBuf>,
    /// Rows of `path` to hold out.
    pub test_size: usize,
    /// Rows of `path` to read at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_examples: Option<usize>,
    /// The source of all rows of `path` and `test_path`, whatever they say: what `data_source` of a reward selects by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_source: Option<String>,
    /// Generated word problems instead of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arithmetic: Option<Arithmetic>,
    /// Further files to learn from, each with its share of an epoch.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mix: Vec<MixConfig>,
}

impl DataConfig {
    /// Refuses what could not be generated; `key` is where it stands in the config.
    pub(super) fn check(&self, key: &str) -> Result<()> {
        for (place, mix) in self.mix.iter().enumerate() {
            mix.check(&format!("{key}.mix.{place}"))?;
        }
        let Some(arithmetic) = &self.arithmetic else { return Ok(()) };
        let of_files = [
            ("test_path", self.test_path.is_some()),
            ("test_size", self.test_size != 0),
            ("max_examples", self.max_examples.is_some()),
            ("data_source", self.data_source.is_some()),
        ];
        if let Some((name, _)) = of_files.iter().find(|(_, is_set)| *is_set) {
            let message = format!("is about rows of a file; `{key}.arithmetic` generates them, in sizes of its own");
            return Err(Error::config(format!("{key}.{name}"), message));
        }
        arithmetic.check(&format!("{key}.arithmetic"))
    }
}
