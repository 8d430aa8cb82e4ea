//! A policy: a decoder of one of three families, its weights, perhaps adapters, and the Hugging Face folder all that is
//! read from and written to.

mod config;
pub(crate) mod decoder;
pub(crate) mod files;
mod head;
mod linear;
pub(crate) mod lora;
mod rope;
mod weights;

pub use config::{Family, ModelConfig, TokenIds};
pub(crate) use decoder::Decoder;
pub use head::Head;
pub use lora::{Adapter, Lora};
pub use rope::{Rope, RopeParameters};
pub use weights::Weights;

use candle_core::{Device, Tensor};
use std::path::Path;

use crate::batch::MicroBatch;
use crate::error::Result;

/// A model being trained. Owns its weights: sampling borrows it, updating needs it mutably, so no sampler outlives an
/// update. Memory: one f32 per parameter, plus the activations of whatever graph is alive.
pub struct Policy {
    config: ModelConfig,
    weights: Weights,
    adapter: Option<Adapter>,
    decoder: Decoder,
}

impl Policy {
    /// A model with random weights.
    pub fn random(config: ModelConfig, seed: u64) -> Result<Self> {
        let weights = Weights::random(&config, seed, &Device::Cpu)?;
        Ok(Self::assemble(config, weights, None))
    }

    /// Reads the model in a Hugging Face folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let config = ModelConfig::read(&folder.join("config.json"))?;
        let weights = Weights::read(folder, &config, &Device::Cpu)?;
        Ok(Self::assemble(config, weights, None))
    }

    /// The same model under the adapters that PEFT, or a run of ours, left in `folder`.
    pub fn with_adapter(self, folder: &Path) -> Result<Self> {
        let Self { config, weights, .. } = self.merged()?.with_head(lora::head_of(folder)?)?;
        let adapter = Adapter::read(folder, &config, &weights, &Device::Cpu)?;
        Ok(Self::assemble(config, weights, Some(adapter)))
    }

    /// The same model, frozen, under new adapters that change nothing yet. `base` is what whoever loads the adapters
    /// shall find as the model's name or path.
    pub fn with_new_adapter(self, lora: &Lora, base: &str, seed: u64) -> Result<Self> {
        let Self { config, weights, .. } = self.merged()?;
        let adapter = Adapter::new(&config, &weights, lora, base, seed, &Device::Cpu)?;
        Ok(Self::assemble(config, weights, Some(adapter)))
    }

    /// The same trunk under another head, which says 0 of everything; the same model if it has that head.
    pub fn with_head(self, head: Head) -> Result<Self> {
        if self.config.head() == head {
            return Ok(self);
        }
        let Self { config, weights, .. } = self.merged()?;
        let config = config.with_head(head);
        let weights = weights.under(&config, &Device::Cpu)?;
        Ok(Self::assemble(config, weights, None))
    }

    /// The model with its adapters, if it has any, added to its weights.
    pub fn merged(self) -> Result<Self> {
        let Self { mut config, weights, adapter: Some(adapter), .. } = self else { return Ok(self) };
        let weights = adapter.merge(&mut config, &weights)?;
        Ok(Self::assemble(config, weights, None))
    }

    /// Writes what is trained into an existing folder: the adapters under PEFT's names, or else the model as a Hugging
    /// Face folder.
    pub fn write(&self, folder: &Path) -> Result<()> {
        if let Some(adapter) = &self.adapter {
            return adapter.write(folder);
        }
        self.config.write(&folder.join("config.json"))?;
        self.weights.write(folder)
    }

    /// The model's shape.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The adapters, if it has any.
    pub fn adapter(&self) -> Option<&Adapter> {
        self.adapter.as_ref()
    }

    /// What training moves: the adapters, or else every weight.
    pub fn trainable(&self) -> &Weights {
        self.adapter.as_ref().map_or(&self.weights, Adapter::weights)
    }

    /// Log-probabilities (N) of a batch's trained tokens, or what a reward model says there, and, if asked, the entropies
    /// (N) of what each was predicted from. Gradients are tracked.
    pub(crate) fn predict(&self, batch: &MicroBatch, entropies: bool) -> Result<(Tensor, Option<Tensor>)> {
        self.decoder.predict(batch, entropies)
    }

    /// The same layers over the same weights, without gradient tracking: what sampling runs on.
    pub(crate) fn frozen(&self) -> Decoder {
        let adapter = |module: &str| self.adapter.as_ref()?.detached(module);
        let trained = |name: &str| self.adapter.as_ref()?.head(name);
        let weight = |name: &str| trained(name).unwrap_or_else(|| self.weights.tracked(name)).detach();
        Decoder::new(&self.config, weight, adapter)
    }

    fn assemble(config: ModelConfig, weights: Weights, adapter: Option<Adapter>) -> Self {
        let decoder = match &adapter {
            Some(adapter) => {
                let weight = |name: &str| adapter.head(name).unwrap_or_else(|| weights.tracked(name).detach());
                Decoder::new(&config, weight, |module| adapter.tracked(module))
            }
            None => Decoder::new(&config, |name| weights.tracked(name), |_| None),
        };
        Self { config, weights, adapter, decoder }
    }
}

#[cfg(test)]
mod tests;
