//! A policy: a decoder of the Qwen3 architecture, its weights, and the Hugging Face folder it is read from and written
//! to (`config.json`, `model.safetensors`).

mod config;
pub(crate) mod decoder;
mod weights;

pub use config::{ModelConfig, RopeParameters};
pub(crate) use decoder::Decoder;
pub use weights::Weights;

use candle_core::{Device, Tensor};
use std::path::Path;

use crate::error::{Error, Result};

/// A model being trained. Owns its weights: sampling borrows it, updating needs it mutably, so no sampler outlives an
/// update. Memory: one f32 per parameter, plus the activations of whatever graph is alive.
pub struct Policy {
    config: ModelConfig,
    weights: Weights,
    decoder: Decoder,
}

impl Policy {
    /// A model with random weights.
    pub fn random(config: ModelConfig, seed: u64) -> Result<Self> {
        let weights = Weights::random(&config, seed, &Device::Cpu)?;
        Ok(Self::assemble(config, weights))
    }

    /// Reads a Hugging Face folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let config = ModelConfig::read(&folder.join("config.json"))?;
        let weights = Weights::read(&folder.join("model.safetensors"), &config, &Device::Cpu)?;
        Ok(Self::assemble(config, weights))
    }

    /// Writes `config.json` and `model.safetensors` into an existing folder.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let file = folder.join("config.json");
        let text = serde_json::to_string_pretty(&self.config).map_err(|e| Error::model(&file, e.to_string()))?;
        std::fs::write(&file, text + "\n").map_err(Error::io("write", &file))?;
        self.weights.write(&folder.join("model.safetensors"))
    }

    /// The model's shape.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The trainable tensors.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Log-probabilities (N) of `targets`, one per place in `places`; both are flat over `ids` (B, L), and the target
    /// of a place is the token after it. Only the places asked for go through the head. Gradients are tracked.
    pub fn log_probs(&self, ids: &Tensor, places: &Tensor, targets: &Tensor) -> Result<Tensor> {
        let hidden = self.decoder.hidden(ids)?.flatten_to(1)?.index_select(places, 0)?; // (N, hidden)
        Ok(decoder::log_probs(&self.decoder.logits(&hidden)?, targets)?)
    }

    /// The same layers over the same weights, without gradient tracking: what sampling runs on.
    pub(crate) fn frozen(&self) -> Decoder {
        Decoder::new(&self.config, |name| self.weights.tracked(name).detach())
    }

    fn assemble(config: ModelConfig, weights: Weights) -> Self {
        let decoder = Decoder::new(&config, |name| weights.tracked(name));
        Self { config, weights, decoder }
    }
}

#[cfg(test)]
mod tests;
