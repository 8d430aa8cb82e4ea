//! Every plugin of the tree, built once per process with the real command; and none forgotten.

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use rewarden_runtime::{
    Grants, Limits, Message, Plugin, PluginSpec, Role, Runtime, RuntimeConfig, Sample, StopReason, Wasi,
};
use serde_json::Value;

use crate::languages::built;

/// Folders whose every subfolder is a plugin, and the file each must have besides its source.
const PLUGIN_FOLDERS: [(&str, &str); 4] = [
    ("rewards", "cases.jsonl"),
    ("guest-examples", "README.md"),
    ("tests/guests", "Cargo.toml"),
    ("tests/foreign", "plugin.toml"),
];

pub(crate) static GSM8K: LazyLock<PathBuf> = LazyLock::new(|| build("rewards/gsm8k"));
pub(crate) static FIRST_REWARD: LazyLock<PathBuf> = LazyLock::new(|| build("guest-examples/first-reward"));
pub(crate) static FINAL_ANSWER: LazyLock<PathBuf> = LazyLock::new(|| build("guest-examples/final-answer-rust"));
pub(crate) static GROUP: LazyLock<PathBuf> = LazyLock::new(|| build("guest-examples/group-rust"));
pub(crate) static HOSTILE: LazyLock<PathBuf> = LazyLock::new(|| build("tests/guests/hostile"));
/// With the names of its functions.
pub(crate) static HOSTILE_DEBUG: LazyLock<PathBuf> = LazyLock::new(|| build_with("tests/guests/hostile", &["--debug"]));
pub(crate) static ASKER: LazyLock<PathBuf> = LazyLock::new(|| build("tests/guests/asker"));
pub(crate) static HELPER: LazyLock<PathBuf> = LazyLock::new(|| build("tests/guests/helper"));
pub(crate) static ORACLE: LazyLock<PathBuf> = LazyLock::new(|| build("tests/guests/oracle"));
static STEPS: LazyLock<PathBuf> = LazyLock::new(|| build("tests/guests/steps"));
pub(crate) static RANKER: LazyLock<PathBuf> = LazyLock::new(|| build("tests/guests/ranker"));
/// Compiled the way an unported guest is: with the standard library's WASI.
pub(crate) static STD: LazyLock<PathBuf> = LazyLock::new(|| build_wasip2("std-guest"));

/// Plugins in other languages than Rust, and whether each is sealed; built where their compiler is.
const FOREIGN: [(&str, bool); 11] = [
    ("guest-examples/settings-go", true),
    ("guest-examples/steps-python", true),
    ("guest-examples/none-ts", true),
    ("guest-examples/log-c", false),
    ("guest-examples/model-python", false),
    ("guest-examples/final-answer-python", true),
    ("guest-examples/final-answer-ts", true),
    ("guest-examples/final-answer-c", true),
    ("guest-examples/final-answer-go", true),
    ("tests/foreign/sins-python", false),
    ("tests/foreign/sins-ts", false),
];

/// Every plugin in Rust of the tree, what builds it, and whether it is sealed. A new folder that is not listed here fails
/// `none_is_forgotten`.
static ALL: [(&str, &LazyLock<PathBuf>, bool); 11] = [
    ("guest-examples/group-rust", &GROUP, true),
    ("rewards/gsm8k", &GSM8K, true),
    ("guest-examples/first-reward", &FIRST_REWARD, true),
    ("guest-examples/final-answer-rust", &FINAL_ANSWER, true),
    ("tests/guests/hostile", &HOSTILE, false),
    ("tests/guests/asker", &ASKER, false),
    ("tests/guests/helper", &HELPER, false),
    ("tests/guests/oracle", &ORACLE, false),
    ("tests/guests/ranker", &RANKER, true),
    ("tests/guests/steps", &STEPS, true),
    ("tests/guests/std", &STD, false),
];

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The binary, with its cache in the build folder, where nothing of the user's is touched.
pub(crate) fn rewarden() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rewarden"));
    command.current_dir(root()).env("REWARDEN_CACHE_DIR", cache_dir());
    command
}

