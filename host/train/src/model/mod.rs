//! A policy: a decoder of one of three families, its weights, perhaps adapters, and the Hugging Face folder all that is
//! read from and written to.

mod config;
pub(crate) mod files;
mod head;
pub(crate) mod lora;
#[cfg(test)]
pub(crate) mod oracle;
mod rope;
mod weights;

pub use config::{Family, ModelConfig, TokenIds};
pub use head::Head;
pub use lora::{Adapter, Lora};
pub use rope::{Rope, RopeParameters};
pub(crate) use weights::EMBEDDING;
pub use weights::{Parameter, Weights};

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::batch::MicroBatch;
use crate::engine::cpu::{Angles, Cpu, Numbers};
use crate::engine::cuda::{Gradient, Resident};
use crate::engine::{Places, Said, Spec, Workspace};
use crate::error::Result;

/// A model being trained. Owns its weights: sampling borrows it, updating needs it mutably, so no sampler outlives an
/// update. Memory: one f32 per parameter, and the activations of the largest batch it has seen, which are kept. On a GPU
/// ([`Policy::on_gpu`]) those are there, and what is trained here is how it was when it was brought there.
pub struct Policy {
    config: ModelConfig,
    weights: Weights,
    adapter: Option<Adapter>,
    spec: Spec,
    recompute: bool,
    scratch: Mutex<Scratch>,
    resident: Option<Resident>,
}

/// A gradient in the making: one f32 for each trained number, where the policy is.
pub(crate) enum Sum {
    Cpu(Vec<f32>),
    Gpu(Gradient),
}

/// What passes leave for the next one.
#[derive(Default)]
struct Scratch {
    workspace: Workspace<Vec<f32>>,
    angles: Angles,
}

impl Policy {
    /// A model with random weights.
    pub fn random(config: ModelConfig, seed: u64) -> Result<Self> {
        let weights = Weights::random(&config, seed)?;
        Ok(Self::assemble(config, weights, None))
    }

