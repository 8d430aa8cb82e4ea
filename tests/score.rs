//! `rewarden score`: the line protocol.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Output, Stdio};
use std::thread;

use serde_json::{Value, json};

use crate::guests::{FIRST_REWARD, GSM8K, HOSTILE, rewarden, succeeds};

/// `rewarden score PLUGIN ARGS` with `input` on its standard input.
pub(crate) fn run(plugin: &Path, args: &[&str], input: &[u8]) -> Output {
    let mut child = rewarden()
        .arg("score")
        .arg(plugin)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    let writer = thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("ends");
    writer.join().expect("no panic").expect("all requests are read");
    output
}

/// Answers without their times, which differ from run to run.
fn answers(plugin: &Path, args: &[&str], input: &[u8]) -> Vec<Value> {
    let printed = succeeds(run(plugin, args, input));
    let parse = |line: &str| {
        let mut answer: Value = serde_json::from_str(line).expect(line);
        assert!(answer.as_object_mut().expect("an object").remove("us").expect("a time").is_u64());
        answer
    };
    printed.lines().map(parse).collect()
}

/// One request to the GSM8K plugin and its whole answer.
#[track_caller]
fn check(request: &str, expected: Value) {
    assert_eq!(answers(&GSM8K, &[], request.as_bytes()), [expected], "{request}");
}

fn good(id: Value, score: f64, extracted: &str) -> Value {
    json!({"id": id, "score": score, "value": null, "extracted": extracted, "error": null})
}

/// One request that gets `bad_input`, and what its message must hold.
#[track_caller]
fn check_bad(request: &[u8], id: Value, message: &str) {
    let answers = answers(&GSM8K, &[], request);
    assert_eq!(answers.len(), 1);
    let answer = &answers[0];
    assert_eq!((&answer["id"], &answer["score"], &answer["error"]), (&id, &Value::Null, &json!("bad_input")));
    let said = answer["fault"]["message"].as_str().expect("a message");
    assert!(said.contains(message), "{said}");
}

