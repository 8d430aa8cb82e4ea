use super::*;

/// What a file is refused with.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let refused = Cases::parse(Path::new("cases.jsonl"), text.to_owned()).err().map(|error| error.to_string());
    let said = refused.unwrap_or_else(|| panic!("{text} is read"));
    for part in expected {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
}

/// A file of one case that is read.
#[track_caller]
fn read(text: &str) -> Case {
    let cases = Cases::parse(Path::new("cases.jsonl"), text.to_owned()).expect("good cases");
    cases.cases.into_iter().next().expect("a case")
}

#[test]
fn mistakes_are_named_with_line_key_and_the_nearest_name() {
    let sample = |sample: &str| format!(r#"{{"name": "a", "sample": {sample}, "expect": 1}}"#);
    let expect = |expect: &str| format!(r#"{{"name": "a", "sample": {{"response": "x"}}, "expect": {expect}}}"#);
    check("", &["holds no case", "\"name\""]);
    check("\n{\n", &["cases.jsonl:2: the line is not JSON", "column"]);
    check("[1]", &["cases.jsonl:1: the line is not a JSON object"]);
    check(r#"{"nmae": "a"}"#, &["cases.jsonl:1: `nmae`: there is no such field: did you mean `name`?"]);
    check(r#"{"sample": {"response": ""}}"#, &["`name`: is missing"]);
    check(r#"{"name": "a", "name": "b", "sample": {"response": ""}}"#, &["`name`: stands in the line twice"]);
    check(r#"{"name": 3, "sample": {"response": ""}}"#, &["`name`: 3 is no name"]);
    check(r#"{"name": "a"}"#, &["holds one of sample, group, task, call", "holds none"]);
    check(r#"{"name": "a", "sample": {}, "call": {}}"#, &["holds sample and call"]);
    check(r#"{"name": "a", "sample": {"response": ""}, "actions": []}"#, &["`actions`: belongs to a `task`"]);
    check(r#"{"name": "a", "task": {}}"#, &["`actions`: is missing"]);
    check(r#"{"name": "a", "group": {}}"#, &["`group`: {} is no list of samples"]);
    check(r#"{"name": "a", "group": [{}]}"#, &["`group[0].response`: is missing"]);
    check(&sample(r#"{"respones": "x"}"#), &["`sample.respones`", "did you mean `response`?"]);
    check(&sample(r#"{"response": "x", "ground_thruth": "1"}"#), &["did you mean `ground_truth`?"]);
    check(&sample(r#"{"response": 3}"#), &["`sample.response`: 3 is no text"]);
    check(&sample(r#"{"response": "x", "completion": []}"#), &["`sample.response`: says what `completion` says"]);
    check(&sample(r#"{"response": "x", "prompt": 3}"#), &["`sample.prompt`: 3 is no list of messages"]);
    check(&sample(r#"{"response": "x", "prompt": "y", "question": "z"}"#), &["`sample.question`: says what `prompt`"]);
    check(&sample(r#"{"completion": "x"}"#), &["`sample.completion`", "`response` takes a text"]);
    check(&sample(r#"{"completion": [{"rloe": "user"}]}"#), &["`sample.completion[0].rloe`", "did you mean `role`?"]);
    check(&sample(r#"{"completion": [{"role": "robot"}]}"#), &["\"robot\" is no role"]);
    check(&sample(r#"{"response": "x", "stop_reason": "tired"}"#), &["no stop reason"]);
    check(&sample(r#""x""#), &["`sample`: \"x\" is no JSON object"]);
    check(&expect(r#"{"fault": "invalid_input"}"#), &["`expect.fault`", "did you mean \"invalid-input\"?"]);
    check(&expect(r#"{"scroe": 1}"#), &["`expect.scroe`", "did you mean `score`?"]);
    check(&expect(r#"{"steps": [1, "x"]}"#), &["`expect.steps`", "is no list of numbers"]);
    check(&expect(r#"{"fault": "trap", "score": 1}"#), &["`expect.score`: beside a `fault`"]);
    check(&expect("{}"), &["`expect`: expects nothing"]);
    check(&expect("\"one\""), &["`expect`: \"one\" is no expectation", "score"]);
    check(r#"{"name": "a", "sample": {"response": ""}, "tolerance": -1}"#, &["`tolerance`: -1 is no number"]);
    check(r#"{"name": "a", "sample": {"response": ""}, "seed": 1.5}"#, &["`seed`: 1.5 is no whole number"]);
    check(r#"{"name": "a", "sample": {"response": ""}, "settings": []}"#, &["`settings`: [] is no JSON object"]);
    check(r#"{"name": "a", "call": {"nam": "x"}}"#, &["`call.nam`", "did you mean `name`?"]);
    check(r#"{"probe": "every_nubmer", "max": 0}"#, &["`probe`", "did you mean `every_number`?"]);
    check(r#"{"probe": "empty"}"#, &["`probe`: says nothing"]);
    check(r#"{"probe": "empty", "max": "x"}"#, &["`max`: \"x\" is no number"]);
    check(r#"{"model": "judge"}"#, &["`model`: answers nothing"]);
    check(r#"{"model": "judge", "scroe": 1}"#, &["`scroe`", "did you mean `score`?"]);
}

#[test]
fn every_mistake_of_a_file_is_named() {
    let good = r#"{"name": "a", "sample": {"response": "x"}, "expect": 1}"#;
    check(
        &format!("{good}\n{{}}\n\n{good}\n"),
        &["cases.jsonl:2:", "cases.jsonl:4: `name`: \"a\" is the name of line 1 already"],
    );
}

#[test]
fn texts_are_messages_in_short() {
    let sample = |sample: &str| read(&format!(r#"{{"name": "a", "sample": {sample}}}"#)).input.sample().expect("one");
    let full =
        r#"{"prompt": [{"role": "user", "content": "p"}], "completion": [{"role": "assistant", "content": "c"}]}"#;
    assert_eq!(sample(r#"{"prompt": "p", "response": "c"}"#), sample(full));
    assert_eq!(sample(r#"{"question": "p", "response": "c"}"#), sample(full));
}

#[test]
fn expectations_in_short_mean_what_they_mean_in_full() {
    #[track_caller]
    fn same(input: &str, short: &str, full: &str) {
        let case = |expect: &str| read(&format!(r#"{{"name": "a", {input}, "expect": {expect}}}"#)).expect;
        assert_eq!(case(short), Some(serde_json::from_str(full).expect(full)), "{short}");
        assert_eq!(case(full), case(short));
    }
    let sample = r#""sample": {"response": "x"}"#;
    same(sample, "1", r#"{"score": 1}"#);
    same(sample, "null", r#"{"score": null}"#);
    let task = r#""task": {}, "actions": ["x", {"role": "assistant", "content": "y"}]"#;
    same(task, r#"[0, {"fault": "trap"}]"#, r#"{"steps": [{"reward": 0}, {"fault": "trap"}]}"#);
    same(r#""call": {"name": "f"}"#, "\"3\"", r#"{"content": "3"}"#);
    same(r#""group": [{"response": "x"}, {"response": "y"}]"#, "[1, null]", r#"[{"score": 1}, {"score": null}]"#);
}

#[test]
fn only_what_was_expected_is_compared() {
    #[track_caller]
    fn check(expected: &str, got: &str, places: &[&str]) {
        let [expected, got] = [expected, got].map(|text| serde_json::from_str(text).expect(text));
        let found = expect::differences(&expected, &got, 0.01);
        assert_eq!(found.iter().map(|difference| difference.place.as_str()).collect::<Vec<_>>(), places);
    }
    check(r#"{"score": 1}"#, r#"{"score": 1.009, "note": "x"}"#, &[]);
    check(r#"{"score": 1, "note": "y"}"#, r#"{"score": 1.02, "note": "x"}"#, &["note", "score"]);
    check(r#"{"score": null}"#, r#"{"score": 0.0}"#, &["score"]);
    check(r#"{"metrics": {"a": 1}}"#, r#"{"metrics": {"b": 1}}"#, &["metrics.a"]);
    check(r#"{"steps": [1, 0]}"#, r#"{"steps": [1, 1]}"#, &["steps[1]"]);
    check(r#"{"steps": [1]}"#, r#"{"steps": [1, 1]}"#, &["steps"]);
    check(r#"{"score": 1}"#, r#"{"fault": "trap", "message": "x"}"#, &[""]);
    check(r#"{"fault": "trap"}"#, r#"{"fault": "trap", "message": "x"}"#, &[]);
    check(
        r#"{"fault": "internal", "message": "ValueError"}"#,
        r#"{"fault": "internal", "message": "a ValueError: b"}"#,
        &[],
    );
    check(
        r#"{"fault": "internal", "message": "KeyError"}"#,
        r#"{"fault": "internal", "message": "a ValueError: b"}"#,
        &[""],
    );
    check(
        r#"{"steps": [{"reward": 0}, {"fault": "trap"}]}"#,
        r#"{"steps": [{"reward": 1}, {"reward": 1}]}"#,
        &["steps[0].reward", "steps[1]"],
    );
}

#[test]
fn a_new_expectation_has_the_shape_of_the_old_one() {
    #[track_caller]
    fn check(input: &str, written: &str, got: &str, expected: &str) {
        let input = read(&format!(r#"{{"name": "a", {input}}}"#)).input;
        let parse = |text: &str| serde_json::from_str::<Value>(text).expect(text);
        let written = (!written.is_empty()).then(|| parse(written));
        assert_eq!(expect::rewritten(&input, written.as_ref(), &parse(got)), parse(expected));
    }
    let score = r#"{"score": 0.5, "steps": [1.0, 0.0], "components": {"a": 1, "b": 2}, "metrics": {}, "note": "n"}"#;
    let fault = r#"{"fault": "internal", "message": "long"}"#;
    let sample = r#""sample": {"response": "x"}"#;
    check(sample, "", score, "0.5");
    check(sample, "1", score, "0.5");
    check(sample, "1", fault, r#"{"fault": "internal"}"#);
    check(sample, r#"{"fault": "trap"}"#, score, "0.5");
    check(sample, r#"{"fault": "trap", "message": "x"}"#, fault, fault);
    check(
        sample,
        r#"{"steps": [], "components": {"a": 3}}"#,
        score,
        r#"{"steps": [1.0, 0.0], "components": {"a": 1}}"#,
    );
    check(r#""group": [{"response": "x"}]"#, r#"[{"note": "m"}]"#, &format!("[{score}]"), r#"[{"note": "n"}]"#);
    check(r#""group": [{"response": "x"}]"#, "[1]", fault, r#"{"fault": "internal"}"#);
    let episode = r#"{"start": "s", "steps": [{"reward": 1.0, "done": true, "observation": "o", "metrics": {}}], "metrics": {"n": 1}}"#;
    let task = r#""task": {}, "actions": ["x"]"#;
    check(task, "", episode, r#"[{"reward": 1.0, "done": true, "observation": "o"}]"#);
    check(task, "[0]", episode, "[1.0]");
    check(task, "[{\"done\": false}]", episode, "[{\"done\": true}]");
    check(task, r#"{"start": "t", "metrics": {"n": 0}}"#, episode, r#"{"start": "s", "metrics": {"n": 1}}"#);
    check(task, r#"{"steps": [0, 0]}"#, episode, r#"{"steps": [1.0]}"#);
    check(r#""call": {"name": "f"}"#, "\"x\"", r#"{"content": "y", "reward": 0.0, "metrics": {}}"#, "\"y\"");
}