    /// Reads the model in a Hugging Face folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let config = ModelConfig::read(&folder.join("config.json"))?;
        let weights = Weights::read(folder, &config)?;
        Ok(Self::assemble(config, weights, None))
    }

    /// The same model on the GPU of this number: it computes there from now on, in bf16 with masters in f32. Adapters and
    /// heads come first. Fails where there is no such GPU or driver, and says what to install.
    pub fn on_gpu(self, ordinal: usize) -> Result<Self> {
        let resident = Resident::open(ordinal, &self.spec, self.numbers())?;
        Ok(Self { resident: Some(resident), ..self })
    }

    /// The same on a machine that tests bring.
    #[cfg(all(test, feature = "cuda"))]
    pub(crate) fn on(self, machine: std::sync::Arc<dyn crate::engine::cuda::Machine>) -> Result<Self> {
        let resident = Resident::on(machine, &self.spec, self.numbers())?;
        Ok(Self { resident: Some(resident), ..self })
    }

    /// The same model under the adapters that PEFT, or a run of ours, left in `folder`.
    pub fn with_adapter(self, folder: &Path) -> Result<Self> {
        let Self { config, weights, .. } = self.merged().with_head(lora::head_of(folder)?);
        let adapter = Adapter::read(folder, &config, &weights)?;
        Ok(Self::assemble(config, weights, Some(adapter)))
    }

    /// The same model, frozen, under new adapters that change nothing yet. `base` is what whoever loads the adapters
    /// shall find as the model's name or path.
    pub fn with_new_adapter(self, lora: &Lora, base: &str, seed: u64) -> Result<Self> {
        let Self { config, weights, .. } = self.merged();
        let adapter = Adapter::new(&config, &weights, lora, base, seed)?;
        Ok(Self::assemble(config, weights, Some(adapter)))
    }

    /// The same trunk under another head, which says 0 of everything; the same model if it has that head.
    pub fn with_head(self, head: Head) -> Self {
        if self.config.head() == head {
            return self;
        }
        let Self { config, weights, .. } = self.merged();
        let config = config.with_head(head);
        let weights = weights.under(&config);
        Self::assemble(config, weights, None)
    }

    /// The model with its adapters, if it has any, added to its weights.
    pub fn merged(self) -> Self {
        assert!(self.resident.is_none(), "adapters are merged before a policy goes to a GPU");
        let Self { mut config, weights, adapter: Some(adapter), .. } = self else { return self };
        let weights = adapter.merge(&mut config, &weights);
        Self::assemble(config, weights, None)
    }

    /// The same model, which in training keeps only what came into each layer and computes the rest once more: memory for
    /// a third more work (Chen et al. 2016). The gradient is the same.
    pub fn with_gradient_checkpointing(self, is_on: bool) -> Self {
        Self { recompute: is_on, ..self }
    }

    /// Writes what is trained into an existing folder: the adapters under PEFT's names, or else the model as a Hugging
    /// Face folder.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let trained = match &self.resident {
            Some(resident) => Cow::Owned(self.trainable().with_values(resident.read()?)),
            None => Cow::Borrowed(self.trainable()),
        };
        if let Some(adapter) = &self.adapter {
            return adapter.write(&trained, folder);
        }
        self.config.write(&folder.join("config.json"))?;
        trained.write(folder)
    }

    /// The part that lives on a GPU, if it does.
    pub(crate) fn resident(&self) -> Option<&Resident> {
        self.resident.as_ref()
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

    /// The same to change.
    pub(crate) fn trainable_mut(&mut self) -> &mut Weights {
        match &mut self.adapter {
            Some(adapter) => adapter.weights_mut(),
            None => &mut self.weights,
        }
    }

    /// Where everything lies.
    pub(crate) fn spec(&self) -> &Spec {
        &self.spec
    }

    /// All numbers.
    pub(crate) fn numbers(&self) -> Numbers<'_> {
        let adapter = self.adapter.as_ref().map_or(&[][..], |adapter| adapter.weights().values());
        Numbers { model: self.weights.values(), adapter }
    }

    /// Log-probabilities of a batch's trained tokens, or what a reward model says there, and, if asked, the entropies of
    /// what each was predicted from.
    pub(crate) fn predict(&self, batch: &MicroBatch, entropies: bool) -> Result<Said> {
        if let Some(resident) = &self.resident {
            return resident.predict(&self.spec, batch, entropies);
        }
        // Nothing flows back, so nothing is kept.
        self.on_device(batch, |device, workspace| workspace.forward(&self.spec, device, entropies, true))
    }

    /// The same, and then adds to `gradient` that of `sum(slopes * said)`, for what `judge` answers to what was said.
    pub(crate) fn learn(
        &self,
        batch: &MicroBatch,
        entropies: bool,
        judge: impl FnOnce(&Said) -> Said,
        gradient: &mut Sum,
    ) -> Result<Said> {
        match (&self.resident, gradient) {
            (Some(resident), Sum::Gpu(gradient)) => {
                resident.learn(&self.spec, batch, (entropies, self.recompute), judge, gradient)
            }
            (None, Sum::Cpu(gradient)) => self.on_device(batch, |device, workspace| {
                let said = workspace.forward(&self.spec, device, entropies, self.recompute)?;
                workspace.backward(&self.spec, device, &judge(&said), gradient)?;
                Ok(said)
            }),
            _ => unreachable!("a gradient begun with another policy"),
        }
    }

    /// A gradient of zeros, where the policy is.
    pub(crate) fn sum(&self) -> Result<Sum> {
        Ok(match &self.resident {
            Some(resident) => Sum::Gpu(resident.gradient()?),
            None => Sum::Cpu(vec![0.0; self.trainable().count()]),
        })
    }

    fn on_device<R>(&self, batch: &MicroBatch, pass: impl FnOnce(&Cpu, &mut Workspace<Vec<f32>>) -> R) -> R {
        // A pass that panicked left nothing in there that the next one reads before writing it.
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let Scratch { workspace, angles } = &mut *scratch;
        let positions = batch.positions.iter().max().map_or(0, |last| last + 1);
        angles.reach(&self.spec.frequencies, positions as usize);
        pass(&Cpu { spec: &self.spec, weights: self.numbers(), batch, angles }, workspace)
    }

    fn assemble(config: ModelConfig, weights: Weights, adapter: Option<Adapter>) -> Self {
        let beside = |name: &str| adapter.as_ref().and_then(|adapter| adapter.head(name));
        let places = Places {
            model: &|name| weights.range(name),
            adapter: adapter.is_some().then_some(&beside),
            low_rank: &|module| adapter.as_ref().and_then(|adapter| adapter.low_rank(module)),
        };
        let spec = Spec::new(&config, &places);
        Self { config, weights, adapter, spec, recompute: false, scratch: Mutex::default(), resident: None }
    }
}

#[cfg(test)]
mod tests;
