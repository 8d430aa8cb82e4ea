//! The decoder on an NVIDIA GPU: bf16 weights and activations, f32 masters, statistics and gradients.
//!
//! `kernels/` holds the kernels and `ops` says how each is launched. A launch is data, so that tests can run the same one in
//! the emulator (`emulator/`), without a GPU.

pub(crate) mod gpu;
pub(crate) mod kernels;
pub(crate) mod launch;
pub(crate) mod machine;
pub(crate) mod nvrtc;
pub(crate) mod ops;

#[cfg(test)]
mod emulator;
#[cfg(test)]
mod tests;
