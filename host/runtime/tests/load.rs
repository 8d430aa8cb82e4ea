//! What loads, and the sentence for everything that does not.

use std::fs::File;

use rewarden_runtime::{Digest, Error, Grants, Plugin, PluginSpec, Runtime, RuntimeConfig, World};
use serde_json::json;

use crate::component::{environment, file, logging_reward, model_reward, reward, sample, wait};

fn runtime() -> Runtime {
    Runtime::new(RuntimeConfig { jobs: 2, cache_dir: None }).expect("a runtime")
}

fn load(bytes: &[u8], change: impl FnOnce(&mut PluginSpec)) -> Result<Plugin, Error> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut spec = PluginSpec::path(file(&dir, bytes));
    change(&mut spec);
    wait(runtime().load(&spec))
}

/// Bytes that do not load without grants, and what the sentence must say.
#[track_caller]
fn check(bytes: &[u8], said: &[&str]) {
    let error = load(bytes, |_| {}).err().expect("an error").to_string();
    for part in said {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
}

fn text(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).expect("WebAssembly text")
}

#[test]
fn a_reward_loads_and_scores() {
    let bytes = reward("");
    let plugin = load(&bytes, |_| {}).expect("loads");
    assert_eq!((plugin.world(), plugin.sealed(), plugin.name()), (World::RewardPlugin, true, "plugin"));
    assert_eq!((plugin.digest(), plugin.size_bytes()), (Digest::of(&bytes), bytes.len() as u64));
    let scores = wait(plugin.reward().expect("a reward").score_batch(vec![sample(); 100]));
    assert_eq!(scores.len(), 100);
    assert!(scores.iter().all(|score| score.as_ref().is_ok_and(|score| score.value == Some(1.0))));
    assert!(wait(plugin.reward().expect("a reward").score_batch(vec![])).is_empty());
}

#[test]
fn what_is_no_webassembly() {
    check(b"", &["plugin.wasm", "empty"]);
    check(b"score = 1.0", &["plugin.wasm", "does not start with"]);
    check(b"\0asm", &["not a valid WebAssembly component"]);
}

#[test]
fn bytes_cut_short_anywhere() {
    let bytes = reward("");
    for length in (8..bytes.len()).step_by(101).chain([bytes.len() - 1]) {
        assert!(load(&bytes[..length], |_| {}).is_err(), "{length} of {} bytes", bytes.len());
    }
}

#[test]
fn flipped_bits_never_harm_the_host() {
    let bytes = reward("");
    for place in (8..bytes.len()).step_by(37) {
        let mut bytes = bytes.clone();
        bytes[place] ^= 0x41;
        // Most do not load. Those that do (a flipped bit of a name) must still only ever fault or score.
        if let Ok(plugin) = load(&bytes, |_| {}) {
            wait(plugin.reward().expect("a reward").score_batch(vec![sample()]));
        }
    }
}

#[test]
fn missing_and_oversized_files() {
    let error = wait(runtime().load(&PluginSpec::path("no/such.wasm"))).err().expect("an error").to_string();
    assert!(error.contains("no/such.wasm") && error.contains("No such file"), "{error}");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("large.wasm");
    File::create(&path).and_then(|file| file.set_len((64 << 20) + 1)).expect("a sparse file");
    let error = wait(runtime().load(&PluginSpec::path(&path))).err().expect("an error").to_string();
    assert!(error.contains("large.wasm") && error.contains("67108865"), "{error}");
    let error = wait(runtime().load(&PluginSpec::path(dir.path()))).err().expect("an error").to_string();
    assert!(error.contains("cannot read"), "{error}");
}

#[test]
fn components_of_other_kinds() {
    check(&text("(module)"), &["core WebAssembly module", "rewarden plugin build"]);
    check(&text("(component)"), &["exports nothing", "rewarden:plugin/reward@0.1.0"]);
    check(
        &text(r#"(component (instance $i) (export "wasi:cli/run@0.2.6" (instance $i)))"#),
        &["exports wasi:cli/run@0.2.6", "no plugin"],
    );
    check(
        &text(
            r#"(component (instance $i) (export "rewarden:plugin/plugin@0.2.0" (instance $i))
               (instance $j) (export "rewarden:plugin/reward@0.2.0" (instance $j)))"#,
        ),
        &["exports rewarden:plugin/plugin@0.2.0", "0.1.0"],
    );
    // The right names around nothing.
    check(
        &text(
            r#"(component (instance $i) (export "rewarden:plugin/plugin@0.1.0" (instance $i))
               (instance $j) (export "rewarden:plugin/reward@0.1.0" (instance $j)))"#,
        ),
        &["cannot be used", "does not have export"],
    );
}

#[test]
fn a_plugin_of_another_world_says_which() {
    let plugin = load(&environment(), |_| {}).expect("an environment is a plugin");
    assert_eq!(plugin.world(), World::EnvironmentPlugin);
    let error = plugin.reward().err().expect("no reward").to_string();
    assert_eq!(error, "the plugin plugin has the world environment-plugin, and reward-plugin is needed here");
}

#[test]
fn imports_are_permissions() {
    let with = |import: &str| {
        text(&format!(
            r#"(component (import "{import}" (instance (export "now" (func (result u32)))))
               (instance $i) (export "rewarden:plugin/plugin@0.1.0" (instance $i))
               (instance $j) (export "rewarden:plugin/reward@0.1.0" (instance $j)))"#
        ))
    };
    check(&with("wasi:clocks/wall-clock@0.2.6"), &["wasi:clocks/wall-clock@0.2.6", "wasm32-unknown-unknown"]);
    check(&with("acme:bank/account@1.0.0"), &["acme:bank/account@1.0.0", "does not offer"]);
    // What is ours and was not granted loads, and says `unavailable` when it is asked.
    for bytes in [model_reward(), logging_reward()] {
        let plugin = load(&bytes, |_| {}).expect("loads");
        assert!(!plugin.sealed() && plugin.reproducible());
        assert!(wait(plugin.reward().expect("a reward").score_batch(vec![sample()])).remove(0).is_ok());
    }
    let grants = Grants::new(["host-model"]).expect("a known name");
    let plugin = load(&model_reward(), |spec| spec.grants = grants).expect("loads");
    assert!(!plugin.reproducible(), "a model may answer otherwise another time");
    assert_eq!(plugin.no_snapshot(), Some("it may ask host services"));
}

#[test]
fn settings_are_an_object() {
    let error = load(&reward(""), |spec| spec.settings = json!([1])).err().expect("an error").to_string();
    assert_eq!(error, "the settings of the plugin plugin must be a table (a JSON object), and are a list");
}

#[test]
fn a_memory_over_the_cap_is_refused_before_any_sample() {
    let error = load(&reward(""), |spec| spec.limits.memory_bytes_max = 65_536).err().expect("an error").to_string();
    assert!(error.contains("memory_bytes_max = 65536"), "{error}");
}

#[test]
fn a_runtime_may_be_dropped_inside_asynchronous_code() {
    wait(async {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let runtime = runtime();
        let plugin = runtime.load(&PluginSpec::path(file(&dir, &reward("")))).await.expect("loads");
        drop(runtime);
        let scores = plugin.reward().expect("a reward").score_batch(vec![sample()]).await;
        assert!(scores[0].is_ok(), "a plugin keeps its runtime");
    });
}
