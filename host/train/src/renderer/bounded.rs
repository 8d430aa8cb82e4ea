//! What keeps a chat template's memory within bounds. The engine counts instructions, which it calls fuel, and not bytes: some
//! forty doublings of a text, or of a list that holds itself twice, would fill any machine. So here
//!
//! 1. what makes texts or lists of others - operators, filters, methods - is asked beforehand how much that will be, and
//!    pays for it: [`TEXT_BYTES_MAX`] and [`ITEMS_MAX`] each, [`BYTES_MAX`] in all of a rendering;
//! 2. what is printed pays too, wherever it is printed to;
//! 3. the template's own text costs fuel by its length (`template.rs`).
//!
//! Operators are no functions to the engine. In the compiled template their instructions become calls of filters, of the
//! same stack effect, that no template can name. What is left: comparing lists that hold themselves takes time, not memory.

use minijinja::machinery::make_string_output;
use minijinja::machinery::{CompiledTemplate, Instruction, Instructions, TemplateConfig, Token, eval, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Rest, ValueKind, ValueOrKwargs};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, Value, context, filters};
use std::fmt::{self, Write};
use std::sync::Arc;

/// Longest text, be it rendered or an intermediate one; far beyond any context.
pub(super) const TEXT_BYTES_MAX: usize = 64 << 20;
/// What the texts and lists of one rendering may take, those that are gone included.
pub(super) const BYTES_MAX: usize = 1 << 30;
/// Longest list.
const ITEMS_MAX: usize = 1 << 20;
/// Products of constants, which the engine computes when it compiles: each is 100 MB at most.
const FOLDED_MAX: usize = 10;

type Result<T> = std::result::Result<T, Error>;

/// Bytes that a rendering has taken so far.
#[derive(Default)]
struct Spent(usize);

fn too_large(what: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("{what} grows beyond {} MiB", TEXT_BYTES_MAX >> 20))
}

/// Pays for so many bytes.
pub(super) fn spend(state: &mut State, bytes: usize) -> Result<()> {
    let Spent(spent) = state.get_or_insert_extension(Spent::default());
    *spent = spent.saturating_add(bytes);
    match *spent > BYTES_MAX {
        true => {
            let message = format!("its texts and lists take more than {} MiB", BYTES_MAX >> 20);
            Err(Error::new(ErrorKind::InvalidOperation, message))
        }
        false => Ok(()),
    }
}

/// Counts what would be written, and stops where that is too much.
#[derive(Default)]
struct Counter(usize);

impl Write for Counter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.saturating_add(text.len());
        if self.0 > TEXT_BYTES_MAX { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Bytes of values as text.
fn length<'a>(values: impl IntoIterator<Item = &'a Value>) -> Result<usize> {
    let mut counter = Counter::default();
    for value in values {
        match value.as_str() {
            Some(text) => counter.write_str(text),
            None => write!(counter, "{value}"),
        }
        .map_err(|_| too_large("a text"))?;
    }
    Ok(counter.0)
}

/// Refuses a text of so many bytes.
fn check_text(bytes: usize) -> Result<()> {
    if bytes > TEXT_BYTES_MAX { Err(too_large("a text")) } else { Ok(()) }
}

/// Pays for what was made of these arguments, which it may hold copies of.
fn charge(state: &mut State, arguments: &[Value], made: &Value) -> Result<()> {
    let items = |value: &Value| if value.as_str().is_none() { value.len().unwrap_or(0) } else { 0 };
    if arguments.iter().chain([made]).any(|value| items(value) > ITEMS_MAX) {
        return Err(Error::new(ErrorKind::InvalidOperation, format!("a list grows beyond {ITEMS_MAX} items")));
    }
    let texts = arguments.iter().chain([made]).filter_map(Value::as_str).map(str::len).sum::<usize>();
    spend(state, texts + items(made) * size_of::<Value>())
}

/// A template ready to be rendered. Its source stays for as long as the process: there is one for each model.
pub(super) struct Program {
    compiled: CompiledTemplate<'static>,
}

impl Program {
    pub(super) fn new(name: &'static str, source: String, syntax: SyntaxConfig) -> Result<Self> {
        check_constants(&source, &syntax)?;
        let config = TemplateConfig { syntax_config: syntax, default_auto_escape: Arc::new(|_| AutoEscape::None) };
        let mut compiled = CompiledTemplate::new(name, Box::leak(source.into_boxed_str()), &config)?;
        each(&mut compiled, |instruction| {
            let (filter, arguments) = match instruction {
                Instruction::Add => (ADD, 2),
                Instruction::Mul => (MUL, 2),
                Instruction::StringConcat => (CONCAT, 2),
                Instruction::Slice => (SLICE, 4),
                _ => return,
            };
            *instruction = Instruction::ApplyFilter(filter, Some(arguments), UNCACHED);
        });
        Ok(Self { compiled })
    }

