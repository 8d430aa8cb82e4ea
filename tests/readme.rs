//! The first reward of README.md, in each language: what people copy must build and do what it says.

use std::fs;

use serde_json::{Value, json};

use crate::guests::{rewarden, root, succeeds};
use crate::languages::built;
use crate::score::run;

/// The README's block in this language goes into the template's file of this name.
#[track_caller]
fn check(fence: &str, language: &str, file: &str) {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let (_, block) = readme.split_once(&format!("```{fence}\n")).unwrap_or_else(|| panic!("no block of {fence}"));
    let (source, _) = block.split_once("\n```").expect("it ends");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let plugin = dir.path().join("exact");
    let mut new = rewarden();
    new.args(["plugin", "new", "exact", "--kind", "reward", "--lang", language, "--dir"]).arg(&plugin);
    succeeds(new.output().expect("the binary runs"));
    assert!(plugin.join(file).is_file(), "the template has no {file}");
    fs::write(plugin.join(file), source).expect("writable");
    let Some(component) = built(&plugin) else { return };
    let pays = |answer: &str, ignore_case: bool| -> Value {
        let request = json!({
            "id": "1",
            "input": {"response": answer, "ground_truth": "Paris"},
            "config": {"ignore_case": ignore_case},
        });
        let printed = succeeds(run(&component, &[], format!("{request}\n").as_bytes()));
        serde_json::from_str::<Value>(&printed).expect("one line")["score"].clone()
    };
    assert_eq!(pays(" Paris\n", false), json!(1.0));
    assert_eq!(pays("paris", false), json!(0.0));
    assert_eq!(pays("paris", true), json!(1.0));
    assert_eq!(pays("London", true), json!(0.0));
}

#[test]
fn python() {
    check("python", "python", "plugin.py");
}

#[test]
fn typescript() {
    check("ts", "ts", "plugin.ts");
}

#[test]
fn c() {
    check("c", "c", "src/reward.c");
}

#[test]
fn go() {
    check("go", "go", "main.go");
}
