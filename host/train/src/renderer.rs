//! Messages to tokens in a chat format, with the mask of trained tokens.
//!
//! Four properties hold and are tested: the text equals what the model's own chat template renders; a supervised
//! example begins with exactly the prompt that sampling would use; what a policy sampled parses back to its message;
//! and text inside messages can never become a marker (see [`crate::tokenizer`]).

mod bounded;
mod json;
mod qwen3;
mod template;
mod templated;

use rewarden_runtime::{Message, Role};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::tokenizer::{IM_END, IM_START, Tokenizer};
use template::ChatTemplate;

/// Which chat format; the names are tinker's, but for the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RendererName {
    /// Qwen3's, in which the policy opens its turn with a `<think>` block of its own.
    Qwen3,
    /// Qwen3's, with a prompt that closes an empty `<think>` block, so the policy answers at once.
    Qwen3DisableThinking,
    /// The template that came with the model: `chat_template.jinja`, or `chat_template` in `tokenizer_config.json`.
    ChatTemplate,
}

/// Which messages a supervised example trains on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainOnWhat {
    /// Only the last message, if it is the assistant's.
    LastAssistantMessage,
    /// Every message of the assistant after the user's last one: calls of tools and what is made of their results.
    LastAssistantTurn,
    /// Every message of the assistant.
    AllAssistantMessages,
    /// Every message, whoever says it; not the headers that announce who does.
    AllMessages,
    /// Everything, headers included.
    AllTokens,
    /// What the user and the system say.
    AllUserAndSystemMessages,
    /// The messages of which the row says `trainable`.
    Customized,
}

impl TrainOnWhat {
    /// Whether message number `index` is trained on; `trainable` is what the row says of each.
    fn trains(self, messages: &[Message], trainable: &[bool], index: usize) -> bool {
        let role = messages[index].role;
        let last_user = messages.iter().rposition(|message| message.role == Role::User);
        match self {
            Self::LastAssistantMessage => index + 1 == messages.len() && role == Role::Assistant,
            Self::LastAssistantTurn => role == Role::Assistant && last_user.is_none_or(|user| index > user),
            Self::AllAssistantMessages => role == Role::Assistant,
            Self::AllMessages | Self::AllTokens => true,
            Self::AllUserAndSystemMessages => matches!(role, Role::User | Role::System),
            Self::Customized => trainable.get(index) == Some(&true),
        }
    }
}

/// Tokens with a mask of equal length: true where a token is trained on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// True on the tokens that are trained: of a message what it says and its closing marker, not its header.
    pub trained: Vec<bool>,
}

/// What is rendered: messages, and the functions that may be called in them.
#[derive(Clone, Copy, Debug)]
pub struct Conversation<'a> {
    /// The messages.
    pub messages: &'a [Message],
    /// OpenAI function schemas, each a JSON text.
    pub tools: &'a [String],
}

impl<'a, T: AsRef<[Message]> + ?Sized> From<&'a T> for Conversation<'a> {
    fn from(messages: &'a T) -> Self {
        Self { messages: messages.as_ref(), tools: &[] }
    }
}

/// Turns messages into tokens and sampled tokens into messages.
pub struct Renderer {
    format: Format,
    tokenizer: Tokenizer,
}

enum Format {
    Qwen3(RendererName),
    Template(Box<ChatTemplate>),
}

/// A stretch of the rendered conversation. Pieces of equal kind that follow each other are encoded together.
#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Special { token: String, trained: bool },
    Text { text: String, trained: bool },
}

