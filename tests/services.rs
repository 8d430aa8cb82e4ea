//! What guests may ask of the host: models, tools, and WASI with nothing behind it.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rewarden_runtime::{Fault, Grants, Limits, Model, Plugin, PluginSpec, Sample, Score, Services, ToolCall, Wasi};

use crate::guests::{ASKER, HELPER, STD, answer, runtime, wait};

fn sample(extra: &str, ground_truth: &str) -> Sample {
    answer("answer", ground_truth, extra)
}

/// The asker with these services, granted both kinds.
fn asker(services: Services, limits: Limits) -> PluginSpec {
    let grants = Grants::new(["host-model", "host-tools"]).expect("known names");
    PluginSpec { services, limits, grants, ..PluginSpec::path(&**ASKER) }
}

fn load(spec: &PluginSpec) -> Plugin {
    wait(runtime().load(spec)).expect("loads")
}

fn ask(spec: &PluginSpec, sample: Sample) -> Result<Score, Fault> {
    wait(load(spec).reward().expect("a reward").score_batch(vec![sample])).remove(0)
}

/// The host's refusal, as the guest passes it on, holds these words.
#[track_caller]
fn check(spec: &PluginSpec, extra: &str, words: &[&str]) {
    match ask(spec, sample(extra, "text")) {
        Err(Fault::Unavailable(reason)) => assert!(words.iter().all(|word| reason.contains(word)), "{extra}: {reason}"),
        other => panic!("{extra}: {other:?}"),
    }
}

fn judge(model: Model) -> Services {
    Services { models: [("judge".to_owned(), model)].into(), tools: vec![] }
}

fn helper() -> Services {
    let grants = Grants::new(["host-tools"]).expect("a known name");
    let spec = PluginSpec { grants: grants.clone(), ..PluginSpec::path(&**HELPER) };
    let inner = wait(load(&spec).tool()).expect("a tool");
    // Tools have services of their own: these can call one another as deep as the host lets them.
    let mut tools = vec![inner];
    for _ in 0..8 {
        let services = Services { tools: tools.clone(), ..Services::default() };
        let spec = PluginSpec { grants: grants.clone(), services, ..PluginSpec::path(&**HELPER) };
        tools = vec![wait(load(&spec).tool()).expect("a tool")];
    }
    Services { tools, ..Services::default() }
}

