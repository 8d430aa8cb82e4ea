//! A conversation in the model's own chat template, cut into special tokens and text, with the mask of trained tokens.
//!
//! The template only gives a string. Which of it the assistant says is found by rendering prefixes: the conversation before
//! a message, with the prompt for it, and the conversation up to it must both be how the whole begins. Others have no prompt:
//! where their words begin is found by putting a mark before them. And which special
//! tokens are the template's own, not a message's letters, is found by marking the letters before rendering.

use minijinja::Value;
use minijinja::value::ValueKind;
use rewarden_runtime::Role;
use std::ops::Range;

use super::template::{self, ChatTemplate};
use super::{Conversation, Piece, json};
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;

/// What a policy continues with its next message.
pub(super) fn prompt(template: &ChatTemplate, conversation: Conversation, tokenizer: &Tokenizer) -> Result<Vec<Piece>> {
    let guarded = Guarded::new(conversation, tokenizer)?;
    let text = template.render(&guarded.messages, guarded.tools.as_ref(), true)?;
    Ok(guarded.pieces(&text, &[], tokenizer))
}

/// A whole conversation; `trains` tells which messages are learnt.
pub(super) fn conversation(
    template: &ChatTemplate,
    conversation: Conversation,
    tokenizer: &Tokenizer,
    trains: impl Fn(usize) -> bool,
) -> Result<Vec<Piece>> {
    let guarded = Guarded::new(conversation, tokenizer)?;
    let (messages, tools) = (&guarded.messages, guarded.tools.as_ref());
    let whole = template.render(messages, tools, false)?;
    let said = |index: usize| -> Result<Range<usize>> {
        let begins = |text: String| match whole.starts_with(&text) {
            true => Ok(text.len()),
            false => Err(unstable(index, messages.len())),
        };
        let start = match conversation.messages[index].role {
            Role::Assistant => begins(template.render(&messages[..index], tools, true)?)?,
            _ => begins(guarded.header(template, index)?)?,
        };
        let end = match index + 1 == messages.len() {
            true => whole.len(),
            false => begins(template.render(&messages[..=index], tools, false)?)?,
        };
        Ok(start..end)
    };
    let trained = (0..messages.len()).filter(|&index| trains(index)).map(said).collect::<Result<Vec<_>>>()?;
    Ok(guarded.pieces(&whole, &trained, tokenizer))
}

fn unstable(index: usize, messages: usize) -> Error {
    let advice = match index + 1 == messages {
        true => {
            "its prompt is not how the rendered conversation begins, so what is learnt would not be what is sampled; use a \
             renderer that knows the format, or a template made for training"
        }
        false => {
            "it writes earlier messages differently once others follow; train on `last_assistant_message`, or use a \
             template made for training"
        }
    };
    Error::ChatTemplate(format!("cannot tell which tokens of message {} are the assistant's: {advice}", index + 1))
}

/// Messages whose text spells no special token: in place of each stands a mark that nothing else contains, and a letter
/// that says which. So whatever the rendering spells is the template's.
struct Guarded<'a> {
    messages: Vec<Value>,
    tools: Option<Value>,
    mark: char,
    specials: &'a [(String, u32)],
}

impl<'a> Guarded<'a> {
    fn new(conversation: Conversation, tokenizer: &'a Tokenizer) -> Result<Self> {
        let plain: Vec<Value> = conversation.messages.iter().map(template::message).collect();
        let schema =
            |tool: &String| serde_json::from_str(tool).map_err(|e| Error::ChatTemplate(format!("a tool: {e}")));
        let tools = conversation.tools.iter().map(schema).collect::<Result<Vec<Value>>>()?;
        let text =
            json::dumps(&Value::from_iter([&plain, &tools].map(|all| Value::from(all.clone())))).map_err(failed)?;
        // Noncharacters: Unicode promises that they never mean anything.
        let mark = ('\u{fdd0}'..='\u{fdef}').find(|&mark| !text.contains(mark));
        let mark =
            mark.ok_or_else(|| Error::ChatTemplate("cannot render text full of Unicode noncharacters".into()))?;
        let mut guarded = Self { messages: vec![], tools: None, mark, specials: tokenizer.specials() };
        guarded.messages = plain.iter().map(|message| guarded.guard(message)).collect::<Result<_>>()?;
        if !tools.is_empty() {
            guarded.tools = Some(guarded.guard(&Value::from(tools))?);
        }
        Ok(guarded)
    }

