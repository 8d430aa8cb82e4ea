//! Plugins in other languages than Rust: built where their compiler is, skipped by name where it is not. Where
//! `REWARDEN_TEST_LANGUAGES` is `all`, as in `.ci/run`, a missing compiler fails the test.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::guests::rewarden;

/// What `rewarden plugin build` says in front of the package and the command that installs it.
const ABSENT: &str = "is not installed";

/// The folder's component, built by the real command; None when its compiler is absent, which is said.
#[track_caller]
pub(crate) fn built(dir: &Path) -> Option<PathBuf> {
    let output = rewarden().args(["plugin", "build"]).arg(dir).output().expect("the binary runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        return Some(PathBuf::from(stdout.lines().next().expect("the path comes first")));
    }
    assert!(stderr.contains(ABSENT), "{}: {stderr}", dir.display());
    skip(&format!("{} needs a compiler: {}", dir.display(), stderr.trim()));
    None
}

/// Says what is not tested, or fails where everything must be.
#[track_caller]
#[allow(clippy::disallowed_methods, reason = "how CI says that nothing may be skipped")]
pub(crate) fn skip(why: &str) {
    let all = env::var_os("REWARDEN_TEST_LANGUAGES").is_some_and(|which| which == "all");
    assert!(!all, "{why}");
    println!("skipped: {why}");
}

/// Runs a language's own test command and expects success; skipped by name where there is no such program.
#[track_caller]
pub(crate) fn run(what: &str, command: &mut Command, install: &str) {
    match command.output() {
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&said));
        }
        Err(_) => skip(&format!("{what} is not installed:\n  {install}")),
    }
}

/// Runs the unit tests of a folder under an ordinary Python, with the SDK at `path`.
#[track_caller]
pub(crate) fn python_tests(folder: &Path, path: &str, arguments: &[&str]) {
    const INSTALL: &str = "Python 3.10 or newer, from your system or https://python.org";
    let version = Command::new("python3").args(["-c", "import sys; sys.exit(sys.version_info < (3, 10))"]).status();
    if !version.is_ok_and(|status| status.success()) {
        return skip(&format!("the Python tests of {} need {INSTALL}", folder.display()));
    }
    let mut command = Command::new("python3");
    command.args(["-B", "-m", "unittest"]).args(arguments).current_dir(folder).env("PYTHONPATH", path);
    run("python3", &mut command, INSTALL);
}