#[test]
fn what_is_not_granted_or_not_there_says_so() {
    let nothing = PluginSpec::path(&**ASKER);
    check(&nothing, "score", &["host-model is not granted", r#"grants = ["host-model"]"#]);
    check(&nothing, "generate", &["host-model is not granted"]);
    check(&nothing, "echo", &["host-tools is not granted", r#"grants = ["host-tools"]"#]);
    let unbound = asker(Services::default(), Limits::default());
    check(&unbound, "score", &["no model is bound as \"judge\"", "bound: none"]);
    check(&unbound, "echo", &["there is no function \"echo\"", "there are: none"]);
    let scoring = asker(judge(Model::scoring(|asked| Ok(vec![0.5; asked.len()]))), Limits::default());
    check(&scoring, "stranger", &["no model is bound as \"stranger\"", "bound: judge"]);
    check(&scoring, "generate", &["judge", "scores and does not generate"]);
}

#[test]
fn a_model_that_fails_is_the_guests_to_hear() {
    let spec = |model| asker(judge(model), Limits::default());
    check(&spec(Model::scoring(|_| Err("out of memory".into()))), "score", &["judge: out of memory"]);
    check(&spec(Model::scoring(|_| Ok(vec![]))), "score", &["0 answers to 1 conversation"]);
    check(&spec(Model::scoring(|_| Ok(vec![f64::NAN]))), "score", &["answered NaN"]);
    check(&spec(Model::scoring(|_| panic!("as asked"))), "score", &["the model stopped"]);
}

#[test]
fn many_guests_are_answered_as_one_batch() {
    let batches: Arc<Mutex<Vec<usize>>> = Arc::default();
    let seen = batches.clone();
    let model = Model::scoring(move |asked| {
        seen.lock().expect("no panic").push(asked.len());
        // Long enough that on any machine others ask meanwhile.
        thread::sleep(Duration::from_millis(50));
        Ok(asked.iter().map(|conversation| conversation[0].content.len() as f64).collect())
    });
    let reward = load(&asker(judge(model), Limits::default())).reward().expect("a reward");
    let samples: Vec<Sample> = (0..256)
        .map(|length| {
            let mut sample = sample("score", "");
            sample.completion[0].content = "x".repeat(length);
            sample
        })
        .collect();
    let scores = wait(reward.score_batch(samples));
    for (length, score) in scores.iter().enumerate() {
        assert_eq!(score.as_ref().expect("a score").value, Some(length as f64));
    }
    let batches = batches.lock().expect("no panic");
    assert_eq!(batches.iter().sum::<usize>(), 256);
    assert!(batches.len() <= 64, "{batches:?}");
}

#[test]
fn a_model_generates() {
    let model = Model::scoring(|asked| Ok(vec![0.0; asked.len()]))
        .generating(|asked, max_tokens| Ok(asked.iter().map(|_| format!("{max_tokens} tokens")).collect()));
    let score = ask(&asker(judge(model), Limits::default()), sample("generate", "")).expect("a score");
    assert_eq!(score.note, "7 tokens");
}

#[test]
fn host_calls_are_bounded() {
    let model = || judge(Model::scoring(|asked| Ok(vec![0.5; asked.len()])));
    check(&asker(model(), Limits::default()), "score-often", &["host_calls_max = 100"]);
    let limits = Limits { host_call_bytes_max: 5, ..Limits::default() };
    check(&asker(model(), limits), "score", &["6 bytes", "host_call_bytes_max = 5"]);
}

/// The guest waits for ever, but not longer than it is let; what it waited is not its own time.
#[test]
fn a_host_call_that_never_answers() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let model = Model::scoring(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_secs(2));
        Ok(vec![])
    });
    let limits = Limits { host_call_timeout_ms: 300, timeout_ms: 1_000, ..Limits::default() };
    check(&asker(judge(model), limits), "score", &["no answer within host_call_timeout_ms = 300"]);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn a_wait_longer_than_the_deadline_is_not_the_guests() {
    let model = Model::scoring(|asked| {
        thread::sleep(Duration::from_millis(1_500));
        Ok(vec![0.5; asked.len()])
    });
    let limits = Limits { timeout_ms: 1_000, ..Limits::default() };
    assert_eq!(ask(&asker(judge(model), limits), sample("score", "")).expect("a score").value, Some(0.5));
}

#[test]
fn tools_answer_and_end() {
    let spec = asker(helper(), Limits { fuel: 50_000_000, ..Limits::default() });
    assert_eq!(ask(&spec, sample("echo", "hello")).expect("a score").note, "hello");
    let again = ask(&spec, sample("again", "")).expect("a score").note;
    assert!(again.contains("more than 4 deep") && again.ends_with("again again again"), "{again}");
    check(&spec, "trap", &["host-tools", "unreachable"]);
    // A tool burns its caller's fuel, so looping in one is looping oneself.
    match ask(&spec, sample("forever", "")) {
        Err(Fault::OutOfFuel { fuel, .. }) => assert_eq!(fuel, 50_000_000),
        Err(Fault::Unavailable(reason)) => assert!(reason.contains("fuel"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_host_may_call_tools_itself() {
    let tool = wait(load(&PluginSpec::path(&**HELPER)).tool()).expect("a tool");
    let names: Vec<&str> = tool.specs().iter().map(|spec| spec.name.as_str()).collect();
    assert_eq!(names, ["echo", "again", "forever", "trap"]);
    let call = |name: &str| ToolCall { id: "1".into(), name: name.into(), arguments: "{}".into() };
    assert_eq!(wait(tool.call(call("echo"))).expect("an output").content, "{}");
    assert_eq!(wait(tool.call(call("trap"))).expect_err("a fault").kind(), "trap");
    assert!(wait(tool.call(call("again"))).expect("an output").content.contains("host-tools is not granted"));
    let error = load(&PluginSpec::path(&**HELPER)).reward().err().expect("no reward").to_string();
    assert!(error.contains("tool-plugin"), "{error}");
}

fn with_wasi(path: &Path, seed: u32) -> PluginSpec {
    let limits = Limits { timeout_ms: 2_000, ..Limits::default() };
    PluginSpec { wasi: Wasi::Virtual, seed, limits, ..PluginSpec::path(path) }
}

#[test]
fn wasi_is_refused_with_what_to_do() {
    let error = wait(runtime().load(&PluginSpec::path(&**STD))).err().expect("an error").to_string();
    for words in ["wasi:", "wasm32-unknown-unknown", r#"wasi = "virtual""#] {
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn virtual_wasi_is_the_same_every_time_and_empty() {
    let note = |seed| ask(&with_wasi(&STD, seed), sample("", "")).expect("a score").note;
    let first = note(1);
    assert_eq!(first, note(1));
    assert_ne!(first, note(2), "the hash order derives from the seed");
    // The clock's fixed start; no arguments or variables; no files, no network.
    assert!(first.contains("Ok(1767225600)") && first.ends_with(" 0 true true"), "{first}");
    let plugin = load(&with_wasi(&STD, 1));
    assert!(!plugin.sealed() && plugin.reproducible());
    assert_eq!(plugin.no_snapshot(), Some("it uses WASI"));
}

#[test]
fn virtual_wasi_is_bounded() {
    let fault = |extra| ask(&with_wasi(&STD, 1), sample(extra, "")).expect_err("a fault");
    assert!(matches!(fault("sleep"), Fault::Deadline { timeout_ms: 2_000, .. }));
    let exit = fault("exit");
    assert!(exit.kind() == "trap" && exit.to_string().contains('3'), "{exit}");
    assert!(ask(&with_wasi(&STD, 1), sample("flood", "")).is_ok());
}
