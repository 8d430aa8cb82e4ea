//! `rewarden plugin build` and `rewarden plugin inspect`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::guests::{FIRST_REWARD, GSM8K, HOSTILE, rewarden, root, succeeds};

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

#[test]
fn inspect_says_what_a_plugin_is() {
    let inspect = |path: &Path| -> Value {
        let printed = succeeds(rewarden().args(["plugin", "inspect", "--json"]).arg(path).output().expect("runs"));
        serde_json::from_str(&printed).expect("JSON")
    };
    let gsm8k = inspect(&GSM8K);
    assert_eq!(
        (&gsm8k["name"], &gsm8k["world"], &gsm8k["sealed"]),
        (&"gsm8k".into(), &"reward-plugin".into(), &true.into())
    );
    assert_eq!(gsm8k["size_bytes"], fs::metadata(&*GSM8K).expect("built").len());
    assert!(gsm8k["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")));
    assert_eq!(gsm8k["settings_schema"]["properties"]["method"]["default"], "first");
    let hostile = inspect(&HOSTILE);
    assert_eq!((&hostile["sealed"], &hostile["imports"][0]), (&false.into(), &"rewarden:plugin/host-log@0.1.0".into()));
    let printed = succeeds(rewarden().args(["plugin", "inspect"]).arg(&*HOSTILE).output().expect("runs"));
    assert!(printed.contains("no: it imports rewarden:plugin/host-log@0.1.0"), "{printed}");
}

#[test]
fn the_documented_settings_are_the_plugins_own() {
    let readme = fs::read_to_string(root().join("rewards/gsm8k/README.md")).expect("readable");
    let printed = succeeds(rewarden().args(["plugin", "inspect", "--json"]).arg(&*GSM8K).output().expect("runs"));
    let plugin: Value = serde_json::from_str(&printed).expect("JSON");
    for (name, _) in plugin["settings_schema"]["properties"].as_object().expect("settings") {
        assert!(readme.contains(&format!("| `{name}` |")), "{name} is not in the table of rewards/gsm8k/README.md");
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
    check(&[], &["holds no Cargo.toml"]);
    check(&[("Cargo.toml", "x")], &["cargo cannot read"]);
    check(&[("Cargo.toml", PACKAGE), ("src/lib.rs", "")], &["is no plugin", "cdylib"]);
    check(
        &[("Cargo.toml", &cdylib), ("src/lib.rs", "pub fn f() -> u8 { \"x\" }")],
        &["does not compile", "mismatched types"],
    );
    check(&[("Cargo.toml", &cdylib), ("src/lib.rs", "")], &["does not become a component", "rewarden_sdk::reward!"]);
}