    /// Bytes of the longest text that one instruction prints as it stands in the template.
    pub(super) fn longest_raw(&mut self) -> usize {
        let mut longest = 0;
        each(&mut self.compiled, |instruction| {
            if let Instruction::EmitRaw(text) = instruction {
                longest = longest.max(text.len());
            }
        });
        longest
    }

    pub(super) fn render(&self, environment: &Environment<'static>, root: Value) -> Result<String> {
        let mut text = String::new();
        let CompiledTemplate { instructions, blocks, .. } = &self.compiled;
        eval(environment, instructions, root, blocks, &mut make_string_output(&mut text), AutoEscape::None)?;
        Ok(text)
    }
}

fn each(compiled: &mut CompiledTemplate<'static>, mut change: impl FnMut(&mut Instruction<'static>)) {
    let mut all = |instructions: &mut Instructions<'static>| {
        let mut places = 0..;
        while let Some(instruction) = places.next().and_then(|place| instructions.get_mut(place)) {
            change(instruction);
        }
    };
    all(&mut compiled.instructions);
    compiled.blocks.values_mut().for_each(all);
}

/// The engine computes what is made of constants when it compiles, where nothing pays. Only a product makes much of little.
fn check_constants(source: &str, syntax: &SyntaxConfig) -> Result<()> {
    use Token::{BracketClose, BracketOpen, Ident, Mul, ParenClose, ParenOpen, Str, String};
    let tokens = tokenize(source, false, syntax.clone()).map_while(|token| Some(token.ok()?.0));
    let tokens: Vec<Token> = tokens.collect();
    let is_constant =
        |token: &Token| matches!(token, Str(_) | String(_) | ParenClose | ParenOpen | BracketClose | BracketOpen);
    let products =
        tokens.windows(3).filter(|three| matches!(three[1], Mul) && (is_constant(&three[0]) || is_constant(&three[2])));
    let of_constants = products.filter(|three| !matches!((&three[0], &three[2]), (Ident(_), _) | (_, Ident(_))));
    match of_constants.count() > FOLDED_MAX {
        true => Err(Error::new(ErrorKind::SyntaxError, format!("more than {FOLDED_MAX} products of constants"))),
        false => Ok(()),
    }
}

/// Filters in place of operators; no template can spell a filter so.
const ADD: &str = "+";
const MUL: &str = "*";
const CONCAT: &str = "~";
const SLICE: &str = "[:]";
/// The engine's mark of a filter that it looks up each time.
const UNCACHED: u8 = !0;

/// Gives an environment the filters, functions and methods that pay.
pub(super) fn install(environment: &mut Environment<'static>) {
    environment.add_filter(CONCAT, |state: &mut State, a: Value, b: Value| -> Result<Value> {
        let bytes = length([&a, &b])?;
        spend(state, bytes)?;
        Ok(Value::from(format!("{a}{b}")))
    });
    environment.add_filter(ADD, |state: &mut State, a: Value, b: Value| -> Result<Value> {
        if let Some(sum) = integer(&a).zip(integer(&b)).and_then(|(a, b)| a.checked_add(b)) {
            return Ok(Value::from(sum));
        }
        let items = [&a, &b].map(|value| value.len().unwrap_or(0)).iter().sum::<usize>();
        match (a.as_str(), b.as_str()) {
            (Some(a), Some(b)) => check_text(a.len() + b.len())?,
            _ => charge_items(state, items)?,
        }
        let sum = computed(state, "a + b", context! { a, b })?;
        charge(state, &[], &sum)?;
        Ok(sum)
    });
    environment.add_filter(MUL, |state: &mut State, a: Value, b: Value| -> Result<Value> {
        let factor = integer(&a).or(integer(&b)).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        for value in [&a, &b] {
            match value.as_str() {
                Some(text) => check_text(text.len().saturating_mul(factor))?,
                None => charge_items(state, value.len().unwrap_or(0).saturating_mul(factor))?,
            }
        }
        let product = computed(state, "a * b", context! { a, b })?;
        charge(state, &[], &product)?;
        Ok(product)
    });
    environment.add_filter(
        SLICE,
        |state: &mut State, a: Value, start: Value, stop: Value, step: Value| -> Result<Value> {
            let arguments = [a.clone()];
            let part = computed(state, "a[start:stop:step]", context! { a, start, stop, step })?;
            charge(state, &arguments, &part)?;
            Ok(part)
        },
    );
    let paying = [
        ("upper", Value::from_function(filters::upper)),
        ("lower", Value::from_function(filters::lower)),
        ("title", Value::from_function(filters::title)),
        ("capitalize", Value::from_function(filters::capitalize)),
        ("trim", Value::from_function(filters::trim)),
        ("replace", Value::from_function(filters::replace)),
        ("join", Value::from_function(filters::join)),
        ("string", Value::from_function(filters::string)),
        ("indent", Value::from_function(filters::indent)),
        ("format", Value::from_function(filters::format)),
        ("split", Value::from_function(filters::split)),
        ("lines", Value::from_function(filters::lines)),
        ("list", Value::from_function(filters::list)),
        ("sort", Value::from_function(filters::sort)),
        ("reverse", Value::from_function(filters::reverse)),
        ("unique", Value::from_function(filters::unique)),
        ("dictsort", Value::from_function(filters::dictsort)),
        ("items", Value::from_function(filters::items)),
        ("batch", Value::from_function(filters::batch)),
        ("slice", Value::from_function(filters::slice)),
        ("chain", Value::from_function(filters::chain)),
        ("zip", Value::from_function(filters::zip)),
        ("groupby", Value::from_function(filters::groupby)),
        ("map", Value::from_function(filters::map)),
        ("select", Value::from_function(filters::select)),
        ("reject", Value::from_function(filters::reject)),
        ("selectattr", Value::from_function(filters::selectattr)),
        ("rejectattr", Value::from_function(filters::rejectattr)),
        ("sum", Value::from_function(filters::sum)),
    ];
    for (name, original) in paying {
        environment.add_filter(name, move |state: &mut State, arguments: Rest<ValueOrKwargs>| -> Result<Value> {
            let arguments = arguments.into_values();
            check_growth(name, &arguments)?;
            let made = original.call(state, &arguments)?;
            charge(state, &arguments, &made)?;
            Ok(made)
        });
    }
    environment.set_unknown_method_callback(|state, value, method, arguments| {
        let all: Vec<Value> = [value].into_iter().chain(arguments).cloned().collect();
        match (method, all.as_slice()) {
            ("join", [separator, values]) => check_growth("join", &[values.clone(), separator.clone()])?,
            _ => check_growth(method, &all)?,
        }
        let made = minijinja_contrib::pycompat::unknown_method_callback(state, value, method, arguments)?;
        charge(state, &all, &made)?;
        Ok(made)
    });
    // They print the template's insides, at any length, for its author.
    environment.remove_filter("pprint");
    environment.remove_global("debug");
}

