//! The run directory is an API: `config.toml`, `plugins/` and `plugins.lock`, and per stage `metrics.jsonl`,
//! `rollouts.jsonl`, `swaps.jsonl`, `checkpoints.jsonl` and `checkpoints/NNNNNN/`. Nothing finished is ever overwritten:
//! an earlier run is set aside under a new name, a checkpoint appears whole or not at all, and a resumed stage drops only
//! the rows it is about to write again.

mod checkpoints;

use serde::Serialize;
use serde_json::{Map, Value};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::config::Stage;
use crate::error::{Error, Result};
use crate::events::EventFile;
use crate::plugin_store::{WRITING, write_aside};
use crate::swap::SWAPS;
pub(crate) use checkpoints::{Checkpoint, OPTIMIZER, Parts, Retention};

/// Named numbers and texts of one step.
pub type Metrics = Map<String, Value>;

/// File with one row of metrics per step.
pub const METRICS: &str = "metrics.jsonl";
/// File with one row per trajectory.
pub const ROLLOUTS: &str = "rollouts.jsonl";
const CHECKPOINTS: &str = "checkpoints.jsonl";

/// The folder of one stage of a run.
#[derive(Clone, Debug)]
pub(crate) struct StageDir {
    path: PathBuf,
}

impl StageDir {
    /// The folder of `stage` in the run at `run`, made when absent.
    pub(crate) fn open(run: &Path, stage: Stage) -> Result<Self> {
        let path = run.join(stage.name());
        fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        Ok(Self { path })
    }

    /// A file of the stage.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Appends one row to a JSONL file.
    pub(crate) fn append(&self, name: &str, row: &impl Serialize) -> Result<()> {
        self.append_all(name, std::slice::from_ref(row))
    }

    /// Appends rows to a JSONL file in one write.
    pub(crate) fn append_all(&self, name: &str, rows: &[impl Serialize]) -> Result<()> {
        let path = self.file(name);
        let mut text = String::new();
        for row in rows {
            let row = serde_json::to_string(row).map_err(|e| Error::run_dir(&path, e.to_string()))?;
            text.push_str(&row);
            text.push('\n');
        }
        let file = fs::OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(Error::io("write", &path))
    }

    /// Begins an event file for a stage that is about to do `step`.
    pub(crate) fn events(&self, step: usize) -> Result<EventFile> {
        EventFile::create(&self.path, step)
    }

    /// Prepares for writing step `step`: rows of that step and later ones go, and so does a last line that a crash cut
    /// short, in any of the stage's files. Rows are in order, so each file is cut, not rewritten.
    pub(crate) fn rewind(&self, step: usize) -> Result<()> {
        let before = |row: &Metrics| row.get("step").and_then(Value::as_u64).is_some_and(|at| at < step as u64);
        keep_while(&self.file(METRICS), before)?;
        keep_while(&self.file(ROLLOUTS), before)?;
        keep_while(&self.file(CHECKPOINTS), |_| true)?;
        // What was swapped at later steps stays: it is swapped again there.
        keep_while(&self.file(SWAPS), |_| true)
    }
}

/// Makes the directory of a new run and writes its resolved config. An earlier run there is set aside; its new place is
/// returned. A directory that is not a run's is never touched.
pub(crate) fn start_run(run: &Path, config: &str) -> Result<Option<PathBuf>> {
    check_ours(run)?;
    let aside = if run.exists() && !is_empty(run)? { Some(set_aside(run)?) } else { None };
    write_config(run, config)?;
    Ok(aside)
}

/// Refuses a directory that exists and is not a run's: ours holds a `config.toml` that names a `log_path`.
pub(crate) fn check_ours(run: &Path) -> Result<()> {
    if !run.exists() || is_empty(run)? {
        return Ok(());
    }
    let config: toml::Table = read_config(run)?.and_then(|text| text.parse().ok()).unwrap_or_default();
    match config.contains_key("log_path") {
        true => Ok(()),
        false => Err(Error::run_dir(run, "exists and holds something else than a run; choose another `log_path`")),
    }
}

/// Sets the folder of a stage aside, if there is one, and returns its new place.
pub(crate) fn start_stage(run: &Path, stage: Stage) -> Result<Option<PathBuf>> {
    let folder = run.join(stage.name());
    folder.exists().then(|| set_aside(&folder)).transpose()
}

/// Writes the resolved config of the run, whole or not at all: a folder with an empty one would be no run's.
pub(crate) fn write_config(run: &Path, config: &str) -> Result<()> {
    fs::create_dir_all(run).map_err(Error::io("create", run))?;
    write_aside(&run.join(CONFIG), config.as_bytes())
}

/// The resolved config of an earlier run, if there is one.
pub(crate) fn read_config(run: &Path) -> Result<Option<String>> {
    let file = run.join(CONFIG);
    match fs::read_to_string(&file) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("read", &file)(e)),
    }
}

const CONFIG: &str = "config.toml";

