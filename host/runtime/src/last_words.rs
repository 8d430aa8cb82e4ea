//! What a guest that ended abnormally left for its author: the functions it was in, and its last words.
//!
//! A trap says `unreachable` and takes a panic's message with it, because a plugin has nowhere to print. So a guest may
//! keep its last words in memory, where we look once it is dead: at the address that its global `rewarden_last_words`
//! holds lie a length (four bytes, the least significant first) and so many bytes of text. It costs a living guest nothing,
//! needs no import, and is read as what it is: text from a stranger.

use wasmtime::{AsContextMut, Error, Instance, Trap, WasmBacktrace, WasmCoreDump};

use crate::fault::printable;

/// The exported global of a core module, and the memory that it points into.
const GLOBAL: &str = "rewarden_last_words";
const MEMORY: &str = "memory";

/// Of last words, in bytes.
const WORDS_BYTES_MAX: usize = 2000;

/// Of the functions: how many are named, and how long all the names may be, in bytes.
const FRAMES_MAX: usize = 8;
const FRAMES_BYTES_MAX: usize = 1000;

/// Where panics come from: functions that an author did not write, nor chose to call.
const MACHINERY: [&str; 5] = ["std::", "core::", "alloc::", "rust_", "__rust"];

/// The functions that the guest was in, innermost first, as one printable line; empty where the component has no names.
pub(crate) fn place(error: &Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return String::new() };
    let names = backtrace.frames().iter().filter_map(|frame| frame.func_name());
    let names: Vec<String> = names.map(|name| format!("{:#}", rustc_demangle::demangle(name))).collect();
    let is_machinery = |name: &String| MACHINERY.iter().any(|prefix| name.starts_with(prefix));
    let own = names.iter().position(|name| !is_machinery(name)).unwrap_or(0);
    let shown = &names[own..names.len().min(own + FRAMES_MAX)];
    printable(&shown.join(" < "), FRAMES_BYTES_MAX)
}

/// What is to be said of a trap at this place.
pub(crate) fn of(trap: Trap, at: &str, error: &Error, store: &mut impl AsContextMut) -> String {
    let cause = if at.is_empty() { trap.to_string() } else { format!("{trap}, in {at}") };
    match words(error, store) {
        Some(words) => format!("{words} ({cause})"),
        None => cause,
    }
}

/// What the guest had to say before it died, as one printable line.
fn words(error: &Error, store: &mut impl AsContextMut) -> Option<String> {
    let dump = error.downcast_ref::<WasmCoreDump>()?;
    let left = dump.instances().iter().find_map(|instance| left_by(instance, store))?;
    let words = printable(String::from_utf8_lossy(&left).trim(), WORDS_BYTES_MAX);
    (!words.is_empty()).then_some(words)
}

fn left_by(instance: &Instance, store: &mut impl AsContextMut) -> Option<Vec<u8>> {
    let address = instance.get_global(&mut *store, GLOBAL)?.get(&mut *store).i32()? as u32 as usize;
    let memory = instance.get_memory(&mut *store, MEMORY)?;
    let bytes = memory.data(&*store).get(address..)?;
    let (length, text) = bytes.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    // One more than is shown, so that what is cut is seen to be.
    Some(text[..length.min(WORDS_BYTES_MAX + 1).min(text.len())].to_vec())
}
