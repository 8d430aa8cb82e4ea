//! An environment: guess its number, by bisection. `task.ground_truth` is the number; when it is empty, the seed decides.
//! A message with a tool call is not a guess: the call goes to the host's tools, and the answer comes back.
//!
//! `task.extra` names a sin to commit, and where: `panic in step`.

#![allow(unsafe_code, reason = "what exports a component's functions is generated here")]

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, reason = "generated from wit/")]
mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "environment-plugin" });
}

use std::cell::RefCell;
use std::hint::black_box;

use bindings::exports::rewarden::plugin::environment::{self, Task, Transition};
use bindings::exports::rewarden::plugin::plugin::{self, Manifest};
use bindings::rewarden::plugin::host_tools;
use bindings::rewarden::plugin::types::{Fault, Message, Metric, Role, ToolCall};

/// The episode of this instance.
#[derive(Default)]
struct Game {
    number: i64,
    turns: u32,
    sin: String,
}

thread_local! {
    static GAME: RefCell<Game> = RefCell::default();
}

/// The plugin.
pub struct Oracle;

impl plugin::Guest for Oracle {
    fn describe() -> Manifest {
        Manifest {
            name: "oracle".into(),
            version: "0.0.0".into(),
            summary: "Says whether its number is higher or lower".into(),
            settings_schema: String::new(),
        }
    }

    fn configure(_settings: String, _seed: u32) -> Result<(), Fault> {
        Ok(())
    }
}

impl environment::Guest for Oracle {
    fn start(task: Task, seed: u32) -> Result<Vec<Message>, Fault> {
        let number = match task.ground_truth.as_str() {
            "" => i64::from(seed % 100),
            number => {
                number.parse().map_err(|_| Fault::InvalidInput("ground_truth must be a number or empty".into()))?
            }
        };
        GAME.replace(Game { number, turns: 0, sin: task.extra });
        commit("start")?;
        Ok(vec![message(Role::User, "Guess my number.")])
    }

    fn step(action: Message) -> Result<Transition, Fault> {
        let turns = GAME.with_borrow_mut(|game| {
            game.turns += 1;
            game.turns
        });
        let mut transition = match action.tool_calls.first() {
            Some(call) => goes_on(vec![answer(call)?]),
            None => guess(&action.content)?,
        };
        transition.metrics.push(Metric { name: "turns".into(), value: f64::from(turns) });
        match commit("step")?.as_str() {
            "nan" => transition.reward = f64::NAN,
            "huge" => transition.observation.push(message(Role::User, &"x".repeat(8 << 20))),
            "long" => transition.observation.push(message(Role::User, &"x".repeat(100_000))),
            "many" => transition.metrics = vec![Metric { name: "m".into(), value: 0.0 }; 300],
            _ => {}
        }
        Ok(transition)
    }

    fn finish() -> Vec<Metric> {
        let value = if commit("finish").is_ok_and(|sin| sin == "nan") { f64::NAN } else { 1.0 };
        let turns = f64::from(GAME.with_borrow(|game| game.turns));
        vec![Metric { name: "turns".into(), value: turns }, Metric { name: "finished".into(), value }]
    }
}

fn guess(text: &str) -> Result<Transition, Fault> {
    let number = GAME.with_borrow(|game| game.number);
    let hint = match text.trim().parse::<i64>() {
        Err(_) => "That is no number.",
        Ok(guess) if guess < number => "Higher.",
        Ok(guess) if guess > number => "Lower.",
        Ok(_) => return Ok(Transition { reward: 1.0, done: true, ..goes_on(vec![]) }),
    };
    Ok(goes_on(vec![message(Role::User, hint)]))
}

fn answer(call: &ToolCall) -> Result<Message, Fault> {
    let content = host_tools::call(call)?;
    let (name, id) = (Some(call.name.clone()), Some(call.id.clone()));
    Ok(Message { role: Role::Tool, content, name, tool_calls: vec![], tool_call_id: id })
}

fn goes_on(observation: Vec<Message>) -> Transition {
    Transition { observation, reward: 0.0, done: false, metrics: vec![] }
}

fn message(role: Role, content: &str) -> Message {
    Message { role, content: content.into(), name: None, tool_calls: vec![], tool_call_id: None }
}

/// Commits the task's sin if this is its place, and returns the name of one that takes an answer to commit.
fn commit(place: &str) -> Result<String, Fault> {
    let sin = GAME.with_borrow(|game| game.sin.clone());
    match sin.split_once(" in ") {
        Some(("panic", at)) if at == place => panic!("on purpose"),
        Some(("loop", at)) if at == place => loop {
            black_box(0);
        },
        Some(("hoard", at)) if at == place => {
            let mut kept = Vec::new();
            loop {
                kept.push(black_box(vec![1_u8; 1 << 20]));
            }
        }
        Some(("fault", at)) if at == place => Err(Fault::InvalidInput("I do not play this".into())),
        Some((sin, at)) if at == place => Ok(sin.into()),
        _ => Ok(String::new()),
    }
}

#[cfg(target_family = "wasm")]
bindings::export!(Oracle with_types_in bindings);