impl Renderer {
    /// A renderer over a tokenizer that has what the format needs: its markers, or a chat template.
    pub fn new(name: RendererName, tokenizer: Tokenizer) -> Result<Self> {
        let format = match name {
            RendererName::ChatTemplate => Format::Template(Box::new(ChatTemplate::of(&tokenizer)?)),
            _ => Format::Qwen3(name),
        };
        let missing = [IM_START, IM_END].into_iter().find(|token| tokenizer.id(token).is_none());
        match (&format, missing) {
            (Format::Qwen3(_), Some(token)) => {
                let message = format!(
                    "no `{token}` token: not a tokenizer of the Qwen chat format; set `renderer_name` to \"chat_template\""
                );
                Err(Error::Tokenizer(message))
            }
            _ => Ok(Self { format, tokenizer }),
        }
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The tokens after which a policy writes the next assistant message.
    pub fn prompt<'a>(&self, conversation: impl Into<Conversation<'a>>) -> Result<Vec<u32>> {
        let conversation = conversation.into();
        let pieces = match &self.format {
            Format::Qwen3(name) => qwen3::prompt(conversation, *name),
            Format::Template(template) => templated::prompt(template, conversation, &self.tokenizer)?,
        };
        Ok(self.encode(pieces)?.tokens)
    }

    /// A whole conversation and which of its tokens are trained; `trainable` is what the row says of each message, for
    /// [`TrainOnWhat::Customized`].
    pub fn supervised<'a>(
        &self,
        conversation: impl Into<Conversation<'a>>,
        train_on: TrainOnWhat,
        trainable: &[bool],
    ) -> Result<Rendered> {
        let conversation = conversation.into();
        if train_on == TrainOnWhat::AllTokens {
            let rendered = self.conversation(conversation, |_| false)?;
            return Ok(Rendered { trained: vec![true; rendered.tokens.len()], ..rendered });
        }
        self.conversation(conversation, |index| train_on.trains(conversation.messages, trainable, index))
    }

    /// A conversation in which what the assistant says after the prompt is trained: what it may be judged by.
    pub(crate) fn answered(&self, prompt: &[Message], answer: &[Message]) -> Result<Rendered> {
        let messages: Vec<Message> = prompt.iter().chain(answer).cloned().collect();
        self.conversation((&messages).into(), |index| index >= prompt.len() && messages[index].role == Role::Assistant)
    }

    fn conversation(&self, conversation: Conversation, trains: impl Fn(usize) -> bool) -> Result<Rendered> {
        let pieces = match &self.format {
            Format::Qwen3(name) => qwen3::conversation(conversation, *name, trains),
            Format::Template(template) => templated::conversation(template, conversation, &self.tokenizer, trains)?,
        };
        self.encode(pieces)
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
                Piece::Special { token, trained } => (self.tokenizer.id(&token).into_iter().collect(), trained),
                Piece::Text { text, trained } => (self.tokenizer.encode(&text)?, trained),
            };
            out.trained.resize(out.trained.len() + tokens.len(), trained);
            out.tokens.extend(tokens);
        }
        Ok(out)
    }
}

/// The stretches of plain text in a conversation in Qwen3's format: what a tokenizer for it should be good at.
pub(crate) fn texts(conversation: Conversation, name: RendererName) -> Vec<String> {
    let text = |piece| match piece {
        Piece::Text { text, .. } => Some(text),
        Piece::Special { .. } => None,
    };
    merged(qwen3::conversation(conversation, name, |_| false)).into_iter().filter_map(text).collect()
}

/// JSON as chat templates write it, keys in their order.
pub(crate) fn python_json(text: &str) -> std::result::Result<String, String> {
    let value: minijinja::Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
    json::dumps(&value).map_err(|e| e.to_string())
}

/// A plain message.
pub fn message(role: Role, content: impl Into<String>) -> Message {
    Message { role, content: content.into(), name: None, tool_calls: vec![], tool_call_id: None }
}

impl Piece {
    fn text(text: impl Into<String>) -> Self {
        Self::said(text, false)
    }

    fn said(text: impl Into<String>, trained: bool) -> Self {
        Self::Text { text: text.into(), trained }
    }

    fn special(token: &str, trained: bool) -> Self {
        Self::Special { token: token.to_owned(), trained }
    }
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
    let spell = |piece: &Piece| match piece {
        Piece::Special { token, .. } => token.clone(),
        Piece::Text { text, .. } => text.clone(),
    };
    pieces.iter().map(spell).collect()
}

#[cfg(test)]
mod template_tests;
#[cfg(test)]
mod tests;
