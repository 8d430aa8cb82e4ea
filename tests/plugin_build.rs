//! `rewarden plugin new` and `rewarden plugin build`: what they make, and what they say when they cannot.

use std::fs;

use crate::guests::{HOSTILE, rewarden, succeeds};
use crate::templates::{files, scaffold};

#[test]
fn the_same_source_gives_the_same_bytes() {
    let folder = scaffold("rust", "reward");
    let digest = |printed: &str| printed.lines().last().expect("the digest comes last").to_owned();
    let mut command = rewarden();
    let expected = digest(&succeeds(command.args(["plugin", "build"]).arg(&folder).output().expect("the binary runs")));
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in files(&folder) {
        let path = elsewhere.path().join("the same").join(name);
        fs::create_dir_all(path.parent().expect("in the folder")).expect("writable");
        fs::write(path, bytes).expect("writable");
    }
    let mut command = rewarden();
    command.args(["plugin", "build", "the same", "-o", "again.wasm"]).current_dir(elsewhere.path());
    // What an outer cargo might leave behind must not matter.
    command
        .env("CARGO_TARGET_DIR", elsewhere.path().join("target"))
        .env("RUSTFLAGS", "-Cdebuginfo=2")
        .env("CARGO_ENCODED_RUSTFLAGS", "-Copt-level=0");
    let printed = succeeds(command.output().expect("the binary runs"));
    assert!(printed.starts_with("again.wasm\n"), "{printed}");
    assert_eq!(digest(&printed), expected, "the bytes depend on the folder");
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

#[test]
fn what_the_code_does_must_be_what_plugin_toml_says() {
    // It logs, and it is a reward.
    let component = fs::read(&*HOSTILE).expect("built");
    let build = |kind: &str, capabilities: &str| {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let toml =
            PLUGIN.replace("\"reward\"", kind).replace("[build]", &format!("capabilities = {capabilities}\n[build]"));
        fs::write(dir.path().join("plugin.toml"), toml).expect("writable");
        fs::write(dir.path().join("p.wasm"), &component).expect("writable");
        let output = rewarden().args(["plugin", "build"]).arg(dir.path()).output().expect("runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(build("\"reward\"", "[\"host-log\"]").0, Some(0));
    let (code, said) = build("\"reward\"", "[\"host-model\"]");
    assert_eq!(code, Some(2));
    let remedy = "the code calls host-log, which plugin.toml does not ask for: write `capabilities = [\"host-model\", \"host-log\"]`";
    assert!(said.contains(remedy), "{said}");
    let (code, said) = build("\"tool\"", "[\"host-log\"]");
    assert_eq!(code, Some(2));
    assert!(
        said.contains("`kind = \"tool\"` needs the exports plugin and tool; the code exports reward, plugin"),
        "{said}"
    );
}

/// A language, the file that makes a folder one of its plugins, and what is said where its compiler is not.
#[track_caller]
fn check_missing(language: &str, file: &str, said: &[&str]) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(dir.path().join(file), "").expect("writable");
    let toml = PLUGIN.split("[build]").next().expect("the part before it").replace("\"c\"", &format!("{language:?}"));
    fs::write(dir.path().join("plugin.toml"), toml).expect("writable");
    let output = rewarden().args(["plugin", "build"]).arg(dir.path()).env("PATH", "").output().expect("runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    for part in said {
        assert!(stderr.contains(part), "{part:?} is not in: {stderr}");
    }
}

#[test]
fn a_missing_compiler_is_named_with_what_installs_it() {
    check_missing("rust", "Cargo.toml", &["cargo is not installed; it comes with "]);
    check_missing("python", "plugin.py", &["componentize-py is not installed", "pip install componentize-py"]);
    check_missing("ts", "plugin.ts", &["is not installed", "npm install --save-dev componentize-qjs"]);
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
    check_new(&["p", "--kind", "group-reward", "--lang", "c"], &["no template of kind `group-reward` in c"]);
}