fn cache_dir() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

#[track_caller]
pub(crate) fn succeeds(output: Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{stderr}", output.status);
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn build(dir: &str) -> PathBuf {
    build_with(dir, &[])
}

fn build_with(dir: &str, flags: &[&str]) -> PathBuf {
    let command = &mut rewarden();
    let printed = succeeds(command.args(["plugin", "build", dir]).args(flags).output().expect("the binary runs"));
    PathBuf::from(printed.lines().next().expect("the path comes first"))
}

/// The package as cargo makes it for wasm32-wasip2: a component already, with WASI imports.
fn build_wasip2(package: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wasip2");
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root()).args([
        "build",
        "--lib",
        "--profile",
        "guest",
        "--target",
        "wasm32-wasip2",
        "--package",
    ]);
    command.arg(package).arg("--target-dir").arg(&target).env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join("wasm32-wasip2/guest").join(format!("{}.wasm", package.replace('-', "_")))
}

/// Waits for a future on this thread.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

/// A runtime of two threads that the whole process shares.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| Runtime::new(RuntimeConfig { jobs: 2, cache_dir: Some(cache_dir()) }).expect("a runtime"));
    &RUNTIME
}

/// Loads a plugin that may log.
pub(crate) fn load(path: &Path, settings: Value, limits: Limits) -> Result<Plugin, rewarden_runtime::Error> {
    let grants = Grants::new(["host-log"]).expect("a known name");
    wait(runtime().load(&PluginSpec { settings, limits, grants, ..PluginSpec::path(path) }))
}

/// One answer to judge.
pub(crate) fn answer(content: &str, ground_truth: &str, extra: &str) -> Sample {
    let message =
        Message { role: Role::Assistant, content: content.into(), name: None, tool_calls: vec![], tool_call_id: None };
    Sample {
        id: "1".into(),
        group: String::new(),
        data_source: String::new(),
        prompt: vec![],
        completion: vec![message],
        ground_truth: ground_truth.into(),
        extra: extra.into(),
        stop_reason: StopReason::Completed,
        turn_scores: vec![],
        completion_tokens: 0,
        step: 0,
    }
}

#[test]
fn none_is_forgotten() {
    for (folder, needed) in PLUGIN_FOLDERS {
        for entry in fs::read_dir(root().join(folder)).expect(folder).map(|entry| entry.expect("an entry").path()) {
            if !entry.is_dir() {
                continue;
            }
            let name = format!("{folder}/{}", entry.file_name().expect("a name").to_string_lossy());
            assert!(
                ALL.iter()
                    .map(|(known, ..)| known)
                    .chain(FOREIGN.iter().map(|(known, _)| known))
                    .any(|known| *known == name),
                "{name} has no test: list it in tests/guests.rs, write one"
            );
            assert!(entry.join(needed).is_file(), "{name} has no {needed}");
            assert!(folder.starts_with("tests/") || entry.join("README.md").is_file(), "{name} has no README.md");
        }
    }
    assert!(root().join("guest-examples/README.md").is_file());
}

#[test]
fn all_of_them_build_and_load() {
    let foreign = FOREIGN.iter().filter_map(|&(name, sealed)| Some((name, built(&root().join(name))?, sealed)));
    for (name, path, sealed) in ALL.iter().map(|(name, path, sealed)| (*name, (**path).clone(), *sealed)).chain(foreign)
    {
        let spec = PluginSpec { wasi: Wasi::Virtual, ..PluginSpec::path(path) };
        let plugin = wait(runtime().load(&spec)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(plugin.sealed(), sealed, "{name} imports {:?}", plugin.imports());
    }
}

#[test]
fn the_first_reward_is_twenty_lines() {
    let source = fs::read_to_string(root().join("guest-examples/first-reward/src/lib.rs")).expect("readable");
    let code = source.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count();
    assert!(code <= 20, "{code} lines of code");
}
