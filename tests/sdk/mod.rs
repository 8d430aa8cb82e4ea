//! The SDKs of C and Go, asked the same things in the sandbox. Where a compiler is absent its language is skipped by name
//! (`tests/languages.rs`).

mod build;
mod c_library;
mod kinds;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rewarden_runtime::{
    Fault, Grants, Isolation, Limits, Message, Metric, Model, Plugin, PluginSpec, Role, Sample, Score, Services,
    StopReason, ToolCall,
};
use serde_json::{Value, json};

use crate::guests::{HELPER, answer, rewarden, root, runtime, wait};
use crate::languages::built;

/// The files of a plugin; `main` is its source.
fn files(language: &str, kind: &str, capabilities: &[&str], main: &str) -> Vec<(&'static str, String)> {
    let manifest = format!(
        "id = \"probe\"\nversion = \"0.1.0\"\nkind = {kind:?}\nlanguage = {language:?}\nsummary = \"Says \\\"é\\\"?\"\n\
         license = \"MIT\"\ncapabilities = {capabilities:?}\n"
    );
    let module =
        "module probe\n\ngo 1.24\n\nrequire rewarden v0.0.0\n\nreplace rewarden => ./.rewarden/sdk\n".to_owned();
    let source = match language {
        "c" => vec![("src/plugin.c", main.to_owned())],
        _ => vec![("main.go", main.to_owned()), ("go.mod", module)],
    };
    [vec![("plugin.toml", manifest)], source].concat()
}

/// Writes a plugin's files into a folder of the build folder, where what did not change is not compiled again.
fn written(name: &str, files: &[(&str, String)]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sdk").join(name);
    write(&folder, files);
    folder
}

fn write(folder: &Path, files: &[(&str, String)]) {
    for (name, text) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("in the folder")).expect("writable");
        fs::write(path, text).expect("writable");
    }
}

