//! Messages to tokens in the Qwen3 chat format, with the mask of trained tokens.
//!
//! Four properties hold and are tested: the text equals what the model's own chat template renders; a supervised
//! example begins with exactly the prompt that sampling would use; what a policy sampled parses back to its message;
//! and text inside messages can never become a marker (see [`crate::tokenizer`]).

use rewarden_runtime::{Message, Role};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::tokenizer::Tokenizer;

/// Which chat format; the names are tinker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RendererName {
    /// The policy opens its turn with a `<think>` block of its own.
    Qwen3,
    /// The prompt closes an empty `<think>` block, so the policy answers at once.
    Qwen3DisableThinking,
}

/// Which messages a supervised example trains on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainOnWhat {
    /// Only the last message, which must be the assistant's.
    LastAssistantMessage,
    /// Every message of the assistant.
    AllAssistantMessages,
}

/// Tokens with a mask of equal length: true where a token is trained on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// True on the tokens an assistant is trained to produce, its closing marker included.
    pub trained: Vec<bool>,
}

/// Turns messages into tokens and sampled tokens into messages.
pub struct Renderer {
    name: RendererName,
    tokenizer: Tokenizer,
}

/// A stretch of the rendered conversation. Pieces of equal kind that follow each other are encoded together.
#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Marker { end: bool, trained: bool },
    Text { text: String, trained: bool },
}

const NO_THOUGHT: &str = "<think>\n\n</think>\n\n";

impl Renderer {
    /// A renderer over a tokenizer that has the format's markers.
    pub fn new(name: RendererName, tokenizer: Tokenizer) -> Self {
        Self { name, tokenizer }
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The tokens after which a policy writes the next assistant message.
    pub fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>> {
        let mut pieces = conversation(messages, self.name, |_| false);
        pieces.extend(opening(Role::Assistant));
        if self.name == RendererName::Qwen3DisableThinking {
            pieces.push(Piece::text(NO_THOUGHT));
        }
        Ok(self.encode(pieces)?.tokens)
    }

    /// A whole conversation and which of its tokens are trained.
    pub fn supervised(&self, messages: &[Message], train_on: TrainOnWhat) -> Result<Rendered> {
        let last = messages.len().saturating_sub(1);
        let trains = |index: usize| match train_on {
            TrainOnWhat::LastAssistantMessage => index == last,
            TrainOnWhat::AllAssistantMessages => true,
        };
        self.encode(conversation(messages, self.name, trains))
    }

    /// The assistant message in sampled tokens (the stop token, if any, is not part of it).
    pub fn parse(&self, sampled: &[u32]) -> Result<Message> {
        let end = sampled.iter().position(|&token| self.tokenizer.stops(token)).unwrap_or(sampled.len());
        Ok(message(Role::Assistant, self.tokenizer.decode(&sampled[..end])?))
    }

    fn encode(&self, pieces: Vec<Piece>) -> Result<Rendered> {
        let mut out = Rendered { tokens: vec![], trained: vec![] };
        for piece in merged(pieces) {
            let (tokens, trained) = match piece {
                Piece::Marker { end: false, trained } => (vec![self.tokenizer.start()], trained),
                Piece::Marker { end: true, trained } => (vec![self.tokenizer.end()], trained),
                Piece::Text { text, trained } => (self.tokenizer.encode(&text)?, trained),
            };
            out.trained.resize(out.trained.len() + tokens.len(), trained);
            out.tokens.extend(tokens);
        }
        Ok(out)
    }
}

/// The stretches of plain text in a rendered conversation: what a tokenizer for it should be good at.
pub(crate) fn texts(messages: &[Message], name: RendererName) -> Vec<String> {
    let text = |piece| match piece {
        Piece::Text { text, .. } => Some(text),
        Piece::Marker { .. } => None,
    };
    merged(conversation(messages, name, |_| false)).into_iter().filter_map(text).collect()
}

/// A plain message.
pub fn message(role: Role, content: impl Into<String>) -> Message {
    Message { role, content: content.into(), name: None, tool_calls: vec![], tool_call_id: None }
}

impl Piece {
    fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into(), trained: false }
    }
}

fn opening(role: Role) -> [Piece; 2] {
    let role = match role {
        Role::System => "system",
        Role::Assistant => "assistant",
        Role::User | Role::Tool => "user", // the format shows tool results as the user's words
    };
    [Piece::Marker { end: false, trained: false }, Piece::text(format!("{role}\n"))]
}

fn closing(trained: bool) -> [Piece; 2] {
    [Piece::Marker { end: true, trained }, Piece::text("\n")]
}

fn conversation(messages: &[Message], name: RendererName, trains: impl Fn(usize) -> bool) -> Vec<Piece> {
    let last_query = messages.iter().rposition(is_query);
    let mut pieces = vec![];
    for (index, message) in messages.iter().enumerate() {
        let neighbour_is_tool = |other: Option<usize>| {
            other.and_then(|other| messages.get(other)).is_some_and(|other| other.role == Role::Tool)
        };
        match message.role {
            Role::System | Role::User => {
                pieces.extend(opening(message.role));
                pieces.push(Piece::text(&message.content));
                pieces.extend(closing(false));
            }
            Role::Assistant => {
                let after_query = last_query.is_none_or(|query| index > query);
                let place = Place { current: after_query, last: index + 1 == messages.len() };
                pieces.extend(assistant(message, place, name, trains(index)));
            }
            Role::Tool => {
                if !neighbour_is_tool(index.checked_sub(1)) {
                    pieces.push(Piece::Marker { end: false, trained: false });
                    pieces.push(Piece::text("user"));
                }
                pieces.push(Piece::text(format!("\n<tool_response>\n{}\n</tool_response>", message.content)));
                if !neighbour_is_tool(Some(index + 1)) {
                    pieces.extend(closing(false));
                }
            }
        }
    }
    pieces
}

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
    pieces.push(Piece::Text { text: body, trained });
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

/// Joins neighbouring texts of the same mask, so that byte pairs merge across them as in the rendered string.
fn merged(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut out: Vec<Piece> = vec![];
    for piece in pieces {
        match (out.last_mut(), piece) {
            (Some(Piece::Text { text, trained }), Piece::Text { text: more, trained: same }) if *trained == same => {
                text.push_str(&more);
            }
            (_, piece) => out.push(piece),
        }
    }
    out
}

/// The rendered conversation as text, for people and for tests.
#[cfg(test)]
fn text_of(pieces: &[Piece]) -> String {
    use crate::tokenizer::{IM_END, IM_START};
    let spell = |piece: &Piece| match piece {
        Piece::Marker { end: false, .. } => IM_START.to_owned(),
        Piece::Marker { end: true, .. } => IM_END.to_owned(),
        Piece::Text { text, .. } => text.clone(),
    };
    pieces.iter().map(spell).collect()
}

#[cfg(test)]
mod tests;
