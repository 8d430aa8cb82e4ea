//! Plugins in other languages than Rust: built where their compiler is, skipped by name where it is not. Where
//! `REWARDEN_TEST_LANGUAGES` is `all`, as in `.ci/run`, a missing compiler fails the test.

use std::env;
use std::path::{Path, PathBuf};

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
    let all = env::var_os("REWARDEN_TEST_LANGUAGES").is_some_and(|which| which == "all");
    assert!(stderr.contains(ABSENT) && !all, "{}: {stderr}", dir.display());
    println!("skipped: {} needs a compiler: {}", dir.display(), stderr.trim());
    None
}
