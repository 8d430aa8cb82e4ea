//! Everything that can stop the training host. A guest's failure is never here, unless the config wants to stop at
//! it: it is a `Fault`, data beside the scores. Each message says what is wrong, where, and what to do about it.

use std::path::{Path, PathBuf};

/// Why the host cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configuration file that does not parse.
    #[error("config file {}: {message}", file.display())]
    ConfigFile {
        /// The file.
        file: PathBuf,
        /// What is wrong, with the line.
        message: String,
    },
    /// A configuration value that cannot work.
    #[error("config key `{key}`: {message}")]
    Config {
        /// Dotted path of the key, as `--set` takes it.
        key: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// A row of a data file that cannot be read as any known shape.
    #[error("{}:{line}: {message}", file.display())]
    Row {
        /// The data file.
        file: PathBuf,
        /// Line in the file, or row in a Parquet file, from 1.
        line: usize,
        /// What is wrong, naming the row's key.
        message: String,
    },
    /// A model folder or checkpoint that cannot be used.
    #[error("model at {}: {message}", path.display())]
    Model {
        /// Folder or file.
        path: PathBuf,
        /// What is wrong and what would be right.
        message: String,
    },
    /// A run directory that does not fit what was asked of it.
    #[error("run directory {}: {message}", path.display())]
    RunDir {
        /// The directory or the file in it.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
    /// A component that a run used and cannot use now.
    #[error("the component {} {message}", path.display())]
    Plugin {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do, to follow the path.
        message: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// A verb: read, write, create.
        action: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// The system's own reason.
        source: std::io::Error,
    },
    /// Text could not be turned into tokens or back.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A model's chat template cannot be used, or not for these messages.
    #[error("chat template: {0}")]
    ChatTemplate(String),
    /// The rewards cannot be used as the config says, or faulted more than it accepts.
    #[error(transparent)]
    Rubric(#[from] rewarden_runtime::Error),
    /// A tensor operation failed.
    #[error("tensor operation: {0}")]
    Tensor(#[from] candle_core::Error),
    /// The GPU, or what drives it, is absent or refused.
    #[error("GPU: {0}")]
    Gpu(String),
    /// Training left the numbers that can be computed with.
    #[error("{0}")]
    Diverged(String),
}

/// The result of everything fallible in this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn config(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Config { key: key.into(), message: message.into() }
    }

    pub(crate) fn model(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::Model { path: path.into(), message: message.into() }
    }

    pub(crate) fn run_dir(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::RunDir { path: path.into(), message: message.into() }
    }

    /// For `map_err` on file operations.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
