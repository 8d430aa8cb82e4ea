//! YAML as a flat list of keys with their lines.
//!
//! The parser gives events, not a tree, so every bound is kept here, while reading: an alias costs as many values as what
//! it stands for, and a file that goes on after the bound is refused before memory grows.

use std::collections::HashMap;

use anyhow::{Result, anyhow, bail};
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};
use serde_json::Value;

use super::source::{DEPTH_MAX, Entry, VALUES_MAX};

/// A value and the lines of the keys in it.
#[derive(Clone)]
enum Node {
    Leaf(Value),
    List(Vec<Node>),
    Map(Vec<(String, usize, Node)>),
}

/// The keys of the first document.
pub(super) fn read(text: &str) -> Result<Vec<Entry>> {
    let root = document(text)?;
    let mut entries = vec![];
    match root {
        Node::Map(_) => flatten(String::new(), 1, root, &mut entries),
        Node::Leaf(Value::Null) => bail!("the file holds no key"),
        _ => bail!("line 1: a config is a mapping, lines of `key: value`"),
    }
    Ok(entries)
}

/// One value, as an override writes it: `[a, b]`, `1e-6`, `"x"`.
pub(super) fn value(text: &str) -> Option<Value> {
    document(text).ok().map(plain)
}

fn document(text: &str) -> Result<Node> {
    let mut reader = Reader { events: Parser::new_from_str(text), anchors: HashMap::new(), values: 0 };
    while let Some((event, span)) = reader.next()? {
        match event {
            Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
            Event::StreamEnd | Event::DocumentEnd => break,
            event => return reader.node(event, span.start.line(), 0),
        }
    }
    Ok(Node::Leaf(Value::Null))
}

struct Reader<'a, T: saphyr_parser::Input> {
    events: Parser<'a, T>,
    anchors: HashMap<usize, Node>,
    values: usize,
}

impl<'a, T: saphyr_parser::Input> Reader<'a, T> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>> {
        self.events.next_event().transpose().map_err(|e: ScanError| anyhow!("line {}: {}", e.marker().line(), e.info()))
    }

    fn node(&mut self, event: Event, line: usize, depth: usize) -> Result<Node> {
        if depth > DEPTH_MAX {
            bail!("line {line}: values are nested deeper than {DEPTH_MAX}; no config is");
        }
        self.count(1, line)?;
        let (node, anchor) = match event {
            Event::Alias(anchor) => {
                // An anchor that is not finished yet is its own ancestor.
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or_else(|| anyhow!("line {line}: an alias stands inside of what it stands for"))?;
                self.count(size(&node), line)?;
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, _) => (
                Node::Leaf(if style == ScalarStyle::Plain { scalar(&text) } else { Value::String(text.into()) }),
                anchor,
            ),
            Event::SequenceStart(anchor, _) => (self.list(line, depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.map(line, depth)?, anchor),
            _ => bail!("line {line}: the value is missing"),
        };
        // 0 is no anchor.
        if anchor > 0 {
            self.count(size(&node), line)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, line: usize, depth: usize) -> Result<Node> {
        let mut items = vec![];
        loop {
            match self.next()?.ok_or_else(|| anyhow!("line {line}: the list does not end"))? {
                (Event::SequenceEnd, _) => return Ok(Node::List(items)),
                (event, span) => items.push(self.node(event, span.start.line(), depth + 1)?),
            }
        }
    }

    fn map(&mut self, line: usize, depth: usize) -> Result<Node> {
        let (mut own, mut merged) = (vec![], vec![]);
        loop {
            let (event, span) = self.next()?.ok_or_else(|| anyhow!("line {line}: the mapping does not end"))?;
            let line = span.start.line();
            let key = match event {
                Event::MappingEnd => break,
                Event::Scalar(key, ..) => key.into_owned(),
                _ => bail!("line {line}: a key must be a word"),
            };
            let (event, span) = self.next()?.ok_or_else(|| anyhow!("line {line}: `{key}` has no value"))?;
            let value = self.node(event, span.start.line(), depth + 1)?;
            match (key.as_str(), value) {
                ("<<", Node::Map(base)) => merged.extend(base),
                (_, value) => own.push((key, line, value)),
            }
        }
        let said: std::collections::HashSet<&str> = own.iter().map(|(key, ..)| key.as_str()).collect();
        // What a mapping says itself goes before what it merges in.
        merged.retain(|(key, ..)| !said.contains(key.as_str()));
        merged.append(&mut own);
        Ok(Node::Map(merged))
    }

    fn count(&mut self, values: usize, line: usize) -> Result<()> {
        self.values += values;
        if self.values > VALUES_MAX {
            bail!("line {line}: the file holds more than {VALUES_MAX} values, aliases counted as what they stand for");
        }
        Ok(())
    }
}

fn size(node: &Node) -> usize {
    match node {
        Node::Leaf(_) => 1,
        Node::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Node::Map(items) => 1 + items.iter().map(|(.., node)| size(node)).sum::<usize>(),
    }
}

fn flatten(key: String, line: usize, node: Node, entries: &mut Vec<Entry>) {
    match node {
        Node::Map(items) => {
            for (name, line, node) in items {
                let key = if key.is_empty() { name } else { format!("{key}.{name}") };
                flatten(key, line, node, entries);
            }
        }
        node => entries.push(Entry { key, line: Some(line), value: plain(node) }),
    }
}

fn plain(node: Node) -> Value {
    match node {
        Node::Leaf(value) => value,
        Node::List(items) => Value::Array(items.into_iter().map(plain).collect()),
        Node::Map(items) => Value::Object(items.into_iter().map(|(key, _, node)| (key, plain(node))).collect()),
    }
}

/// What a word without quotes is: YAML's core schema, and Python's `None` and `1_000`.
fn scalar(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" | "None" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.replace('_', "");
    if text.starts_with('_') || !text.trim_start_matches(['+', '-', '.']).starts_with(|c: char| c.is_ascii_digit()) {
        return Value::String(text.to_owned());
    }
    let whole = digits.parse::<i64>().map(Value::from).ok();
    let number = || digits.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Value::Number);
    whole.or_else(number).unwrap_or_else(|| Value::String(text.to_owned()))
}
