//! `rewarden plugin check`: what is fit, what is not and why, and what cannot be looked at.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::guests::{ASKER, FIRST_REWARD, GSM8K, HELPER, HOSTILE, ORACLE, RANKER, STD, rewarden, root, succeeds};

fn plugin_check(plugin: &Path, args: &[&str]) -> Output {
    let mut command = rewarden();
    command.args(["plugin", "check", "--json"]).arg(plugin).args(args).output().expect("runs")
}

/// The finding of a name: verdict, detail and remedy.
fn finding(report: &Value, name: &str) -> (String, String, String) {
    let findings = report["findings"].as_array().expect("findings");
    let found = findings.iter().find(|finding| finding["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no finding {name} in {report}"));
    let text = |key: &str| found[key].as_str().expect("text").to_owned();
    (text("verdict"), text("detail"), text("remedy"))
}

/// One finding of a report, and whether the plugin is fit.
#[track_caller]
fn check(output: &Output, is_fit: bool, name: &str, verdict: &str, said: &[&str]) {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}"));
    assert_eq!((&report["fit"], output.status.code()), (&is_fit.into(), Some(if is_fit { 0 } else { 1 })), "{report}");
    let (found, detail, remedy) = finding(&report, name);
    assert_eq!(found, verdict, "{detail}");
    for part in said {
        assert!(detail.contains(part) || remedy.contains(part), "{part:?} is not in: {detail} -> {remedy}");
    }
}

/// A temporary file of cases.
fn with_cases(plugin: &Path, cases: &str) -> Output {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("cases.jsonl");
    fs::write(&file, cases).expect("writable");
    plugin_check(plugin, &["--cases", file.to_str().expect("UTF-8")])
}

#[test]
fn the_trees_own_plugins_are_fit() {
    for (folder, plugin) in [("rewards/gsm8k", &GSM8K), ("guest-examples/first-reward", &FIRST_REWARD)] {
        let cases = root().join(folder).join("cases.jsonl");
        let output = plugin_check(plugin, &["--cases", cases.to_str().expect("UTF-8")]);
        check(&output, true, "golden", "ok", &["as promised", "the best answer earns"]);
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        for name in ["world", "imports", "sealed", "size", "features", "manifest", "loads", "describe", "repeats"] {
            assert_eq!(finding(&report, name).0, "ok", "{folder}: {report}");
        }
    }
}

#[test]
fn what_it_may_do_is_named() {
    let hostile = plugin_check(&HOSTILE, &[]);
    check(&hostile, true, "sealed", "ok", &["no: it imports rewarden:plugin/host-log@0.1.0"]);
    check(&hostile, true, "manifest", "warn", &["plugin.toml"]);
    check(&hostile, true, "golden", "warn", &["cases.jsonl", "--help"]);
    check(&plugin_check(&ASKER, &[]), true, "sealed", "warn", &["host-model", "part of its input"]);
    check(&plugin_check(&ORACLE, &[]), true, "world", "ok", &["environment-plugin"]);
    check(&plugin_check(&HELPER, &[]), true, "repeats", "ok", &["one neutral question", "equal fuel"]);
    let std = plugin_check(&STD, &[]);
    check(&std, false, "imports", "fail", &["wasi:", "refuses WASI", "wasi = \"virtual\""]);
    check(&std, false, "loads", "fail", &["plugins get no WASI"]);
}

#[test]
fn what_remembers_is_not_fit() {
    let poison = r#"{"name": "p", "sample": {"response": "x", "ground_truth": "y", "extra": "poison"}, "expect": 1}"#;
    let honest = r#"{"name": "h", "sample": {"response": "x", "ground_truth": "y"}, "expect": 0}"#;
    check(&with_cases(&HOSTILE, honest), true, "repeats", "ok", &["the cases", "every isolation"]);
    let output = with_cases(&HOSTILE, &format!("{poison}\n{honest}\n"));
    check(&output, false, "repeats", "fail", &["`score` of question 2 was 0.0, and then 1.0", "can be forged"]);
    check(&output, false, "golden", "ok", &["2 cases as promised"]);
    check(&plugin_check(&RANKER, &[]), false, "repeats", "fail", &["`worker`", "note"]);
}

