//! Adds numbers, because policies cannot.

use rewarden_sdk::{Fault, Output, tool};
use serde::Deserialize;

/// What a run can set: nothing yet. What an episode shall remember goes here too, in fields with `#[serde(skip)]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {}

/// The arguments of a call. What does not parse is a mistake of the policy, and it is told.
#[derive(Deserialize)]
pub struct Numbers {
    a: f64,
    b: f64,
}

const NUMBERS: &str = r#"{
  "type": "object",
  "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
  "required": ["a", "b"]
}"#;

/// Runs one call. A `Fault` would mean that the tool itself is broken.
pub fn add(_: &mut State, numbers: Numbers) -> Result<Output, Fault> {
    Ok(Output::of((numbers.a + numbers.b).to_string()))
}

tool!(State, [(add, "Adds two numbers.", NUMBERS)]);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(a: f64, b: f64, expected: &str) {
        assert_eq!(add(&mut State {}, Numbers { a, b }).unwrap().content, expected);
    }

    #[test]
    fn it_adds() {
        check(1.0, 2.0, "3");
        check(0.5, -2.0, "-1.5");
    }
}