/// The rows of a JSONL file we wrote. Only the last line may be cut short: that is what a crash leaves.
pub fn read_rows<T: serde::de::DeserializeOwned>(file: &Path) -> Result<Vec<T>> {
    let bytes = fs::read(file).map_err(Error::io("read", file))?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let mut rows = vec![];
    for (index, line) in lines.iter().enumerate() {
        match serde_json::from_str(line) {
            Ok(row) => rows.push(row),
            Err(_) if index + 1 == lines.len() => {}
            Err(error) => {
                return Err(Error::Row { file: file.to_owned(), line: index + 1, message: error.to_string() });
            }
        }
    }
    Ok(rows)
}

/// Cuts a JSONL file before the first row that is not to be kept or is cut short.
fn keep_while(file: &Path, keep: impl Fn(&Metrics) -> bool) -> Result<()> {
    let text = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io("read", file)(e)),
    };
    let kept = |line: &&[u8]| line.ends_with(b"\n") && serde_json::from_slice(line).is_ok_and(|row| keep(&row));
    let length: usize = text.split_inclusive(|&byte| byte == b'\n').take_while(kept).map(<[u8]>::len).sum();
    let cut = fs::OpenOptions::new().write(true).open(file).and_then(|file| file.set_len(length as u64));
    cut.map_err(Error::io("cut", file))
}

/// Whether nothing is there, or only what a crash left of a config that was never written.
fn is_empty(folder: &Path) -> Result<bool> {
    let is_left_over = |name: &str| name.starts_with(CONFIG) && name.ends_with(WRITING);
    let mut entries = fs::read_dir(folder).map_err(Error::io("list", folder))?;
    Ok(entries.all(|entry| entry.is_ok_and(|entry| entry.file_name().to_str().is_some_and(is_left_over))))
}

/// Renames `path` to the first free of `path.1`, `path.2`, ...
fn set_aside(path: &Path) -> Result<PathBuf> {
    let numbered = |number: usize| {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{number}"));
        path.with_file_name(name)
    };
    let free = (1..).map(numbered).find(|candidate| !candidate.exists()).unwrap_or_else(|| numbered(0));
    fs::rename(path, &free).map_err(Error::io("set aside", path))?;
    Ok(free)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn earlier_runs_are_kept_and_other_folders_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        assert_eq!(start_run(&run, "log_path = '1'").unwrap(), None);
        assert_eq!(start_run(&run, "log_path = '2'").unwrap(), Some(folder.path().join("run.1")));
        assert_eq!(start_run(&run, "log_path = '3'").unwrap(), Some(folder.path().join("run.2")));
        assert_eq!(read_config(&folder.path().join("run.1")).unwrap().unwrap(), "log_path = '1'");
        let torn = folder.path().join("torn");
        fs::create_dir(&torn).unwrap();
        fs::write(torn.join("config.toml.1.0.writing"), "log_pa").unwrap();
        assert_eq!(start_run(&torn, "log_path = '4'").unwrap(), None);
        let mine = folder.path().join("mine");
        fs::create_dir(&mine).unwrap();
        fs::write(mine.join("letter.txt"), "dear").unwrap();
        assert!(start_run(&mine, "").unwrap_err().to_string().contains("something else"));
    }

    /// A link stays what it is when a file is written over, and not when one is moved into its place.
    #[cfg(unix)]
    #[test]
    fn a_config_is_never_there_in_part() {
        let folder = tempfile::tempdir().unwrap();
        let (run, other) = (folder.path().join("run"), folder.path().join("other"));
        write_config(&run, "log_path = '1'").unwrap();
        fs::hard_link(run.join(CONFIG), &other).unwrap();
        write_config(&run, "log_path = '2'").unwrap();
        assert_eq!(fs::read_to_string(other).unwrap(), "log_path = '1'");
        assert_eq!(read_config(&run).unwrap().unwrap(), "log_path = '2'");
    }

    #[test]
    fn rows_from_the_step_on_and_a_torn_line_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StageDir::open(folder.path(), Stage::Rl).unwrap();
        let rows: Vec<Value> = (0..5).map(|step| json!({"step": step})).collect();
        dir.append_all(METRICS, &rows).unwrap();
        fs::OpenOptions::new().append(true).open(dir.file(METRICS)).unwrap().write_all(b"{\"step\": 5, \"lo").unwrap();
        dir.rewind(3).unwrap();
        assert_eq!(fs::read_to_string(dir.file(METRICS)).unwrap(), "{\"step\":0}\n{\"step\":1}\n{\"step\":2}\n");
    }

    /// /dev/full answers every write as a full disk does.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_named_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StageDir::open(folder.path(), Stage::Rl).unwrap();
        std::os::unix::fs::symlink("/dev/full", dir.file(METRICS)).unwrap();
        let error = dir.append(METRICS, &json!({"step": 0})).unwrap_err().to_string();
        assert!(error.contains("metrics.jsonl") && error.contains("No space left"), "{error}");
    }

    #[test]
    fn a_damaged_row_in_the_middle_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.jsonl");
        fs::write(&file, "{}\noops\n{}\n").unwrap();
        assert!(read_rows::<Value>(&file).unwrap_err().to_string().contains("x.jsonl:2"));
    }
}
