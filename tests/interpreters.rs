//! Plugins in Python and TypeScript: an author's mistake arrives as a fault that names its line, costs its own sample, and
//! the limits that every plugin has by default are enough for an interpreter in a fresh instance.

use std::path::Path;
use std::sync::LazyLock;

use rewarden_runtime::{Error, Fault, Limits, Reward, Sample, Score};
use serde_json::{Value, json};

use crate::guests::{answer, load, rewarden, root, succeeds, wait};
use crate::languages::built;

/// A plugin of `tests/foreign`, loaded once; none where its compiler is absent.
struct Guest(LazyLock<Option<Reward>>);

static PYTHON: Guest = Guest(LazyLock::new(|| open("sins-python")));
static TS: Guest = Guest(LazyLock::new(|| open("sins-ts")));

/// The defaults, but for the deadline: a busy machine is no sin.
fn limits() -> Limits {
    Limits { timeout_ms: 120_000, ..Limits::default() }
}

fn open(name: &str) -> Option<Reward> {
    let component = built(&root().join("tests/foreign").join(name))?;
    Some(load(&component, json!({}), limits()).expect("loads").reward().expect("a reward"))
}

fn sample(right: bool, extra: &Value) -> Sample {
    answer(if right { "42" } else { "41" }, "42", &extra.to_string())
}

impl Guest {
    /// Commits the sin between two honest samples, whose scores must be right.
    #[track_caller]
    fn commit(&self, sin: &str) -> Option<Result<Score, Fault>> {
        let honest = json!({});
        let samples = vec![sample(true, &honest), sample(false, &json!({ "sin": sin })), sample(false, &honest)];
        let mut results = wait(self.0.as_ref()?.score_batch(samples));
        let sinner = results.remove(1);
        let values: Vec<_> = results.into_iter().map(|result| result.expect("a sibling's score").value).collect();
        assert_eq!(values, [Some(1.0), Some(0.0)], "siblings of {sin}");
        Some(sinner)
    }

    /// The sin is a fault of this kind, and says all of this.
    #[track_caller]
    fn faults(&self, sin: &str, kind: &str, said: &[&str]) {
        let Some(result) = self.commit(sin) else { return };
        let fault = result.expect_err(sin);
        let words = fault.to_string();
        assert_eq!(fault.kind(), kind, "{sin}: {words}");
        for part in said {
            assert!(words.contains(part), "{sin}: {part:?} is not in: {words}");
        }
    }

    /// Equal answers in a thousand fresh instances.
    fn is_deterministic(&self) {
        let Some(reward) = self.0.as_ref() else { return };
        let luck = sample(true, &json!({ "sin": "luck" }));
        let results = wait(reward.score_batch(vec![luck; 1000]));
        let first = results[0].as_ref().expect("a score");
        assert!(results.iter().all(|result| result.as_ref() == Ok(first)), "{first:?}");
    }
}

#[test]
fn python_exceptions_keep_their_traceback() {
    let here = r#"File "plugin.py", line 22, in throw\n    return 1 / 0"#;
    PYTHON.faults("throw", "internal", &["ZeroDivisionError: division by zero", here]);
    PYTHON.faults("exit", "internal", &["SystemExit: 0"]);
    PYTHON.faults("file", "internal", &["PermissionError: open: a component has no files", "line 52"]);
    PYTHON.faults("import", "internal", &["cannot import wave any more: import it at the top of plugin.py"]);
    PYTHON.faults("nothing", "internal", &["this is None; Score.none() says that the reward does not apply"]);
    PYTHON.faults("syntax", "internal", &["SyntaxError: invalid syntax"]);
    PYTHON.faults("refuse", "invalid-input", &["I judge nothing"]);
}

#[test]
fn ts_exceptions_keep_their_stack() {
    TS.faults("throw", "internal", &["TypeError: cannot read property 'x' of null", "(plugin.ts:47)"]);
    TS.faults("text", "internal", &["thrown: string a text"]);
    TS.faults("promise", "internal", &["a promise: a component cannot wait"]);
    TS.faults("nothing", "internal", &["undefined; Score.none() says that the reward does not apply"]);
    TS.faults("refuse", "invalid-input", &["I judge nothing"]);
}

#[test]
fn deep_recursion_is_a_fault() {
    PYTHON.faults("recurse", "internal", &["RecursionError: maximum recursion depth exceeded", "in recurse"]);
    // Through C, where Python does not count soon enough.
    PYTHON.faults("mirror", "trap", &["call stack exhausted"]);
    TS.faults("recurse", "trap", &["call stack exhausted"]);
}

#[test]
fn limits_hold_for_interpreters() {
    PYTHON.faults("spin", "out-of-fuel", &[]);
    PYTHON.faults("nan", "invalid-output", &[]);
    TS.faults("spin", "out-of-fuel", &[]);
    TS.faults("nan", "invalid-output", &[]);
    for guest in [&PYTHON, &TS] {
        // Who comes first, the interpreter with an exception or the host, depends on what it was that did not fit.
        let hog = guest.commit("hog").map(|result| result.expect_err("too much memory").to_string());
        assert!(hog.as_ref().is_none_or(|words| words.to_lowercase().contains("memory")), "{hog:?}");
    }
}

#[test]
fn what_one_sample_does_no_other_sees() {
    for guest in [&PYTHON, &TS] {
        let poisoned = guest.commit("poison").map(|result| result.expect("a score").value);
        assert!(poisoned.is_none_or(|value| value == Some(1.0)));
        let surrogate = guest.commit("surrogate").map(|result| result.expect("a score").note);
        assert!(surrogate.is_none_or(|note| note == "?" || note == "\u{fffd}"));
        guest.is_deterministic();
    }
}

#[test]
fn settings_mistakes_name_the_key() {
    for name in ["sins-python", "sins-ts"] {
        let Some(component) = built(&root().join("tests/foreign").join(name)) else { continue };
        match load(&component, json!({ "bonsu": 1 }), limits()) {
            Err(Error::Configure { fault: Fault::Misconfigured(words), .. }) => {
                assert_eq!(words, "`bonsu` is unknown: did you mean `bonus`?");
            }
            other => panic!("{name}: {:?}", other.map(|plugin| plugin.digest())),
        }
    }
}

#[test]
fn what_is_printed_is_logged_where_it_is_granted() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let requests = dir.path().join("requests.jsonl");
    std::fs::write(&requests, r#"{"id":1,"sample":{"extra":"{\"sin\":\"say\"}"}}"#).expect("writable");
    for (name, printed) in [("sins-python", "printed"), ("sins-ts", "printed {\"a\":1}")] {
        let Some(component) = built(&root().join("tests/foreign").join(name)) else { continue };
        let said = |grants: &[&str]| {
            let mut command = rewarden();
            command.arg("score").env("RUST_LOG", "info").args(grants).args([&component, Path::new(&requests)]);
            let output = command.output().expect("the binary runs");
            let logged = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(succeeds(output).contains(r#""score":1.0"#), "{logged}");
            logged
        };
        let logged = said(&["--grant", "host-log"]);
        assert!(logged.contains(printed) && logged.contains("logged"), "{logged}");
        assert!(!said(&[]).contains("printed"));
    }
}
