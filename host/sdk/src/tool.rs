//! `tool!`: plain functions that a policy may call.

use serde::de::DeserializeOwned;

use crate::plugin::{Slot, with};
use crate::{Fault, Metric, Output, ToolCall};

/// Exports functions as a tool plugin: `tool!(State, [(function, "what it does", "JSON Schema"), ...])`.
///
/// `State` is `Deserialize`: what a run can set, and, in fields with `#[serde(skip)]`, what an episode remembers, for each
/// episode has an instance of its own. A function is `fn(&mut State, Arguments) -> Result<Output, Fault>`, where
/// `Arguments` is `Deserialize`; it is offered under its own name. Arguments that do not parse and unknown names are
/// mistakes of the policy: it is told, in words. A [`Fault`] means that the tool itself is broken. Use it once per crate.
///
/// ```
/// use rewarden_sdk::{Fault, Output, tool};
/// use serde::Deserialize;
///
/// #[derive(Deserialize, Default)]
/// #[serde(deny_unknown_fields, default)]
/// struct Calculator {
///     #[serde(skip)]
///     calls: u32,
/// }
///
/// #[derive(Deserialize)]
/// struct Pair {
///     a: f64,
///     b: f64,
/// }
///
/// const PAIR: &str = r#"{"type": "object", "required": ["a", "b"],
///     "properties": {"a": {"type": "number"}, "b": {"type": "number"}}}"#;
///
/// fn add(calculator: &mut Calculator, Pair { a, b }: Pair) -> Result<Output, Fault> {
///     calculator.calls += 1;
///     Ok(Output::of((a + b).to_string()))
/// }
///
/// tool!(Calculator, [(add, "Adds two numbers.", PAIR)]);
/// # fn main() {
/// assert_eq!(add(&mut Calculator::default(), Pair { a: 1.0, b: 2.0 }).unwrap().content, "3");
/// # }
/// ```
#[macro_export]
macro_rules! tool {
    ($state:ty, [$(($function:ident, $description:expr, $parameters:expr $(,)?)),+ $(,)?] $(,)?) => {
        $crate::tool!($state, [$(($function, $description, $parameters)),+], schema = "");
    };
    ($state:ty, [$(($function:ident, $description:expr, $parameters:expr $(,)?)),+ $(,)?], schema = $schema:expr $(,)?) => {
        const _: () = {
            $crate::__plugin!($state, $schema);

            impl $crate::bindings::tool::exports::rewarden::plugin::tool::Guest for Plugin {
                fn list_tools() -> ::std::vec::Vec<$crate::ToolSpec> {
                    ::std::vec![$($crate::ToolSpec {
                        name: ::std::stringify!($function).into(),
                        description: $description.into(),
                        parameters: $parameters.into(),
                    }),+]
                }

                fn call(call: $crate::ToolCall) -> ::std::result::Result<$crate::Output, $crate::Fault> {
                    match call.name.as_str() {
                        $(::std::stringify!($function) => $crate::generated::call(&SETTINGS, &call, $function),)+
                        _ => $crate::generated::unknown(&call, &[$(::std::stringify!($function)),+]),
                    }
                }
            }

            #[cfg(not(target_family = "wasm"))]
            const _: (
                fn() -> ::std::vec::Vec<$crate::ToolSpec>,
                fn($crate::ToolCall) -> ::std::result::Result<$crate::Output, $crate::Fault>,
            ) = (
                <Plugin as $crate::bindings::tool::exports::rewarden::plugin::tool::Guest>::list_tools,
                <Plugin as $crate::bindings::tool::exports::rewarden::plugin::tool::Guest>::call,
            );

            #[cfg(target_family = "wasm")]
            $crate::bindings::tool::export_tool!(Plugin with_types_in $crate::bindings::tool);
        };
    };
}

/// Reads the arguments and calls the function; arguments that do not parse are answered.
pub fn call<S, A: DeserializeOwned>(
    slot: &'static Slot<S>,
    call: &ToolCall,
    function: impl Fn(&mut S, A) -> Result<Output, Fault>,
) -> Result<Output, Fault> {
    match serde_json::from_str(&call.arguments) {
        Ok(arguments) => with(slot, |state| function(state, arguments)),
        Err(error) => Ok(Output::of(format!("error: the arguments of {} are wrong: {error}", call.name))),
    }
}

/// The answer to a call of what is not there.
pub fn unknown(call: &ToolCall, known: &[&str]) -> Result<Output, Fault> {
    Ok(Output::of(format!("error: there is no function {:?}; there is: {}", call.name, known.join(", "))))
}

impl Output {
    /// The text that the policy sees, without a reward.
    pub fn of(content: impl Into<String>) -> Output {
        Output { content: content.into(), reward: 0.0, metrics: Vec::new() }
    }

    /// With a reward for this call.
    pub fn reward(mut self, reward: f64) -> Output {
        self.reward = reward;
        self
    }

    /// With a number for the logs.
    pub fn metric(mut self, name: impl Into<String>, value: f64) -> Output {
        self.metrics.push(Metric { name: name.into(), value });
        self
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::plugin::configure;

    thread_local! {
        static COUNT: RefCell<Option<u32>> = const { RefCell::new(None) };
    }

    fn add(count: &mut u32, amount: u32) -> Result<Output, Fault> {
        *count += amount;
        Ok(Output::of(count.to_string()))
    }

    #[track_caller]
    fn check(arguments: &str, expected: Result<&str, Fault>) {
        let asked = ToolCall { id: String::new(), name: "add".into(), arguments: arguments.into() };
        assert_eq!(call(&COUNT, &asked, add), expected.map(Output::of));
    }

    #[test]
    fn a_mistake_of_the_policy_is_answered_and_state_stays() {
        check("1", Err(Fault::misconfigured("configure was not called")));
        configure(&COUNT, "40").unwrap();
        check("1", Ok("41"));
        check("1", Ok("42"));
        check("{", Ok("error: the arguments of add are wrong: invalid type: map, expected u32 at line 1 column 0"));
    }
}
