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
    /// A stage in which no answer got a reward: what it says of its models would be worth nothing.
    #[error("{stage}: {message}")]
    Unjudged {
        /// Its name.
        stage: &'static str,
        /// Why, and where the faults stand.
        message: String,
    },
    /// Training left the numbers that can be computed with.
    #[error("{0}")]
    Diverged(String),
}

/// The result of everything fallible in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Whether an error says that a disk is full, or a quota or limit used up. Libraries below ours pass the system's reason on
/// as text.
pub fn is_full_disk(cause: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let io = cause.downcast_ref::<std::io::Error>();
    let said = cause.to_string();
    io.is_some_and(|error| [FileTooLarge, QuotaExceeded, StorageFull].contains(&error.kind()))
        || ["No space left on device", "File too large", "quota exceeded"].iter().any(|reason| said.contains(reason))
}

impl Error {
    /// Whether the machine is to blame, and neither data nor model: a full disk, a folder that cannot be written, a GPU
    /// that is gone. The same may work when that is mended.
    pub(crate) fn is_of_the_machine(&self) -> bool {
        match self {
            Self::Io { action, .. } if ["read", "list", "open the data file"].contains(action) => false,
            Self::Io { .. } | Self::RunDir { .. } | Self::Gpu(_) => true,
            other => is_full_disk(other),
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    /// A reward model that could not be trained may be replaced by a plugin for good; a disk can be mended.
    #[test]
    fn a_machine_that_fails_is_no_failed_training() {
        let io = |action, kind: ErrorKind| Error::io(action, Path::new("a"))(kind.into());
        let check = |error: Error, expected| assert_eq!(error.is_of_the_machine(), expected, "{error}");
        check(io("write", ErrorKind::StorageFull), true);
        check(io("create", ErrorKind::PermissionDenied), true);
        check(io("read", ErrorKind::NotFound), false);
        check(Error::Gpu("gone".into()), true);
        check(Error::Diverged("the loss is no number".into()), false);
        check(Error::model("a", "weights: No space left on device (os error 28)"), true);
        check(Error::config("prm.data", "no rows"), false);
    }
}
