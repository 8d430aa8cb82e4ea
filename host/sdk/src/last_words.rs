//! A panic's message, kept where the host finds it.
//!
//! A panic ends as a trap, and there is nowhere to print. The host looks at what a dead instance left behind the exported
//! global `rewarden_last_words`: a length and so many bytes. Writing it costs nothing until something panics.

use std::fmt::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// Of the message, in bytes; the rest is cut. More than the host shows, which then says that it is cut.
const BYTES_MAX: usize = 2048;

#[repr(C)]
struct LastWords {
    length: AtomicU32,
    // An instance has one thread; this is how safe Rust spells memory that the host reads.
    text: [AtomicU8; BYTES_MAX],
}

#[allow(unsafe_code, reason = "the name by which the host finds it")]
#[cfg_attr(target_family = "wasm", unsafe(export_name = "rewarden_last_words"))]
static LAST_WORDS: LastWords = LastWords { length: AtomicU32::new(0), text: [const { AtomicU8::new(0) }; BYTES_MAX] };

/// Has the message of every panic from here on kept. `configure` calls it before any of the author's code runs.
pub fn keep_last_words() {
    if cfg!(target_family = "wasm") {
        panic::set_hook(Box::new(keep));
    }
}

fn keep(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(|place| format!(" at {place}")).unwrap_or_default();
    let _ = write!(Kept, "panicked{place}: {}", panic.payload_as_str().unwrap_or("no message"));
}

/// Writes behind what is there already.
struct Kept;

impl Write for Kept {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut length = LAST_WORDS.length.load(Ordering::Relaxed) as usize;
        for (byte, place) in text.bytes().zip(LAST_WORDS.text.iter().skip(length)) {
            place.store(byte, Ordering::Relaxed);
            length += 1;
        }
        LAST_WORDS.length.store(length as u32, Ordering::Relaxed);
        Ok(())
    }
}
