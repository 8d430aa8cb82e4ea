//! `rewarden plugin new` and `rewarden plugin build`: what they make, and what they say when they cannot.

use std::fs;
use std::path::Path;

use crate::guests::{FIRST_REWARD, rewarden, root, succeeds};

#[test]
fn the_same_source_gives_the_same_bytes() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    // A copy of what the build reads, in another folder and with a build folder of its own.
    for part in [
        "Cargo.toml",
        "Cargo.lock",
        "rust-toolchain.toml",
        "wit",
        "host",
        "rewards",
        "guest-examples",
        "tests",
        "benches",
    ] {
        copy(&root().join(part), &dir.path().join(part));
    }
    let output = dir.path().join("again.wasm");
    let mut command = rewarden();
    command.args(["plugin", "build"]).arg(dir.path().join("guest-examples/first-reward")).arg("-o").arg(&output);
    // What an outer cargo might leave behind must not matter.
    command
        .env("CARGO_TARGET_DIR", dir.path().join("target"))
        .env("RUSTFLAGS", "-Cdebuginfo=2")
        .env("CARGO_ENCODED_RUSTFLAGS", "-Copt-level=0");
    let printed = succeeds(command.output().expect("the binary runs"));
    assert!(printed.starts_with(&output.display().to_string()), "{printed}");
    assert!(
        fs::read(&output).expect("built") == fs::read(&*FIRST_REWARD).expect("built"),
        "the bytes depend on the folder"
    );
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("writable");
        for entry in fs::read_dir(from).expect("readable") {
            let entry = entry.expect("readable");
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).expect("copied");
    }
}

/// A folder that does not build, and what the sentence must hold.
#[track_caller]
fn check(files: &[(&str, &str)], said: &[&str]) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().expect("in the folder")).expect("writable");
        fs::write(path, text).expect("writable");
    }
    let output =
        rewarden().args(["plugin", "build"]).arg(dir.path()).env_remove("CARGO_TARGET_DIR").output().expect("runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    for part in said {
        assert!(stderr.contains(part), "{part:?} is not in: {stderr}");
    }
}

#[test]
fn what_does_not_build_says_why() {
    const PACKAGE: &str = "[package]\nname = \"p\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    let cdylib = format!("{PACKAGE}[lib]\ncrate-type = [\"cdylib\"]\n");
    check(&[], &["holds no plugin.toml", "rewarden plugin new"]);
    check(&[("Cargo.toml", "x")], &["cargo cannot read"]);
    check(&[("Cargo.toml", PACKAGE), ("src/lib.rs", "")], &["is no plugin", "cdylib"]);
    check(
        &[("Cargo.toml", &cdylib), ("src/lib.rs", "pub fn f() -> u8 { \"x\" }")],
        &["does not compile", "mismatched types"],
    );
    check(&[("Cargo.toml", &cdylib), ("src/lib.rs", "")], &["does not become a component", "rewarden_sdk::reward!"]);
}

const PLUGIN: &str = "id = \"p\"\nversion = \"0.1.0\"\nkind = \"reward\"\nlanguage = \"c\"\nsummary = \"P.\"\nlicense = \
                      \"MIT\"\n[build]\ncommand = [\"true\"]\noutput = \"p.wasm\"\n";

#[test]
fn a_plugin_toml_that_is_wrong_says_where() {
    let wrong = |from: &str, to: &str| PLUGIN.replace(from, to);
    check(
        &[("plugin.toml", &wrong("\"reward\"", "\"rewrd\""))],
        &["plugin.toml", "3 | kind", "did you mean `reward`?"],
    );
    check(&[("plugin.toml", &wrong("\"c\"", "\"rst\""))], &["4 | language", "did you mean `rust`?"]);
    check(&[("plugin.toml", &wrong("summary", "sumary"))], &["5 | sumary", "did you mean `summary`?"]);
    check(&[("plugin.toml", &wrong("[build]", "capabilities = [\"log\"]\n[build]"))], &["host-log"]);
    check(&[("plugin.toml", &wrong("\"c\"", "\"rust\"")), ("src/lib.rs", "")], &["needs a crate", "Cargo.toml"]);
}

/// A command of the plugin's own, and what is said of it.
#[track_caller]
fn check_command(command: &str, said: &[&str]) {
    check(&[("plugin.toml", &PLUGIN.replace("[\"true\"]", command))], said);
}

#[test]
fn a_build_command_that_does_not_make_a_plugin_says_why() {
    check_command("[\"rewarden-no-such-program\"]", &["rewarden-no-such-program", "`[build] command`", "plugin.toml"]);
    check_command("[\"true\"]", &["`true` did not make its `output`", "p.wasm"]);
    check_command("[\"sh\", \"-c\", \"echo of the compiler >&2; exit 1\"]", &["failed", "of the compiler"]);
    check_command("[\"sh\", \"-c\", \"printf x > p.wasm\"]", &["does not become a plugin"]);
}

/// `plugin new` with these arguments in an empty folder that holds `taken/x`, and what is said.
#[track_caller]
fn check_new(arguments: &[&str], said: &[&str]) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(dir.path().join("taken")).expect("writable");
    fs::write(dir.path().join("taken/x"), "mine").expect("writable");
    let mut command = rewarden();
    command.args(["plugin", "new"]).args(arguments).current_dir(dir.path()).stdin(std::process::Stdio::null());
    let output = command.output().expect("runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    for part in said {
        assert!(stderr.contains(part), "{part:?} is not in: {stderr}");
    }
    let left: Vec<_> =
        fs::read_dir(dir.path()).expect("readable").map(|entry| entry.expect("readable").path()).collect();
    assert_eq!(left, [dir.path().join("taken")], "something was written");
    assert_eq!(fs::read(dir.path().join("taken/x")).expect("there"), b"mine");
}

#[test]
fn what_cannot_be_written_says_why() {
    let all = |name| ["--kind", "reward", "--lang", "rust", name];
    check_new(&[], &["needs NAME and --kind and --lang", "for example", "rewarden plugin new final-answer"]);
    check_new(&["p", "--kind", "reward"], &["needs --lang;"]);
    check_new(&all("taken"), &["taken is not empty (it holds x)", "--dir"]);
    check_new(&[&all("p")[..], &["--dir", "taken/x"]].concat(), &["taken/x is a file"]);
    check_new(&all("My Reward"), &["`My Reward` is no id", "me/final-answer"]);
    check_new(&["p", "--kind", "rewards", "--lang", "rust"], &["'rewards'", "a similar value exists: 'reward'"]);
    check_new(&["p", "--kind", "reward", "--lang", "pyton"], &["'pyton'", "a similar value exists: 'python'"]);
    check_new(&["p", "--kind", "group-reward", "--lang", "rust"], &["no template of kind `group-reward`", "reward"]);
}