    /// What the template writes before the words of a message.
    fn header(&self, template: &ChatTemplate, index: usize) -> Result<String> {
        let mut messages = self.messages[..=index].to_vec();
        let marked = |key: Value| {
            let held = messages[index].get_item(&key).map_err(failed)?;
            let is_words = key.as_str() == Some("content");
            let mark = || Value::from(format!("{}{}", self.mark, held.as_str().unwrap_or_default()));
            Ok((key, if is_words { mark() } else { held }))
        };
        let keys = messages[index].try_iter().map_err(failed)?;
        let pairs = keys.map(marked).collect::<Result<Vec<_>>>()?;
        messages[index] = Value::from_pairs(pairs);
        let mut text = template.render(&messages, self.tools.as_ref(), false)?;
        // A mark followed by a private letter is a special token that a message spells.
        let is_ours = |at: &usize| {
            let next = text[at + self.mark.len_utf8()..].chars().next();
            next.is_none_or(|next| (next as u32) < PRIVATE)
        };
        let at = text.match_indices(self.mark).map(|(at, _)| at).find(is_ours).ok_or_else(|| {
            Error::ChatTemplate(format!("does not show message {} on which `train_on_what` trains", index + 1))
        })?;
        text.truncate(at);
        Ok(text)
    }

    /// Cuts a rendered text: special tokens by themselves, text at the borders of what is trained.
    fn pieces(&self, text: &str, trained: &[Range<usize>], tokenizer: &Tokenizer) -> Vec<Piece> {
        let tokens = specials_in(text, self.specials);
        // What follows the token that ends a message is the format's, not the assistant's.
        let closes = |at: &Range<usize>, which: usize, said: &Range<usize>| {
            said.start <= at.start && at.end <= said.end && tokenizer.stops(self.specials[which].1)
        };
        let ends = |said: &Range<usize>| {
            let closing = tokens.iter().rfind(|(at, which)| closes(at, *which, said));
            said.start..closing.map_or(said.end, |(at, _)| at.end)
        };
        let trained: Vec<Range<usize>> = trained.iter().map(ends).collect();
        let mut borders: Vec<usize> = trained.iter().flat_map(|said| [said.start, said.end]).collect();
        borders.extend(tokens.iter().flat_map(|(at, _)| [at.start, at.end]));
        borders.extend([0, text.len()]);
        borders.sort_unstable();
        borders.dedup();
        let piece = |(&start, &end): (&usize, &usize)| {
            let trained = trained.iter().any(|said| said.contains(&start));
            match tokens.iter().any(|(at, _)| at.start == start) {
                true => Piece::special(&text[start..end], trained),
                false => Piece::Text { text: self.restored(&text[start..end]), trained },
            }
        };
        borders.iter().zip(borders.iter().skip(1)).map(piece).collect()
    }

    fn guard(&self, value: &Value) -> Result<Value> {
        Ok(match value.kind() {
            ValueKind::String => Value::from(self.guarded(value.as_str().unwrap_or_default())),
            ValueKind::Seq => {
                let items = value.try_iter().map_err(failed)?;
                items.map(|item| self.guard(&item)).collect::<Result<Vec<_>>>()?.into()
            }
            ValueKind::Map => {
                let keys = value.try_iter().map_err(failed)?;
                let entry = |key: Value| -> Result<(Value, Value)> {
                    let held = value.get_item(&key).map_err(failed)?;
                    Ok((self.guard(&key)?, self.guard(&held)?))
                };
                Value::from_pairs(keys.map(entry).collect::<Result<Vec<_>>>()?)
            }
            _ => value.clone(),
        })
    }

    fn guarded(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut copied = 0;
        for (at, which) in specials_in(text, self.specials) {
            out.push_str(&text[copied..at.start]);
            out.push(self.mark);
            out.extend(char::from_u32(PRIVATE + which as u32));
            copied = at.end;
        }
        out + &text[copied..]
    }

    fn restored(&self, text: &str) -> String {
        let mut parts = text.split(self.mark);
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let mut letters = part.chars();
            let which = letters.next().and_then(|letter| (letter as usize).checked_sub(PRIVATE as usize));
            let special = which.and_then(|which| self.specials.get(which));
            out.push_str(special.map_or("", |(token, _)| token));
            out.push_str(letters.as_str());
        }
        out
    }
}

/// The first of 65,534 letters that belong to nobody; no tokenizer has so many special tokens.
const PRIVATE: u32 = 0xf0000;

fn failed(error: minijinja::Error) -> Error {
    Error::ChatTemplate(error.to_string())
}

/// Where special tokens stand in a text, and which, from left to right, the longest where several begin.
fn specials_in(text: &str, specials: &[(String, u32)]) -> Vec<(Range<usize>, usize)> {
    let occurs = |(which, (token, _)): (usize, &(String, u32))| {
        let places = text.match_indices(token.as_str()).map(move |(at, found)| (at..at + found.len(), which));
        places.collect::<Vec<_>>()
    };
    let mut found: Vec<(Range<usize>, usize)> = specials.iter().enumerate().flat_map(occurs).collect();
    found.sort_by(|(a, _), (b, _)| a.start.cmp(&b.start).then(b.end.cmp(&a.end)));
    let mut end = 0;
    found.retain(|(at, _)| {
        let is_free = at.start >= end;
        end = if is_free { at.end } else { end };
        is_free
    });
    found
}
