//! Engines that run the decoder.

#[cfg(feature = "cuda")]
pub(crate) mod cuda;
