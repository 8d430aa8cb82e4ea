//! `rewarden plugin bench`: every kind of plugin is measured; what its figures are is no test's business.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::guests::{FIRST_REWARD, GSM8K, HELPER, ORACLE, RANKER, rewarden, root, succeeds};

fn bench(plugins: &[&Path], args: &[&str]) -> std::process::Output {
    let mut command = rewarden();
    command.args(["plugin", "bench"]).args(plugins).args(args);
    if !args.contains(&"--seconds") {
        command.args(["--seconds", "0.05"]);
    }
    command.output().expect("runs")
}

#[test]
fn every_kind_of_plugin_is_measured() {
    let printed = succeeds(bench(&[&GSM8K, &RANKER, &ORACLE, &HELPER], &["--json"]));
    let report: Value = serde_json::from_str(&printed).expect("JSON");
    let plugins = report["plugins"].as_array().expect("figures");
    let units = ["sample", "group", "episode", "call"];
    assert_eq!(plugins.iter().map(|figures| figures["unit"].as_str().expect("a unit")).collect::<Vec<_>>(), units);
    for figures in plugins {
        for key in ["size_bytes", "load_cold_ms", "load_warm_ms", "asked"] {
            assert!(figures[key].as_f64().expect(key) > 0.0, "{key}: {figures}");
        }
        for key in ["/fresh_us/p99", "/fresh_per_second/one_thread", "/fresh_per_second/all_threads", "/fuel/p50"] {
            assert!(figures.pointer(key).and_then(Value::as_f64).expect(key) > 0.0, "{key}: {figures}");
        }
        assert_eq!(figures["faults"], 0, "{figures}");
        let is_judge = figures["unit"] == "sample" || figures["unit"] == "group";
        assert_eq!(figures["warm_per_second"].is_object(), is_judge, "{figures}");
        assert_eq!(figures["warm_us"].is_object(), figures["unit"] != "call", "{figures}");
    }
}

#[test]
fn a_table_has_a_column_for_each() {
    let cases = root().join("guest-examples/first-reward/cases.jsonl");
    let cases = cases.to_str().expect("UTF-8");
    let printed = succeeds(bench(&[&FIRST_REWARD, &GSM8K], &["--cases", cases]));
    let first = printed.lines().next().expect("a header");
    assert!(first.contains("| first-reward.wasm | ") && first.contains("gsm8k.wasm |"), "{printed}");
    for row in ["size", "load, cold", "fresh, p50 / p99", "warm a second, all threads", "fuel, p50 / p99"] {
        assert!(printed.contains(&format!("| {row} ")), "{printed}");
    }
    // Paris is no number to GSM8K.
    let faults = printed.lines().find(|line| line.contains("faults")).expect("a row");
    assert!(faults.contains("| 0 |") || faults.contains(" of "), "{faults}");
}

#[test]
fn what_is_asked_can_be_requests() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("requests.jsonl");
    let requests = |text: &str, plugin: &Path| {
        fs::write(&file, text).expect("writable");
        bench(&[plugin], &["--json", "--requests", file.to_str().expect("UTF-8")])
    };
    let one = r#"{"config": {"method": "flexible"}, "input": {"response": "It is 42", "ground_truth": "42"}}"#;
    let printed = succeeds(requests(&format!("{one}\n\n{one}\n"), &GSM8K));
    let report: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!((&report["plugins"][0]["questions"], &report["plugins"][0]["faults"]), (&2.into(), &0.into()));
    #[track_caller]
    fn check(output: std::process::Output, said: &[&str]) {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(said.iter().all(|part| stderr.contains(part)), "{stderr}");
    }
    check(requests("", &GSM8K), &["holds no request"]);
    check(requests("{}\n", &GSM8K), &["request 1", "neither `input` nor `sample`"]);
    check(
        requests(&format!("{one}\n{}", one.replace("flexible", "first")), &GSM8K),
        &["request 2", "another `config`"],
    );
    check(requests(one, &HELPER), &["requests are samples to judge", "tool-plugin"]);
    check(bench(&[&GSM8K], &["--seconds", "0"]), &["--seconds 0"]);
    check(bench(&[Path::new("no-such.wasm")], &[]), &["no-such.wasm"]);
    let cases = root().join("guest-examples/first-reward/cases.jsonl");
    check(bench(&[&ORACLE], &["--cases", cases.to_str().expect("UTF-8")]), &["environment-plugin", "`task`"]);
}
