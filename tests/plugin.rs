//! `rewarden plugin inspect`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::guests::{GSM8K, HOSTILE, rewarden, root, succeeds};

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
