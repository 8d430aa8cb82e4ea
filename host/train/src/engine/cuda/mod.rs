//! The decoder on an NVIDIA GPU: bf16 weights and activations, f32 masters, statistics and gradients.
//!
//! `kernels/` holds the kernels and `ops` says how each is launched. A launch is data, so that tests can run the same one in
//! the emulator (`emulator/`), without a GPU.

mod batch;
mod decode;
mod gpu;
mod head;
mod kernels;
mod launch;
mod machine;
mod numbers;
mod nvrtc;
mod ops;
mod pass;
mod project;
mod resident;

pub(crate) use decode::{Decoder, Draw, Drawn, Fed};
#[cfg(test)]
pub(crate) use machine::Machine;
pub(crate) use resident::{Gradient, Moments, Resident};

#[cfg(test)]
mod emulator;
#[cfg(test)]
mod tests;
