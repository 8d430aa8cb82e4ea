//! Components from WebAssembly text and a world of `wit/`. All their answers lie ready in memory.

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};

use rewarden_runtime::{Message, Role, Sample, StopReason};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What the functions of a component do; by default they answer with what lies ready. Zeroed memory is a manifest of four
/// empty strings, an `ok`, an empty list: whatever points at 256 is one of these.
pub(crate) struct Core<'a> {
    /// Imports, memories, data, further functions.
    pub(crate) module: &'a str,
    /// Returns the address of a manifest.
    pub(crate) describe: &'a str,
    /// Returns the address of a `result<_, fault>`.
    pub(crate) configure: &'a str,
    /// Returns the address where the host writes an argument.
    pub(crate) realloc: &'a str,
    /// Returns the address of a list of results. Only rewards have it.
    pub(crate) score: &'a str,
}

impl Default for Core<'_> {
    fn default() -> Self {
        Core {
            module: SCORED,
            describe: "i32.const 256",
            configure: "i32.const 256",
            realloc: "i32.const 65536",
            score: "i32.const 1024",
        }
    }
}

/// A list at 1024 with one result at 512: ok, a score whose value is 1.
pub(crate) const SCORED: &str = r#"
    (memory (export "memory") 4)
    (data (i32.const 520) "\01") (data (i32.const 528) "\00\00\00\00\00\00\f0\3f")
    (data (i32.const 1024) "\00\02\00\00\01\00\00\00")"#;

const ENVIRONMENT: &str = r#"
    (func (export "rewarden:plugin/environment@0.1.0#start") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
        i32.const 256)
    (func (export "rewarden:plugin/environment@0.1.0#step") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
        i32.const 256)
    (func (export "rewarden:plugin/environment@0.1.0#finish") (result i32) i32.const 256)"#;

pub(crate) fn wit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")
}

/// A component of this world of `wit/`, or of the world that `further` adds to it.
pub(crate) fn component(world: &str, further: &str, core: &Core<'_>, exports: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let (mut package, _) = resolve.push_dir(wit()).expect("wit/ parses");
    if !further.is_empty() {
        package = resolve.push_str("further.wit", further).expect("the text is WIT");
    }
    let world = resolve.select_world(&[package], Some(world)).expect("a world of the package");
    let Core { module, describe, configure, realloc, .. } = core;
    let text = format!(
        r#"(module {module} {exports}
            (func (export "rewarden:plugin/plugin@0.1.0#describe") (result i32) {describe})
            (func (export "rewarden:plugin/plugin@0.1.0#configure") (param i32 i32 i32) (result i32) {configure})
            (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc}))"#
    );
    let mut module = wat::parse_str(text).expect("the text is WebAssembly");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("embeds");
    ComponentEncoder::default().module(&module).expect("a module").encode().expect("a component")
}

/// The export of a core module that judges.
pub(crate) fn score_export(score: &str) -> String {
    format!(r#"(func $score (export "rewarden:plugin/reward@0.1.0#score-batch") (param i32 i32) (result i32) {score})"#)
}

/// A reward with these functions.
pub(crate) fn reward_of(core: &Core<'_>) -> Vec<u8> {
    component("reward-plugin", "", core, &score_export(core.score))
}

/// A reward that pays 1 for everything. `extra` is more text for its module, to make one that differs.
pub(crate) fn reward(extra: &str) -> Vec<u8> {
    reward_of(&Core { module: &format!("{extra} {SCORED}"), ..Core::default() })
}

/// A reward that may log.
pub(crate) fn logging_reward() -> Vec<u8> {
    reward(r#"(import "rewarden:plugin/host-log@0.1.0" "log" (func (param i32 i32 i32)))"#)
}

/// A reward that may ask a model.
pub(crate) fn model_reward() -> Vec<u8> {
    let import = r#"(import "rewarden:plugin/host-model@0.1.0" "score" (func (param i32 i32 i32 i32 i32)))"#;
    let core = Core { module: &format!("{import} {SCORED}"), ..Core::default() };
    component("model-reward-plugin", "", &core, &score_export(core.score))
}

pub(crate) fn environment() -> Vec<u8> {
    let core = Core { module: r#"(memory (export "memory") 4)"#, ..Core::default() };
    component("environment-plugin", "", &core, ENVIRONMENT)
}

/// Writes the bytes as `<dir>/plugin.wasm`.
pub(crate) fn file(dir: &tempfile::TempDir, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join("plugin.wasm");
    fs::write(&path, bytes).expect("a temporary folder is writable");
    path
}

/// Waits for a future on this thread.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

pub(crate) fn sample() -> Sample {
    let message =
        Message { role: Role::Assistant, content: "x".into(), name: None, tool_calls: vec![], tool_call_id: None };
    Sample {
        id: "1".into(),
        group: String::new(),
        data_source: String::new(),
        prompt: vec![],
        completion: vec![message],
        ground_truth: "x".into(),
        extra: "{}".into(),
        stop_reason: StopReason::Completed,
        turn_scores: vec![],
        completion_tokens: 0,
        step: 0,
    }
}
