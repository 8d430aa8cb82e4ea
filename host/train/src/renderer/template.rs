//! The chat template that came with a model, rendered as transformers does: Jinja with Python's string methods, `tojson`,
//! `raise_exception`, and no HTML escaping. A template is somebody's file: it gets fuel, not time, and no clock, so it
//! renders the same tomorrow - where Llama's would print today's date, it prints the one it has for want of a clock.
//! What it may take of memory, which the engine does not bound, `bounded.rs` does.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, ErrorKind, Output, State, Value, context};
use rewarden_runtime::{Message, ToolCall};
use std::collections::BTreeMap;

use super::bounded::{self, BYTES_MAX, Program, TEXT_BYTES_MAX};
use super::json;
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;

/// Instructions a rendering may take: a thousand messages take a fifth of a million.
const FUEL: u64 = 5_000_000;
/// Longest accepted template: the largest published ones have some ten KiB.
const TEMPLATE_BYTES_MAX: usize = 1 << 20;

const NAME: &str = "chat_template";

/// A compiled template. Rendering takes some ten microseconds a message.
pub(super) struct ChatTemplate {
    environment: Environment<'static>,
    program: Program,
    /// `bos_token` and its like, by role.
    roles: BTreeMap<String, String>,
}

impl ChatTemplate {
    /// The template that came with a tokenizer.
    pub(super) fn of(tokenizer: &Tokenizer) -> Result<Self> {
        let missing = || {
            let message = "the model has none: no chat_template.jinja, no `chat_template` in tokenizer_config.json; put one \
                           there, or set `renderer_name`";
            Error::ChatTemplate(message.into())
        };
        let files = tokenizer.files().ok_or_else(missing)?;
        let source = files.chat_template()?.ok_or_else(missing)?;
        Self::new(&source, files.roles()?)
    }

    pub(super) fn new(source: &str, roles: BTreeMap<String, String>) -> Result<Self> {
        if source.len() > TEMPLATE_BYTES_MAX {
            return Err(Error::ChatTemplate(format!("is larger than {} KiB", TEMPLATE_BYTES_MAX >> 10)));
        }
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        let syntax = syntax.map_err(|error| describe(&error))?;
        let program = Program::new(NAME, without_generation_marks(source), syntax);
        let mut program = program.map_err(|error| describe(&error))?;
        // A text of the template's own is printed by one instruction, however long it is.
        let own = BYTES_MAX / program.longest_raw().max(1);
        environment.set_fuel(Some(FUEL.min(own as u64)));
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        bounded::install(&mut environment);
        environment.set_formatter(print);
        environment.add_filter("tojson", json::tojson);
        environment.add_function(
            "raise_exception",
            |message: String| -> std::result::Result<Value, minijinja::Error> {
                Err(minijinja::Error::new(ErrorKind::InvalidOperation, format!("{REFUSES}{message}")))
            },
        );
        Ok(Self { environment, program, roles })
    }

    /// The text of a conversation; with `generation`, up to where the assistant's next message begins.
    pub(super) fn render(&self, messages: &[Value], tools: Option<&Value>, generation: bool) -> Result<String> {
        let roles = Value::from_pairs(self.roles.iter().map(|(role, token)| (role.as_str(), token.as_str())));
        let context = context! {
            messages => messages,
            tools => tools.cloned().unwrap_or(Value::from(())),
            documents => Value::from(()),
            add_generation_prompt => generation,
            ..roles
        };
        let text = self.program.render(&self.environment, context).map_err(|error| describe(&error))?;
        match text.len() > TEXT_BYTES_MAX {
            true => Err(Error::ChatTemplate(format!("renders more than {} MiB", TEXT_BYTES_MAX >> 20))),
            false => Ok(text),
        }
    }
}

/// Marks what a template says itself, so that it is not taken for the engine's words.
const REFUSES: &str = "refuses the conversation: ";

fn describe(error: &minijinja::Error) -> Error {
    let detail = error.detail().unwrap_or_default();
    if let Some((_, reason)) = detail.split_once(REFUSES) {
        return Error::ChatTemplate(format!("{REFUSES}{reason}"));
    }
    // An include's own words say only that there was one.
    if let Some(inner) = std::error::Error::source(error).and_then(|source| source.downcast_ref::<minijinja::Error>()) {
        return describe(inner);
    }
    let line = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    let hint = match error.kind() {
        ErrorKind::UnknownFunction if detail.contains("strftime_now") => {
            "; it asks for the date, and runs must not differ from day to day: write a date into chat_template.jinja"
        }
        ErrorKind::OutOfFuel => "; it does not end, or nearly so",
        _ => "",
    };
    Error::ChatTemplate(format!("{line}{}{}{detail}{hint}", error.kind(), if detail.is_empty() { "" } else { ": " }))
}

fn print(out: &mut Output, state: &mut State, value: &Value) -> std::result::Result<(), minijinja::Error> {
    let printed;
    let text = match value.as_str() {
        Some(text) => text,
        None => {
            printed = json::printed(value)?;
            &printed
        }
    };
    bounded::spend(state, text.len())?;
    out.write_str(text).map_err(minijinja::Error::from)
}

/// transformers lets templates mark what the assistant says by `{% generation %}`. Masks come from prefixes here, so the
/// marks become blocks that always hold; their dashes, which trim white space, stay.
fn without_generation_marks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("{%") {
        out.push_str(before);
        out.push_str("{%");
        let (tag, after) = after.split_once("%}").unwrap_or((after, ""));
        match tag.trim_matches(['-', '+', ' ', '\t', '\n']) {
            "generation" => out.push_str(&tag.replace("generation", "if true")),
            "endgeneration" => out.push_str(&tag.replace("endgeneration", "endif")),
            _ => out.push_str(tag),
        }
        if rest.len() > before.len() + 2 + tag.len() {
            out.push_str("%}");
        }
        rest = after;
    }
    out + rest
}

/// A message as templates see it: only the keys that say something are there.
pub(super) fn message(message: &Message) -> Value {
    let mut keys = vec![("role", Value::from(message.role.name())), ("content", Value::from(message.content.as_str()))];
    if let Some(name) = &message.name {
        keys.push(("name", Value::from(name.as_str())));
    }
    if !message.tool_calls.is_empty() {
        keys.push(("tool_calls", message.tool_calls.iter().map(call).collect()));
    }
    if let Some(id) = &message.tool_call_id {
        keys.push(("tool_call_id", Value::from(id.as_str())));
    }
    Value::from_pairs(keys)
}

/// Arguments are an object, as transformers asks of those who call it; what is none stays text.
fn call(call: &ToolCall) -> Value {
    let parsed = serde_json::from_str::<Value>(&call.arguments).ok().filter(|value| value.kind() == ValueKind::Map);
    let arguments = parsed.unwrap_or_else(|| Value::from(call.arguments.as_str()));
    let function = Value::from_pairs([("name", Value::from(call.name.as_str())), ("arguments", arguments)]);
    let id = (!call.id.is_empty()).then(|| ("id", Value::from(call.id.as_str())));
    let rest = [("type", Value::from("function")), ("function", function)];
    Value::from_pairs(id.into_iter().chain(rest))
}
