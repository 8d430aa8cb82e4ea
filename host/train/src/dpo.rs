//! Direct preference optimisation (Rafailov et al. 2023), with these differences unless the config says otherwise:
//!
//! 1. The reference is what the stage starts from, read once more; of new adapters, the model under them (`reference`).
//! 2. Its log-probabilities are computed batch by batch, so a resumed stage needs nothing stored.
//! 3. The loss may be the paper's, the same with averaged log-ratios, or IPO's square (`loss_fn`).
//! 4. Pairs that are too long are left out, never cut.

use std::path::Path;

use crate::config::{RunConfig, Stage};
use crate::epochs::Epochs;
use crate::error::Result;
use crate::learner::{Learner, Plan};
use crate::material::Material;
use crate::observe::Observer;
use crate::pairs::{Names, PairLessons, Terms};
use crate::run_dir::Retention;
use crate::start;

/// tinker's names.
const NAMES: Names = Names {
    loss: "dpo_loss",
    accuracy: "accuracy",
    margin: "margin",
    worth: Some(["chosen_reward", "rejected_reward"]),
};

/// Runs the stage, or what is left of it. Returns its seconds.
pub(crate) fn dpo(config: &RunConfig, material: &Material, observe: Observer) -> Result<f64> {
    let options = &config.dpo;
    let data = material.pairs()?;
    let plan = Plan {
        stage: Stage::Dpo,
        steps: 0, // as many as the lessons take
        save_every: options.save_every,
        retention: Retention::of(config, options.keep_last),
        adam: options.adam.clone(),
        device: config.device,
        gradient_checkpointing: config.gradient_checkpointing,
        about: None,
    };
    let read = |folder: &Path| start::read_policy(config, folder);
    let learner = Learner::begin(&config.log_path, plan, read, || start::first(config, material, Stage::Dpo))?;
    let named = (Stage::Dpo, "dpo.reference", options.reference.as_deref());
    let reference = Some(start::reference(config, material, named, learner.policy.config())?);
    let terms = Terms { loss: options.pair_loss(), reference, names: NAMES, key: "dpo.max_length" };
    let lessons = PairLessons::new(data, &learner, terms, options.max_length, options.micro_batch_size)?;
    let epochs = Epochs {
        stage: Stage::Dpo,
        seed: config.seed,
        num_epochs: options.num_epochs,
        max_steps: options.max_steps,
        batch_size: options.batch_size,
        schedule: options.schedule(),
        eval_every: options.eval_every,
    };
    epochs.run(learner, &lessons, observe)
}
