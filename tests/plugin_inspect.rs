//! `rewarden plugin inspect`: what the page says, and that it comes for plugins that do not load.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::guests::{ASKER, GSM8K, HOSTILE, rewarden, root, succeeds};

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

/// A component's page as JSON, and the exit code.
fn page(path: &Path, args: &[&str]) -> (Value, i32) {
    let output = rewarden().args(["plugin", "inspect", "--json"]).arg(path).args(args).output().expect("runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let page = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}: {stderr}", path.display()));
    (page, output.status.code().expect("an exit code"))
}

#[test]
fn a_page_comes_for_every_component_and_says_why_it_does_not_load() {
    let seeds = root().join("host/runtime/fuzz/seeds/load");
    #[track_caller]
    fn check(path: &Path, reason: &str) {
        let (page, code) = page(path, &[]);
        let said = page["load_error"].as_str().expect("a reason");
        assert!(said.contains(reason) && !said.contains('\u{1b}'), "{said}");
        assert_eq!((code, &page["loads"], page["digest"].is_string()), (1, &false.into(), true));
    }
    check(&seeds.join("refused-other-world.wasm"), "no plugin: it exports wasi:cli/run");
    check(&seeds.join("refused-configure.wasm"), "does not start");
    check(&seeds.join("refused-empty-component.wasm"), "exports nothing");
    // What would take minutes to compile is not compiled, and described all the same.
    check(&too_much(), "nested instances");
    let (page, code) = page(&seeds.join("refused-configure.wasm"), &["--static"]);
    assert_eq!((code, &page["loads"], &page["world"]), (0, &Value::Null, &"reward-plugin".into()));
}

/// Components that instantiate one another ten times each.
fn too_much() -> PathBuf {
    let mut text = "(component $c (core module $m) (core instance (instantiate $m)))".to_owned();
    for _ in 0..4 {
        text = format!("(component $c {text} {})", "(instance (instantiate $c))".repeat(10));
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("too-much.wasm");
    fs::write(&path, wat::parse_str(text).expect("WAT")).expect("writable");
    path
}

#[test]
fn the_page_tells_who_made_it_and_what_it_costs() {
    let (gsm8k, code) = page(&root().join("rewards/gsm8k"), &[]);
    assert_eq!((code, &gsm8k["kind"], &gsm8k["language"]), (0, &"reward".into(), &"rust".into()));
    assert_eq!((&gsm8k["capabilities"], &gsm8k["license"]), (&Value::Array(vec![]), &"Apache-2.0".into()));
    let processed = gsm8k["producers"]["processed-by"].to_string();
    assert!(processed.contains("wit-component"), "{processed}");
    assert!(gsm8k["features"].to_string().contains("bulk-memory"), "{gsm8k}");
    assert!(gsm8k["fuel"]["p50"].as_u64() > Some(100) && gsm8k["fuel"]["of"] == "83 cases", "{gsm8k}");
    // Everything but what it does is known without running it.
    let (again, _) = page(&GSM8K, &["--static"]);
    for key in ["name", "version", "summary", "digest", "world", "settings_schema", "producers", "features"] {
        assert_eq!(again[key], gsm8k[key], "{key}");
    }
    assert_eq!((&again["fuel"], &again["snapshot"]), (&Value::Null, &Value::Null));
    let (hostile, _) = page(&HOSTILE, &[]);
    assert_eq!((&hostile["capabilities"], &hostile["fuel"]["of"]), (&Value::Null, &"one neutral question".into()));
    let (asker, _) = page(&ASKER, &[]);
    assert!(asker["fuel_error"].as_str().is_some_and(|why| why.contains("unavailable")), "{asker}");
    let output = rewarden().args(["plugin", "inspect", "Cargo.toml"]).output().expect("runs");
    assert_eq!(output.status.code(), Some(2));
}