#[test]
fn requests_of_every_shape() {
    let right = |id: Value| good(id, 1.0, "7");
    check(
        r#####"{"v":1,"id":"a","grader":"gsm8k","input":{"response":"#### 7","ground_truth":"7"}}"#####,
        right(json!("a")),
    );
    check(r#####"{"id":5,"input":{"response":"#### 7","gold":"7"},"unknown":[]}"#####, right(json!(5)));
    check(
        r#####"{"input":{"response":"#### 7","ground_truth":7,"question":"3+4?","level":2},"config":null}"#####,
        right(Value::Null),
    );
    check(
        r#####"{"id":"a","input":{"response":"#### 7 #### 8","ground_truth":"7"},"config":{"method":"strict"}}"#####,
        good(json!("a"), 0.0, "8"),
    );
    check(
        r#####"{"id":"a","sample":{"completion":[{"role":"user","content":"?"},{"role":"assistant","content":"#### 7"}],"ground_truth":"7"}}"#####,
        right(json!("a")),
    );
    check(
        r#####"{"id":"a","sample":{"id":"s","data-source":"x","stop-reason":"max-tokens","turn_scores":[0.5],"extra":{"k":1},"completion":[{"role":"assistant","content":"#### 7","tool-calls":[{"name":"f","arguments":{"x":1}}]}],"ground-truth":"7"}}"#####,
        right(json!("a")),
    );
}

#[test]
fn bad_requests_say_why() {
    check_bad(b"{", Value::Null, "not JSON");
    check_bad(b"[1]", Value::Null, "not a JSON object");
    check_bad(b"{\"id\":\"a\xff\"}", Value::Null, "not JSON");
    check_bad(br#"{"id":"a"}"#, json!("a"), "neither `input` nor `sample`");
    check_bad(br#"{"id":"a","input":{}}"#, json!("a"), "`input.response` is missing");
    check_bad(br#"{"id":"a","input":{"response":7}}"#, json!("a"), "`input.response` is not a string");
    check_bad(br#"{"id":"a","input":{"response":"x"},"config":3}"#, json!("a"), "`config`");
    check_bad(br#"{"id":"a","input":{"response":"x"},"config":{"methd":1}}"#, json!("a"), "methd");
    check_bad(br#"{"id":"a","input":{"response":"x"}}"#, json!("a"), "no ground truth");
    check_bad(br#"{"id":"a","sample":{"completion":[{"role":"robot"}]}}"#, json!("a"), "robot");
    check_bad(format!("{{\"id\":\"a\",\"x\":{}", "[".repeat(100_000)).as_bytes(), Value::Null, "not JSON");
    check_bad(&vec![b'x'; (16 << 20) + 1], Value::Null, "16 MiB");
}

/// Many good requests, right and wrong ones, every third with settings of its own.
fn many(n: usize) -> Vec<Vec<u8>> {
    let request = |i: usize| {
        let config = json!({"format_score": (i % 3) as f64 / 10.0});
        json!({"id": i, "input": {"response": format!("#### {}", i % 5), "ground_truth": "3"}, "config": config})
    };
    (0..n).map(|i| request(i).to_string().into_bytes()).collect()
}

#[test]
fn hostile_lines_change_no_other_line() {
    let lines = many(600);
    let alone = answers(&GSM8K, &[], &lines.join(&b'\n'));
    let hostile: [&[u8]; 4] = [b"{\"id\":", b"\xff\xfe\0", b"null", b"{\"id\":1,\"input\":{\"response\":\"\\ud800\"}}"];
    let mut mixed = lines.clone();
    for (i, line) in hostile.iter().enumerate() {
        mixed.insert(100 * (i + 1), line.to_vec());
    }
    let mut answered = answers(&GSM8K, &[], &mixed.join(&b'\n'));
    assert_eq!(answered.len(), 604);
    for i in (0..hostile.len()).rev() {
        assert_eq!(answered.remove(100 * (i + 1))["error"], "bad_input");
    }
    assert_eq!(answered, alone);
}

#[test]
fn answers_come_in_order_and_are_the_same_with_any_number_of_jobs() {
    let input = many(2000).join(&b'\n');
    let one = answers(&GSM8K, &["--jobs", "1"], &input);
    assert!(one.iter().enumerate().all(|(i, answer)| answer["id"] == i));
    assert_eq!(one, answers(&GSM8K, &["--jobs", "3"], &input));
}

#[test]
fn faults_are_the_protocols_words() {
    let sins = [
        ("loop", "timeout"),
        ("memory", "memory"),
        ("panic", "unsupported"),
        ("nan", "unsupported"),
        ("fault", "bad_input"),
    ];
    let mut lines: Vec<_> =
        sins.iter().map(|(sin, _)| json!({"id": sin, "sample": {"extra": sin}}).to_string()).collect();
    lines.push(json!({"id": "honest", "sample": {"extra": "{}"}}).to_string());
    let answered = answers(&HOSTILE, &["--timeout-ms", "20", "--grant", "host-log"], lines.join("\n").as_bytes());
    for ((sin, error), answer) in sins.iter().zip(&answered) {
        assert_eq!((&answer["id"], &answer["score"]), (&json!(sin), &Value::Null));
        // The memory bomb may meet the deadline of 20 ms first.
        assert!(answer["error"] == *error || (*sin == "memory" && answer["error"] == "timeout"), "{answer}");
    }
    assert_eq!(answered[5]["score"], 1.0);
}

#[test]
fn blank_lines_and_line_ends() {
    let request = r#"{"id":1,"input":{"response":"x","ground_truth":"x"}}"#;
    let expected = vec![good(json!(1), 1.0, "x"); 2];
    assert_eq!(answers(&FIRST_REWARD, &[], format!("\n{request}\r\n\n  \n{request}").as_bytes()), expected);
    assert_eq!(answers(&FIRST_REWARD, &[], b""), [] as [Value; 0]);
}

#[test]
fn line_buffered_answers_before_the_input_ends() {
    let mut child = rewarden()
        .arg("score")
        .arg(&*FIRST_REWARD)
        .arg("--line-buffered")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let (mut stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    let mut lines = BufReader::new(stdout).lines();
    for i in 0..3 {
        writeln!(stdin, "{}", json!({"id": i, "input": {"response": "x", "ground_truth": "x"}})).expect("open");
        stdin.flush().expect("open");
        let answer: Value = serde_json::from_str(&lines.next().expect("a line").expect("UTF-8")).expect("JSON");
        assert_eq!(answer["id"], i);
    }
    drop(stdin);
    assert!(child.wait().expect("ends").success());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut child = rewarden()
        .arg("score")
        .arg(&*FIRST_REWARD)
        .arg("--line-buffered")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().expect("piped");
    let request = json!({"id": 1, "input": {"response": "x", "ground_truth": "x"}}).to_string() + "\n";
    // The child may end before it has read all of it.
    let _ = stdin.write_all(request.repeat(100).as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_cannot_run_ends_with_2() {
    for args in [["score", "no/such.wasm"], ["score", "wit"], ["score", "Cargo.toml"]] {
        let output = rewarden().args(args).stdin(Stdio::null()).output().expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with("error: ") && said.contains(args[1]), "{said}");
    }
}
