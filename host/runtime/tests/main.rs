//! The runtime against components written by hand, small enough to know every byte of.

/// Components that take for ever to compile, or more memory than there is.
mod bombs;
/// Native code on disk: reused, private, never believed when it was tampered with.
mod cache;
/// Components from a few lines of WebAssembly text.
mod component;
/// Sins that take WebAssembly text: what no Rust toolchain emits, a hostile author may.
mod hostile;
/// What a dead guest leaves: last words, names of functions.
mod last_words;
/// What loads, and the sentence for everything that does not.
mod load;
/// Remembered scores: judged once, the same from memory and disk, never believed when they were tampered with.
mod scores;
/// The fuzz target's seeds, each through the loader.
mod seeds;
/// Batches before a rubric in parts: concluded as if they had come in one piece.
mod sittings;
/// The contract in `wit/`: documented, and unchanged since its release.
mod wit;