#[test]
fn broken_promises_are_counted() {
    let case = |expect: &str| {
        format!(r#"{{"name": "a", "sample": {{"response": "Paris", "ground_truth": "Paris"}}, "expect": {expect}}}"#)
    };
    check(&with_cases(&FIRST_REWARD, &case("1")), true, "golden", "ok", &["1 case as promised"]);
    let said = ["1 of 1 cases fail", "line 1: a", "rewarden plugin test"];
    check(&with_cases(&FIRST_REWARD, &case("0.5")), false, "golden", "fail", &said);
    check(&with_cases(&FIRST_REWARD, &case("{\"fault\": \"trap\"}")), false, "golden", "fail", &said);
    let nan = r#"{"name": "n", "sample": {"response": "x", "extra": "nan"}, "expect": {"fault": "invalid-output"}}"#;
    check(&with_cases(&HOSTILE, nan), true, "golden", "warn", &["1 of them faults", "never pays"]);
    let call = r#"{"name": "c", "call": {"name": "echo"}, "expect": "{}"}"#;
    check(&with_cases(&FIRST_REWARD, call), false, "golden", "fail", &["another kind of plugin"]);
    check(&with_cases(&HELPER, call), true, "golden", "ok", &[]);
}

/// A folder whose own build command copies a component that was built before.
fn folder(plugin: &Path, change: impl Fn(String) -> String) -> Output {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let manifest = format!(
        "id = \"hostile\"\nversion = \"0.0.0\"\nkind = \"reward\"\nlanguage = \"c\"\nsummary = \"S.\"\n\
         license = \"MIT\"\ncapabilities = [\"host-log\"]\n[build]\ncommand = [\"cp\", \"{}\", \"p.wasm\"]\n\
         output = \"p.wasm\"\n",
        plugin.display()
    );
    fs::write(dir.path().join("plugin.toml"), change(manifest)).expect("writable");
    plugin_check(dir.path(), &[])
}

#[test]
fn a_manifest_is_held_against_what_it_describes() {
    let output = folder(&HOSTILE, |manifest| manifest);
    check(&output, false, "describe", "fail", &["describe() says \"hostile\\u{1b}[31m\"", "id = \"hostile\""]);
    check(&output, false, "manifest", "ok", &["hostile 0.0.0, the same in plugin.toml and inside"]);
    let output = folder(&HOSTILE, |manifest| manifest.replace("\"host-log\"", "\"host-log\", \"host-model\""));
    check(&output, false, "imports", "warn", &["asks for host-model, which it does not import"]);
}

#[test]
fn what_cannot_be_checked_ends_with_2() {
    #[track_caller]
    fn check(output: Output, said: &[&str]) {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(said.iter().all(|part| stderr.contains(part)), "{stderr}");
    }
    check(plugin_check(Path::new("no-such.wasm"), &[]), &["no-such.wasm", "cannot read"]);
    check(plugin_check(&root().join("Cargo.toml"), &[]), &["not a valid WebAssembly component"]);
    check(with_cases(&GSM8K, "{"), &["cases.jsonl:1: the line is not JSON"]);
    check(plugin_check(&GSM8K, &["--cases", "no-such.jsonl"]), &["cannot read the golden cases no-such.jsonl"]);
    // A component of another kind is looked at, and told apart.
    let seed = root().join("host/runtime/fuzz/seeds/load/refused-other-world.wasm");
    let report: Value = serde_json::from_slice(&plugin_check(&seed, &[]).stdout).expect("JSON");
    assert!(finding(&report, "world").1.contains("no plugin: it exports wasi:cli/run"), "{report}");
}

#[test]
fn the_page_for_people_has_a_verdict() {
    let mut command: Command = rewarden();
    let printed = succeeds(command.args(["plugin", "check"]).arg(&*HOSTILE).output().expect("runs"));
    assert!(printed.contains("ok    world     reward-plugin\n"), "{printed}");
    assert!(printed.contains("warn  manifest") && printed.contains("\n                -> describe it"), "{printed}");
    assert!(printed.ends_with("\nfit: 0 failures, 2 warnings\n"), "{printed}");
    // Its name would colour the terminal.
    assert!(!printed.contains('\u{1b}'), "{printed:?}");
}
