//! The Qwen3 chat format, written out: every piece of it with what it is for.

use rewarden_runtime::{Message, Role};

use super::{Conversation, Piece, RendererName};
use crate::tokenizer::{IM_END, IM_START};

const NO_THOUGHT: &str = "<think>\n\n</think>\n\n";

/// What a policy continues with its next message.
pub(super) fn prompt(conversation: Conversation, name: RendererName) -> Vec<Piece> {
    let mut pieces = self::conversation(conversation, name, |_| false);
    pieces.extend(opening(Role::Assistant));
    if name == RendererName::Qwen3DisableThinking {
        pieces.push(Piece::text(NO_THOUGHT));
    }
    pieces
}

fn opening(role: Role) -> [Piece; 2] {
    let role = match role {
        Role::System => "system",
        Role::Assistant => "assistant",
        Role::User | Role::Tool => "user", // the format shows tool results as the user's words
    };
    [Piece::special(IM_START, false), Piece::text(format!("{role}\n"))]
}

fn closing(trained: bool) -> [Piece; 2] {
    [Piece::special(IM_END, trained), Piece::text("\n")]
}

/// A whole conversation; `trains` tells which messages are learnt.
pub(super) fn conversation(
    Conversation { messages, tools }: Conversation,
    name: RendererName,
    trains: impl Fn(usize) -> bool,
) -> Vec<Piece> {
    let last_query = messages.iter().rposition(is_query);
    let mut pieces = offer(messages, tools, &trains);
    for (index, message) in messages.iter().enumerate() {
        let neighbour_is_tool = |other: Option<usize>| {
            other.and_then(|other| messages.get(other)).is_some_and(|other| other.role == Role::Tool)
        };
        match message.role {
            Role::System if index == 0 && !tools.is_empty() => (), // said with the tools
            Role::System | Role::User => {
                pieces.extend(opening(message.role));
                pieces.push(Piece::said(&message.content, trains(index)));
                pieces.extend(closing(trains(index)));
            }
            Role::Assistant => {
                let after_query = last_query.is_none_or(|query| index > query);
                let place = Place { current: after_query, last: index + 1 == messages.len() };
                pieces.extend(assistant(message, place, name, trains(index)));
            }
            Role::Tool => {
                if !neighbour_is_tool(index.checked_sub(1)) {
                    pieces.push(Piece::special(IM_START, false));
                    pieces.push(Piece::text("user"));
                }
                pieces.push(Piece::text("\n"));
                let result = format!("<tool_response>\n{}\n</tool_response>", message.content);
                pieces.push(Piece::said(result, trains(index)));
                if !neighbour_is_tool(Some(index + 1)) {
                    pieces.extend(closing(trains(index)));
                }
            }
        }
    }
    pieces
}

/// The system's message that offers tools, after what the conversation's own says.
fn offer(messages: &[Message], tools: &[String], trains: impl Fn(usize) -> bool) -> Vec<Piece> {
    if tools.is_empty() {
        return vec![];
    }
    let system = messages.first().filter(|first| first.role == Role::System);
    let said = system.map_or(String::new(), |system| format!("{}\n\n", system.content));
    let tools: String = tools.iter().map(|tool| format!("\n{tool}")).collect();
    let mut pieces = opening(Role::System).to_vec();
    let trained = system.is_some() && trains(0);
    pieces.push(Piece::said(format!("{said}{OFFER}{tools}{HOW_TO_CALL}"), trained));
    pieces.extend(closing(trained));
    pieces
}

const OFFER: &str = "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with \
                     function signatures within <tools></tools> XML tags:\n<tools>";
const HOW_TO_CALL: &str = "\n</tools>\n\nFor each function call, return a json object with function name and arguments within \
                           <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": \
                           <args-json-object>}\n</tool_call>";

/// Where an assistant message stands: thoughts are shown only on messages that answer the last query.
struct Place {
    current: bool,
    last: bool,
}

fn assistant(message: &Message, place: Place, name: RendererName, trained: bool) -> Vec<Piece> {
    let (thought, content) = split_thought(&message.content);
    let mut pieces = opening(Role::Assistant).to_vec();
    let mut body = String::new();
    if place.current && (place.last || !thought.is_empty()) {
        let block = format!("<think>\n{}\n</think>\n\n", thought.trim_matches('\n'));
        // Without thinking the empty block belongs to the prompt, so it is given, not learnt.
        match name {
            RendererName::Qwen3DisableThinking if block == NO_THOUGHT => pieces.push(Piece::text(block)),
            _ => body.push_str(&block),
        }
        body.push_str(content.trim_start_matches('\n'));
    } else {
        body.push_str(content);
    }
    for (index, call) in message.tool_calls.iter().enumerate() {
        if index > 0 || !content.is_empty() {
            body.push('\n');
        }
        let (name, arguments) = (&call.name, &call.arguments);
        body.push_str(&format!("<tool_call>\n{{\"name\": \"{name}\", \"arguments\": {arguments}}}\n</tool_call>"));
    }
    pieces.push(Piece::said(body, trained));
    pieces.extend(closing(trained));
    pieces
}

/// A user message that is a question, not a tool result in the user's clothes.
fn is_query(message: &Message) -> bool {
    let wrapped = message.content.starts_with("<tool_response>") && message.content.ends_with("</tool_response>");
    message.role == Role::User && !wrapped
}

/// The thought and the rest of an assistant message.
fn split_thought(content: &str) -> (&str, &str) {
    let Some((before, _)) = content.split_once("</think>") else { return ("", content) };
    let before = before.trim_end_matches('\n');
    let thought = before.rsplit_once("<think>").map_or(before, |(_, thought)| thought).trim_start_matches('\n');
    let rest = content.rsplit_once("</think>").map_or("", |(_, rest)| rest);
    (thought, rest.trim_start_matches('\n'))
}
