//! `rewarden plugin test`: cases of every kind of plugin, probes, `--update`, `--watch`, and mistakes in the file.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::guests::{ASKER, FIRST_REWARD, GSM8K, HELPER, HOSTILE, ORACLE, RANKER, rewarden, root, succeeds};

fn plugin_test(plugin: &Path) -> Command {
    let mut command = rewarden();
    command.args(["plugin", "test"]).arg(plugin);
    command
}

/// Tests a plugin on cases of a temporary file.
fn run(plugin: &Path, cases: &str, args: &[&str]) -> Output {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("cases.jsonl");
    fs::write(&file, cases).expect("writable");
    plugin_test(plugin).arg("--cases").arg(&file).args(args).output().expect("runs")
}

/// The exit code, and what must be said.
#[track_caller]
fn check(plugin: &Path, cases: &str, code: i32, said: &[&str]) {
    let output = run(plugin, cases, &[]);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in said {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[test]
fn the_trees_own_plugins_pass_their_own_tests() {
    for (folder, plugin) in [("rewards/gsm8k", &GSM8K), ("guest-examples/first-reward", &FIRST_REWARD)] {
        let cases = root().join(folder).join("cases.jsonl");
        let printed = succeeds(plugin_test(plugin).arg("--cases").arg(cases).arg("--json").output().expect("runs"));
        let report: Value = serde_json::from_str(&printed).expect("JSON");
        assert_eq!((&report["passed"], &report["failed"]), (&true.into(), &Value::Array(vec![])), "{folder}");
        assert!(report["probes"].as_array().expect("probes").iter().all(|probe| probe["faults"] == 0), "{folder}");
    }
}

const PARIS: &str =
    r#"{"name": "right", "sample": {"prompt": "Where?", "response": "Paris", "ground_truth": "Paris"}, "expect": 1.0}"#;

#[test]
fn what_came_out_differently_is_shown_as_a_diff() {
    check(&FIRST_REWARD, PARIS, 0, &["1 of 1 cases pass", "passed"]);
    let wrong = PARIS.replace("1.0", "0.5");
    check(
        &FIRST_REWARD,
        &wrong,
        1,
        &["cases.jsonl:1  right\n  - score 0.5\n  + score 1.0\n", "its note: Paris", "FAILED"],
    );
    check(&FIRST_REWARD, &PARIS.replace("1.0", "null"), 1, &["- score null\n  + score 1.0"]);
    check(&FIRST_REWARD, &wrong.replace("}\n", "").replace("0.5}", "0.5, \"tolerance\": 0.5}"), 0, &["1 of 1"]);
    let setting = PARIS.replace("\"expect\"", "\"settings\": {\"ignore\": 1}, \"expect\"");
    check(
        &FIRST_REWARD,
        &setting,
        1,
        &["+ fault misconfigured: the plugin refuses its settings: unknown field `ignore`"],
    );
    check(&FIRST_REWARD, &setting.replace("1.0", r#"{"fault": "misconfigured", "message": "ignore_case"}"#), 0, &[]);
}

fn sin(sin: &str, expect: &str) -> String {
    format!(r#"{{"name": "{sin}", "sample": {{"response": "x", "extra": "{sin}"}}, "expect": {expect}}}"#)
}

#[test]
fn faults_are_found_and_may_be_expected() {
    check(
        &HOSTILE,
        &sin("panic", "1"),
        1,
        &["- {\"score\":1}", "+ fault trap: the plugin trapped: panicked at tests/guests/hostile/"],
    );
    check(&HOSTILE, &sin("nan", "0"), 1, &["+ fault invalid-output"]);
    check(&HOSTILE, &sin("nan", r#"{"fault": "invalid-output"}"#), 0, &["no case to make it from"]);
    check(&HOSTILE, &sin("fault", r#"{"fault": "invalid-input", "message": "I judge"}"#), 0, &[]);
    // A plugin that remembers is asked for every case in an instance of its own.
    let honest = r#"{"name": "honest", "sample": {"response": "x", "ground_truth": "y"}, "expect": 0}"#;
    let paid = r#"{"probe": "*", "max": 1}"#;
    check(&HOSTILE, &format!("{}\n{honest}\n{paid}", sin("poison", "1")), 0, &["2 of 2"]);
}

#[test]
fn probes_are_paid_only_what_the_cases_allow() {
    let flexible = r#"{"name": "a", "settings": {"method": "flexible"}, "sample": {"response": "It is 36", "ground_truth": "36"}, "expect": 1}"#;
    check(&GSM8K, flexible, 1, &["FAIL  not_ground_truth", "answer \"not 36\"", "earned 1, full marks", "\"max\": .."]);
    let rule = |rule: &str| format!("{flexible}\n{{\"probe\": {rule}}}\n");
    check(&GSM8K, &rule(r#""not_ground_truth", "max": 1"#), 0, &[]);
    check(&GSM8K, &rule(r#""*", "max": 1"#), 0, &[]);
    check(&GSM8K, &rule(r#""not_ground_truth", "max": 0.5"#), 1, &["earned 1, and may earn 0.5"]);
    check(&GSM8K, &rule(r#""not_ground_truth", "max": 1, "settings": {"method": "first"}"#), 1, &["full marks"]);
    check(&GSM8K, &rule(r#""not_ground_truth", "max": 1, "settings": {"method": "flexible"}"#), 0, &[]);
    // The prompt is the answer; the empty answer is right.
    check(&FIRST_REWARD, &PARIS.replace("Where?", "Paris"), 1, &["FAIL  echo_prompt", "answer \"Paris\""]);
    let silence = r#"{"name": "a", "sample": {"response": "", "ground_truth": ""}, "expect": 1}"#;
    check(&FIRST_REWARD, silence, 1, &["FAIL  empty"]);
    check(&HOSTILE, &format!("{PARIS}\n{{\"probe\": \"empty\", \"max\": -1}}"), 1, &["earned 0, and may earn -1"]);
}

const JUDGE: &str = r#"{"name": "asks", "sample": {"response": "x", "extra": "score-twice"}, "expect": 0.5}"#;

#[test]
fn a_probe_that_faults_fails_unless_that_is_allowed() {
    // Its rule for groups has no bound: whatever is longest wins.
    let group = r#"{"name": "longest", "group": [{"response": "a"}, {"response": "abc"}], "expect": [0, 1]}"#;
    check(&RANKER, group, 1, &["1 of 1", "FAIL  constant", "full marks"]);
    check(&RANKER, &format!("{group}\n{{\"probe\": \"*\", \"max\": 1}}"), 0, &["1 of 1"]);
    let fault = r#"{"name": "nothing", "group": [{"response": "a", "ground_truth": "fault"}], "expect": {"fault": "invalid-input"}}"#;
    check(&RANKER, fault, 0, &["1 of 1"]);
    // What is asked of a model may have a megabyte, and this plugin asks about twice as much without looking.
    let asks = format!("{{\"model\": \"judge\", \"score\": 0.5}}\n{JUDGE}\n{{\"probe\": \"*\", \"max\": 1}}\n");
    check(&ASKER, &asks, 1, &["1 of 1", "FAIL  one_megabyte", "unavailable", "a policy may say anything"]);
    check(&ASKER, &format!("{asks}{{\"probe\": \"*\", \"max\": 1, \"fault\": \"unavailable\"}}"), 0, &["1 of 1"]);
    // A case that fails is no ground for probes.
    let call = r#"{"name": "t", "call": {"name": "trap"}, "expect": "never"}"#;
    check(&HELPER, call, 1, &["0 of 1", "+ fault trap", "no case to make it from"]);
}

#[test]
fn every_kind_of_plugin_has_cases() {
    let game = |expect: &str| {
        format!(
            r#"{{"name": "game", "task": {{"ground_truth": "7"}}, "actions": ["5", "9", "7"], "expect": {expect}}}"#
        )
    };
    check(&ORACLE, &game("[0, 0, 1]"), 0, &["1 of 1"]);
    let full = r#"{"start": "Guess my number.", "steps": [{"observation": "Higher."}, {"observation": "Lower.", "done": false}, {"reward": 1, "done": true, "metrics": {"turns": 3}}], "metrics": {"finished": 1}}"#;
    check(&ORACLE, &game(full), 0, &["1 of 1"]);
    check(&ORACLE, &game("[0, 1, 1]"), 1, &["- steps[1].reward 1\n  + steps[1].reward 0.0"]);
    check(&ORACLE, &game("[0, 0]"), 1, &["- steps [{\"reward\":0},{\"reward\":0}]"]);
    let broken = r#"{"name": "b", "task": {"extra": "fault in step"}, "actions": ["5"], "expect": [{"fault": "invalid-input"}]}"#;
    check(&ORACLE, broken, 0, &["1 of 1"]);
    let start =
        r#"{"name": "b", "task": {"ground_truth": "x"}, "actions": ["5"], "expect": {"fault": "invalid-input"}}"#;
    check(&ORACLE, start, 0, &["1 of 1"]);
    let call = r#"{"name": "echo", "call": {"name": "echo", "arguments": {"a": 1}}, "expect": "{\"a\":1}"}"#;
    check(&HELPER, call, 0, &["1 of 1"]);
    check(
        &ASKER,
        &format!("{{\"model\": \"judge\", \"generate\": \"x\"}}\n{JUDGE}"),
        1,
        &["the stand-in of cases.jsonl has no `score`"],
    );
}

#[test]
fn mistakes_end_before_anything_runs() {
    check(
        &GSM8K,
        "{\"name\": \"a\"}\n{\n",
        2,
        &["cases.jsonl:1: a case holds one of", "cases.jsonl:2: the line is not JSON"],
    );
    check(
        &GSM8K,
        r#"{"name": "a", "call": {"name": "x"}, "expect": "y"}"#,
        2,
        &["cases.jsonl:1: `call`: the plugin is a reward-plugin", "`sample`"],
    );
    check(&GSM8K, r#"{"name": "a", "sample": {"response": "x"}}"#, 2, &["`expect`: is missing", "--update"]);
    let output = plugin_test(&root().join("tests/guests/helper")).output().expect("runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr.contains("cannot read the golden cases") && stderr.contains("helper/cases.jsonl"), "{stderr}");
}

#[test]
fn a_filter_runs_what_it_names() {
    let two = format!("{PARIS}\n{}", PARIS.replace("right", "left").replace("1.0", "0.0"));
    let printed = succeeds(run(&FIRST_REWARD, &two, &["--filter", "igh"]));
    assert!(printed.contains("1 of 1 cases pass") && !printed.contains("probe"), "{printed}");
    let output = run(&FIRST_REWARD, &two, &["--filter", "lfet"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("did you mean \"left\"?"));
}

#[test]
fn update_writes_expectations_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("cases.jsonl");
    let text = "{ \"name\":\"a\",  \"expect\": 0, \"sample\": {\"response\": \"Paris\", \"ground_truth\": \"Paris\"} }\r\n\n\
                {\"name\": \"b\", \"sample\": {\"response\": \"x\", \"ground_truth\": \"y\"}}\n\
                {\"probe\": \"constant\", \"max\":  0}\n";
    fs::write(&file, text).expect("writable");
    let update = |plugin: &Path| plugin_test(plugin).arg("--update").arg("--cases").arg(&file).output().expect("runs");
    let printed = succeeds(update(&FIRST_REWARD));
    assert!(printed.contains("new   ") && printed.contains("2 written anew"), "{printed}");
    let expected = text.replace("\"expect\": 0,", "\"expect\": 1.0,").replace("\"y\"}}", "\"y\"}, \"expect\": 0.0}");
    assert_eq!(fs::read_to_string(&file).expect("readable"), expected);
    assert!(succeeds(update(&FIRST_REWARD)).contains("2 of 2 cases pass"));
    // What the host found wrong is no promise.
    fs::write(&file, sin("panic", "1")).expect("writable");
    assert_eq!(update(&HOSTILE).status.code(), Some(1));
    assert_eq!(fs::read_to_string(&file).expect("readable"), sin("panic", "1"));
    fs::write(&file, sin("fault", "1")).expect("writable");
    succeeds(update(&HOSTILE));
    assert_eq!(fs::read_to_string(&file).expect("readable"), sin("fault", "{\"fault\":\"invalid-input\"}"));
}

/// A watch, its reports as they come, and its end.
struct Watched {
    process: Child,
    reports: Receiver<Value>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Watched {
    fn start(folder: &Path) -> Watched {
        let mut command = plugin_test(folder);
        let mut process =
            command.args(["--watch", "--json"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("runs");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let (send, reports) = mpsc::channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = send.send(serde_json::from_str(&line).expect("JSON"));
            }
        });
        Watched { process, reports }
    }

    /// Waits for a report of so many failed cases.
    #[track_caller]
    fn expect(&self, failed: usize) -> Value {
        loop {
            let report = self.reports.recv_timeout(Duration::from_secs(300)).expect("another report");
            if report["failed"].as_array().expect("cases").len() == failed {
                return report;
            }
        }
    }
}

#[test]
fn a_watch_tests_every_save_and_survives_a_build_that_fails() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("writable");
    write(
        "plugin.toml",
        "id = \"p\"\nversion = \"0.1.0\"\nkind = \"reward\"\nlanguage = \"c\"\nsummary = \"P.\"\nlicense = \"MIT\"\n\
         capabilities = [\"host-log\"]\n[build]\ncommand = [\"sh\", \"build.sh\"]\noutput = \"p.wasm\"\n",
    );
    let good = format!("cp '{}' p.wasm\n", HOSTILE.display());
    write("build.sh", &good);
    write("cases.jsonl", PARIS);
    let watched = Watched::start(dir.path());
    let first = watched.expect(0);
    write("cases.jsonl", &PARIS.replace("1.0", "0.5"));
    watched.expect(1);
    // The last build stays, and new cases are judged by it.
    write("build.sh", "exit 1\n");
    write("cases.jsonl", &format!("{}\n{}", PARIS.replace("1.0", "0.5"), sin("nan", "1")));
    assert_eq!(watched.expect(2)["digest"], first["digest"]);
    write("build.sh", &good);
    write("cases.jsonl", PARIS);
    watched.expect(0);
}
