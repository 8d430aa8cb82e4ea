//! The functions of `rewarden.h`, in the sandbox: what they are given and what they answer.

use std::sync::LazyLock;

use rewarden_runtime::{Reward, Sample};

use super::{files, load, source, spec, written};
use crate::guests::{answer, wait};
use crate::languages::built;

/// A plugin that calls them; None where no C compiler is.
static LIBRARY: LazyLock<Option<Reward>> = LazyLock::new(|| {
    let path = built(&written("c-library", &files("c", "reward", &[], &source("library", "c"))))?;
    Some(load(&spec(&path)).reward().expect("a reward"))
});

/// A function, its one or two arguments, and its answer.
#[track_caller]
fn check(function: &str, a: &str, b: &str, expected: &str) {
    let Some(library) = &*LIBRARY else { return };
    let sample = Sample { data_source: function.into(), ..answer("", a, b) };
    let score = wait(library.score_batch(vec![sample])).remove(0).unwrap_or_else(|fault| panic!("{function}: {fault}"));
    assert_eq!(score.note, expected, "{function}({a:?}, {b:?})");
}

#[test]
fn texts() {
    check("trim", " \t\r\n\u{b}\u{c}a b \n", "", "a b");
    check("trim", "  ", "", "");
    check("without", "$1,000,0\0", ",$", "10000\0");
    check("same_letters", "Paris É", "pARIS É", "yes");
    check("same_letters", "É", "é", "no");
    check("begins", "abc", "ab", "yes");
    check("begins", "a", "ab", "no");
    check("begins", "", "", "yes");
    check("ends", "abc", "bc", "yes");
    check("ends", "c", "bc", "no");
    check("find", "abab", "b", "1");
    check("find", "abab", "", "0");
    check("find", "", "b", "nowhere");
    check("find_last", "abab", "ab", "2");
    check("find_last", "abab", "", "4");
    check("find_last", "ab", "abc", "nowhere");
    check("part", "abcd", "", "bc");
    check("part", "a", "", "");
}

#[test]
fn numbers() {
    check("number", "42", "", "42");
    check("number", "-1.5e3", "", "-1500");
    check("number", "0.1", "", "0.10000000000000001");
    check("number", "+.5", "", "0.5");
    for none in ["", " 1", "1 ", "0x10", "inf", "nan", "1e999", "1,000", "--1", "e", "1\0"] {
        check("number", none, "", "no");
    }
}

#[test]
fn json_is_read_strictly() {
    for good in [
        "0",
        "-0.5e+10",
        "true",
        "false",
        "null",
        "\"\"",
        "\"\\u00e9\\n\"",
        "[]",
        " [1, 2] ",
        "{}",
        "{\"a\":{\"b\":[]}}",
        "\"\u{1f642}\"",
        "\"\\ud83d\\ude42\"",
    ] {
        check("json_valid", good, "", "yes");
    }
    for bad in [
        "",
        " ",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "-",
        "tru",
        "truee",
        "nul",
        "'a'",
        "\"a",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\n\"",
        "\"\\ud83d\"",
        "\"\\ud83d\\u0041\"",
        "\"\\ude42\"",
        "[",
        "[1",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\":1",
        "1 2",
        "[]]",
        "\0",
    ] {
        check("json_valid", bad, "", "no");
    }
    check("json_valid", &format!("{}{}", "[".repeat(128), "]".repeat(128)), "", "yes");
    check("json_valid", &format!("{}{}", "[".repeat(129), "]".repeat(129)), "", "no");
    check("json_valid", &"[".repeat(1_000_000), "", "no");
}

#[test]
fn json_is_taken_apart() {
    let object = r#" {"a": 1, "b": {"a": [true]}, "\u0061b": "é", "a": 2} "#;
    check("json_get", object, "a", "2");
    check("json_get", object, "b", "{\"a\": [true]}");
    check("json_get", object, "ab", "\"é\"");
    check("json_get", object, "c", "");
    check("json_get", "[1]", "a", "");
    check("json_get", "{\"a\": 1", "a", "");
    check("json_next_member", object, "", "a=1;b={\"a\": [true]};ab=\"é\";a=2;");
    check("json_next", "[1, [2, 3] ,{}]", "", "<1><[2, 3]><{}>");
    check("json_next", "[]", "", "");
    check("json_next", "{}", "", "");
    check("json_next", "[1, 2", "", "");
    check(
        "json_text",
        r#" "a\"\\\/\b\f\n\r\té\u00e9\u20ac\ud83d\ude42\u0000" "#,
        "",
        "a\"\\/\u{8}\u{c}\n\r\té\u{e9}€🙂\0",
    );
    check("json_text", "1", "", "no");
    check("json_number", " 1e3 ", "", "1000");
    check("json_number", "\"1\"", "", "no");
    check("json_number", "1e999", "", "no");
    check("json_bool", " true ", "", "true");
    check("json_bool", "1", "", "no");
    check("json_quote", "a\"\\\n\0\u{1f}é", "", r#""a\"\\\u000a\u0000\u001fé""#);
}