fn integer(value: &Value) -> Option<i64> {
    if value.is_integer() { i64::try_from(value.clone()).ok() } else { None }
}

fn charge_items(state: &mut State, items: usize) -> Result<()> {
    match items > ITEMS_MAX {
        true => Err(Error::new(ErrorKind::InvalidOperation, format!("a list grows beyond {ITEMS_MAX} items"))),
        false => spend(state, items * size_of::<Value>()),
    }
}

/// What the engine itself makes of an operation. Its words, without the place: that is the operator's in the template.
fn computed(state: &State, operation: &str, operands: Value) -> Result<Value> {
    let evaluated = state.env().compile_expression(operation).and_then(|operation| operation.eval(operands));
    evaluated.map_err(|error| Error::new(error.kind(), error.detail().unwrap_or_default().to_owned()))
}

/// Refuses, before it is made, what would be far larger than all that it is made of.
fn check_growth(name: &str, arguments: &[Value]) -> Result<()> {
    let [value, rest @ ..] = arguments else { return Ok(()) };
    let text = value.as_str().unwrap_or_default();
    match name {
        "replace" => {
            let [from, to] = [0, 1].map(|at| rest.get(at).and_then(Value::as_str).unwrap_or_default());
            check_text(text.len().saturating_add(text.matches(from).count().saturating_mul(to.len())))
        }
        "join" => {
            let separator = length(rest)?;
            let mut bytes = 0usize;
            for item in value.try_iter()? {
                bytes = bytes.saturating_add(length([&item])?).saturating_add(separator);
                check_text(bytes)?;
            }
            Ok(())
        }
        "string" => length([value]).map(drop),
        "indent" => check_text(text.len().saturating_add((text.lines().count() + 1).saturating_mul(widest(rest)))),
        "batch" | "slice" => match widest(rest) > ITEMS_MAX {
            true => Err(Error::new(ErrorKind::InvalidOperation, format!("a list grows beyond {ITEMS_MAX} items"))),
            false => Ok(()),
        },
        "format" => {
            let number =
                |digits: &str| digits.parse::<usize>().unwrap_or(if digits.is_empty() { 0 } else { usize::MAX });
            let widths = text.split(|letter: char| !letter.is_ascii_digit()).map(number).chain([widest(rest)]);
            let width = widths.max().unwrap_or(0);
            let field = length(rest)?.saturating_add(width);
            check_text(text.len().saturating_add(text.matches(['%', '{']).count().saturating_mul(field)))
        }
        "sum" => match value.try_iter()?.all(|item| item.kind() == ValueKind::Number) {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::InvalidOperation, "sum is of numbers; use join for texts")),
        },
        _ => Ok(()),
    }
}

/// The largest integer among arguments, those by name included.
fn widest(arguments: &[Value]) -> usize {
    let named = arguments.iter().filter(|argument| argument.is_kwargs());
    let named =
        named.flat_map(|named| named.try_iter().into_iter().flatten().filter_map(|key| named.get_item(&key).ok()));
    let all = arguments.iter().cloned().chain(named);
    all.filter_map(|value| integer(&value)).map(|width| usize::try_from(width).unwrap_or(0)).max().unwrap_or(0)
}
