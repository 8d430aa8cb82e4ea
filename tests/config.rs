//! `rewarden config`: every key has a meaning.

use std::process::Stdio;

use serde_json::Value;

use crate::guests::rewarden;
use crate::training::finish;

#[test]
fn docs_name_every_table_and_key() {
    let mut command = rewarden();
    command.args(["config", "docs"]);
    let page = String::from_utf8(finish(command).stdout).expect("UTF-8");
    for part in [
        "[sft]\n",
        "[[reward]]\n",
        "[rl.loss_fn_config]\n",
        "learning_rate = 0.0001  (number)\n    Peak learning rate.",
    ] {
        assert!(page.contains(part), "{part:?} is not in\n{page}");
    }
    let mut command = rewarden();
    command.args(["config", "docs", "--json"]);
    let docs: Vec<Value> = serde_json::from_slice(&finish(command).stdout).expect("a list");
    let fuel = docs.iter().find(|doc| doc["key"] == "reward[].limits.fuel").expect("documented");
    assert_eq!((&fuel["type"], &fuel["default"]), (&"integer".into(), &"1000000000".into()));
}

/// `rewarden config docs | head -3` ends like any program whose reader has seen enough.
#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let mut command = rewarden();
    let mut child =
        command.args(["config", "docs"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