/// A source of tests/data/sdk.
fn source(name: &str, language: &str) -> String {
    let path = root().join("tests/data/sdk").join(format!("{name}.{language}"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn probe(language: &str) -> Vec<(&'static str, String)> {
    files(language, "reward", &["host-log", "host-model", "host-tools"], &source("probe", language))
}

/// The probe in both languages, built once per process; None where the compiler is absent.
static PROBES: LazyLock<[(&str, Option<PathBuf>); 2]> =
    LazyLock::new(|| ["c", "go"].map(|language| (language, built(&written(language, &probe(language))))));

fn probes() -> impl Iterator<Item = (&'static str, &'static Path)> {
    PROBES.iter().filter_map(|(language, path)| Some((*language, path.as_deref()?)))
}

/// One language, or both where none is named.
fn of(only: &str) -> impl Iterator<Item = (&'static str, &'static Path)> {
    probes().filter(move |(language, _)| only.is_empty() || *language == only)
}

fn spec(path: &Path) -> PluginSpec {
    let limits = Limits { timeout_ms: 60_000, ..Limits::default() };
    PluginSpec { limits, grants: Grants::new(["host-log"]).expect("a known name"), ..PluginSpec::path(path) }
}

fn load(spec: &PluginSpec) -> Plugin {
    wait(runtime().load(spec)).unwrap_or_else(|error| panic!("{error}"))
}

fn judge(spec: &PluginSpec, sample: Sample) -> Result<Score, Fault> {
    wait(load(spec).reward().expect("a reward").score_batch(vec![sample])).remove(0)
}

fn message(role: Role, content: &str) -> Message {
    Message { role, content: content.into(), name: None, tool_calls: vec![], tool_call_id: None }
}

/// A sample in which nothing is empty but what is meant to be.
fn full() -> Sample {
    let call = |id: &str, arguments: &str| ToolCall { id: id.into(), name: "add".into(), arguments: arguments.into() };
    let calls = vec![call("c1", "{\"a\":1}"), call("", "")];
    Sample {
        group: "g".into(),
        data_source: "dé".into(),
        prompt: vec![message(Role::System, "be good"), message(Role::User, "")],
        completion: vec![
            Message { tool_calls: calls, ..message(Role::Assistant, "calls") },
            Message { name: Some("add".into()), tool_call_id: Some("c1".into()), ..message(Role::Tool, "1") },
            message(Role::Assistant, "∑"),
        ],
        stop_reason: StopReason::MaxTurns,
        turn_scores: vec![0.5, -1.0],
        completion_tokens: 4_000_000_000,
        step: 3,
        ..answer("", "truth", "echo")
    }
}

#[test]
fn every_field_arrives_and_every_field_returns() {
    let note = "1|g|dé|prompt 0:be good 1:|completion 2:calls call=c1/add/{\"a\":1} call=/add/ 3:1 name=add answers=c1 \
                2:∑|truth|2|0.5 -1 |4000000000|3|7";
    for (language, path) in probes() {
        let score = judge(&PluginSpec { seed: 7, ..spec(path) }, full()).expect(language);
        let metric = |name: &str, value| Metric { name: name.into(), value };
        let expected = Score {
            value: Some(0.75),
            steps: vec![0.0, 0.25, 0.5, 0.75, 1.0],
            components: vec![metric("part", 0.25)],
            metrics: vec![metric("length", note.len() as f64), metric("two", 2.0)],
            note: note.into(),
        };
        assert_eq!(score, expected, "{language}");
    }
}

#[test]
fn the_plugin_is_what_its_toml_says() {
    for (language, path) in probes() {
        let plugin = load(&spec(path));
        let manifest = plugin.manifest();
        let said = (manifest.name.as_str(), manifest.version.as_str(), manifest.summary.as_str());
        assert_eq!(said, ("probe", "0.1.0", "Says \"é\"?"), "{language}");
        assert_eq!(plugin.no_snapshot(), None, "{language}");
    }
}

/// What is asked in `extra`, the kind of fault, and words of its message.
#[track_caller]
fn check_fault(only: &str, asked: &str, kind: &str, words: &str) {
    for (language, path) in of(only) {
        let fault = judge(&spec(path), answer("", "", asked)).expect_err(language);
        assert!(fault.kind() == kind && fault.to_string().contains(words), "{language}, {asked}: {fault:?}");
    }
}

#[test]
fn failures_are_faults_of_their_kind() {
    check_fault("", "invalid-input", "invalid-input", "because é");
    check_fault("", "misconfigured", "misconfigured", "because é");
    check_fault("", "unavailable", "unavailable", "because é");
    check_fault("", "internal", "internal", "because é");
    check_fault("", "forgotten", "internal", "the score has no value");
    check_fault("", "exit", "trap", "unreachable");
    check_fault("", "memory", "out-of-memory", "memory_bytes_max");
    check_fault("", "scores", "unavailable", "host-model is not granted");
    check_fault("", "texts", "unavailable", "host-model is not granted");
    check_fault("", "tool", "unavailable", "host-tools is not granted");
    check_fault("c", "crash", "trap", "rw_assert_failed < score");
    check_fault("c", "abort", "trap", "unreachable");
    check_fault("c", "recursion", "trap", "deeper");
    check_fault("go", "texts", "unavailable", "asking: ");
    check_fault("go", "crash", "internal", "panic: assignment to entry in nil map");
    check_fault("go", "crash", "internal", ", at main.score (probe/main.go:");
    // Which of its two limits a runaway goroutine meets first is Go's affair.
    for (_, path) in of("go") {
        let fault = judge(&spec(path), answer("", "", "recursion")).expect_err("it never ends");
        assert!(["trap", "out-of-memory"].contains(&fault.kind()), "{fault:?}");
    }
}

/// The settings, and the note they lead to or words of the refusal.
#[track_caller]
fn check_settings(only: &str, settings: Value, expected: Result<&str, &str>) {
    for (language, path) in of(only) {
        let spec = PluginSpec { settings: settings.clone(), ..spec(path) };
        let loaded = wait(runtime().load(&spec)).map_err(|error| error.to_string());
        match expected {
            Ok(note) => {
                // All but the first sample of a batch find what the first has left.
                let plugin = load(&PluginSpec { isolation: Isolation::Batch, ..spec });
                let samples = vec![answer("", "", "{}"), answer("", "", "{}")];
                for score in wait(plugin.reward().expect("a reward").score_batch(samples)) {
                    assert_eq!(score.expect(language).note, note, "{language}");
                }
            }
            Err(words) => {
                let refusal = loaded.err().unwrap_or_else(|| panic!("{language} takes {settings}"));
                assert!(refusal.contains(words), "{language}: {refusal}");
            }
        }
    }
}

#[test]
fn settings_are_read_once_and_mistakes_named() {
    check_settings("", json!({}), Ok("none 2 false"));
    let odd = json!({"word": "é\"\\\u{1f642}", "limit": 0.5, "strict": true});
    check_settings("", odd, Ok("é\"\\\u{1f642} 0.5 true"));
    check_settings("", json!({"limits": 1}), Err("limits"));
    // The rest of it Go leaves to its own library.
    check_settings("c", json!({"limit": "1"}), Err("`limit` must be a number"));
    check_settings("c", json!({"strict": 1}), Err("`strict` must be true or false"));
    check_settings("c", json!({"word": {}}), Err("`word` must be a string"));
    check_settings("", json!({"limit": -1}), Err("`limit` is negative"));
}

#[test]
fn none_is_no_zero() {
    for (language, path) in probes() {
        assert_eq!(judge(&spec(path), answer("", "", "none")).expect(language).value, None);
    }
}

#[test]
fn host_services_answer() {
    let model = Model::scoring(|asked| Ok(asked.iter().map(|messages| messages.len() as f64).collect()))
        .generating(|asked, max_tokens| Ok(asked.iter().map(|_| format!("{max_tokens} tokens")).collect()));
    let tool = wait(load(&PluginSpec::path(&**HELPER)).tool()).expect("a tool");
    let services = Services { models: [("judge".to_owned(), model)].into(), tools: vec![tool] };
    let grants = Grants::new(["host-model", "host-tools"]).expect("known names");
    for (language, path) in probes() {
        let spec = PluginSpec { services: services.clone(), grants: grants.clone(), ..spec(path) };
        let ask = |extra| judge(&spec, Sample { extra: String::from(extra), ..full() }).expect(language);
        assert_eq!(ask("scores").value, Some(5.0), "{language}: three messages and two");
        assert_eq!(ask("texts").note, "7 tokens", "{language}");
        assert_eq!(ask("tool").note, "truth", "{language}");
        let long = Sample { extra: "tool".into(), ground_truth: "x".repeat(4095) + "ü", ..full() };
        let note = judge(&spec, long).expect(language).note;
        assert_eq!(note, "x".repeat(4095), "{language}: a long note is cut between letters");
    }
}

/// Scores through the binary; what is logged appears there.
fn logged(path: &Path, extra: &str) -> String {
    let requests = format!("{{\"id\":\"s\",\"sample\":{{\"id\":\"s\",\"extra\":{extra:?}}}}}\n");
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(dir.path().join("requests.jsonl"), requests).expect("writable");
    let mut command = rewarden();
    command.args(["score", "--grant", "host-log"]).arg(path).arg(dir.path().join("requests.jsonl"));
    String::from_utf8(command.output().expect("runs").stderr).expect("UTF-8")
}

#[test]
fn log_lines_reach_the_log() {
    for (language, path) in probes() {
        let said = logged(path, "log");
        assert!(said.contains("probe: judging s"), "{language}: {said}");
        if language == "c" {
            let said = logged(path, "crash");
            assert!(said.contains("assertion failed: !rw_same(asked, \"crash\"), in score (src/plugin.c:"), "{said}");
        }
    }
}

#[test]
fn a_warm_instance_gives_its_memory_back() {
    let mut sample = full();
    sample.completion.push(message(Role::Assistant, &"long ".repeat(100_000)));
    for (language, path) in probes() {
        let limits = Limits { memory_bytes_max: 64 << 20, ..spec(path).limits };
        let spec = PluginSpec { isolation: Isolation::Worker, limits, ..spec(path) };
        let reward = load(&spec).reward().expect("a reward");
        for _ in 0..100 {
            let score = wait(reward.score_batch(vec![Sample { extra: "{}".into(), ..sample.clone() }])).remove(0);
            assert_eq!(score.expect(language).value, Some(1.0));
        }
    }
}
