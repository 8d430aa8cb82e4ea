//! Compilers: found where their users have them, run without what an outer build left in the environment, and quoted when
//! they complain.

use std::env;
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

/// A build that takes longer than this says that it is going on.
const QUIET: Duration = Duration::from_secs(3);

/// A program that a language needs.
pub(crate) struct Program {
    /// What people call it.
    pub(crate) name: &'static str,
    /// Where to look for it, the first that is there.
    pub(crate) ways: &'static [Way],
    /// The package that has it, for the message.
    pub(crate) package: &'static str,
    /// What to type to have it.
    pub(crate) install: &'static str,
}

/// How a program may be there.
pub(crate) enum Way {
    /// A file of this name in a folder of PATH.
    Path(&'static str),
    /// A module of the `python3` on PATH.
    Python(&'static str),
    /// In the virtual environment `.venv` of the plugin's folder or of one above it.
    Venv(&'static str),
    /// In `node_modules/.bin` of the plugin's folder or of one above it.
    Npm(&'static str),
}

impl Program {
    /// The program, ready for its arguments; or what to install.
    pub(crate) fn command(&self, dir: &Path) -> Result<Command> {
        match self.ways.iter().find_map(|way| way.command(dir)) {
            Some(command) => Ok(command),
            None => bail!("{} is not installed; it comes with {}:\n  {}", self.name, self.package, self.install),
        }
    }
}

impl Way {
    fn command(&self, dir: &Path) -> Option<Command> {
        match self {
            Way::Path(name) => Some(quiet(on_path(name)?, dir)),
            Way::Venv(name) => {
                let bin = if cfg!(windows) { "Scripts" } else { "bin" };
                let file = format!("{name}{}", env::consts::EXE_SUFFIX);
                let path = |folder: &Path| folder.join(".venv").join(bin).join(&file);
                Some(quiet(dir.ancestors().map(path).find(|path| path.is_file())?, dir))
            }
            Way::Npm(name) => {
                let bin = |folder: &Path| folder.join("node_modules").join(".bin").join(name);
                Some(quiet(dir.ancestors().map(bin).find(|path| path.is_file())?, dir))
            }
            Way::Python(module) => {
                const HAS: &str = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)";
                let python = on_path("python3")?;
                let has = quiet(&python, dir).args(["-c", HAS, module]).stderr(Stdio::null()).status();
                has.is_ok_and(|status| status.success()).then(|| {
                    let mut command = quiet(&python, dir);
                    command.args(["-m", module]);
                    command
                })
            }
        }
    }
}

/// The file of this name in the first folder of PATH that has it.
#[allow(clippy::disallowed_methods, reason = "where programs lie is known to the environment only")]
fn on_path(name: &str) -> Option<PathBuf> {
    let file = format!("{name}{}", env::consts::EXE_SUFFIX);
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(&file)).find(|path| path.is_file())
}

/// A program in a folder, without what an outer cargo, clippy or a wrapper left in the environment.
pub(crate) fn quiet(program: impl AsRef<OsStr>, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        if is_inherited(&name) {
            command.env_remove(&name);
        }
    }
    command
}

/// Whether a variable changes builds: everything of cargo's except where things lie and how they are fetched.
fn is_inherited(name: &OsStr) -> bool {
    const KEPT: [&str; 7] = [
        "CARGO_HOME",
        "CARGO_TARGET_DIR",
        "CARGO_NET_",
        "CARGO_HTTP_",
        "CARGO_REGISTR",
        "CARGO_TERM_",
        "CARGO_BUILD_JOBS",
    ];
    const DROPPED: [&str; 5] = ["RUSTFLAGS", "RUSTDOCFLAGS", "RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"];
    let name = name.to_string_lossy();
    DROPPED.contains(&name.as_ref())
        || name == "CARGO"
        || (name.starts_with("CARGO_") && !KEPT.iter().any(|kept| name.starts_with(kept)))
}

/// Runs a command, keeps what it says, and tells a waiting person what is going on.
pub(crate) fn output(mut command: Command, what: &str) -> std::io::Result<Output> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (mut stdout_pipe, mut stderr_pipe) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let (done, wait) = mpsc::channel::<()>();
    let notice = {
        let what = what.to_owned();
        thread::spawn(move || {
            if let Err(mpsc::RecvTimeoutError::Timeout) = wait.recv_timeout(QUIET) {
                eprintln!("building the plugin {what} ...");
            }
        })
    };
    // Both at once: a program that fills one pipe while the other is read would wait for ever.
    let reader = thread::spawn(move || {
        let mut stdout = Vec::new();
        stdout_pipe.read_to_end(&mut stdout).map(|_| stdout)
    });
    let mut stderr = Vec::new();
    stderr_pipe.read_to_end(&mut stderr)?;
    let stdout = reader.join().expect("reading does not panic")?;
    let status = child.wait()?;
    drop(done);
    let _ = notice.join();
    Ok(Output { status, stdout, stderr })
}

/// What a program complained about: compilers differ in where they say it.
pub(crate) fn said(output: &Output) -> String {
    let both = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).trim_end().to_owned());
    both.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
}
