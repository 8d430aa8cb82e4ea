//! The runtime against components written by hand, small enough to know every byte of.

/// Native code on disk: reused, private, never believed when it was tampered with.
mod cache;
/// Components from a few lines of WebAssembly text.
mod component;
/// What loads, and the sentence for everything that does not.
mod load;
/// Remembered scores: judged once, the same from memory and disk, never believed when they were tampered with.
mod scores;
/// The contract in `wit/`: documented, and unchanged since its release.
mod wit;
