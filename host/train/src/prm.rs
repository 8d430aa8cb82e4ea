//! Reward models, of whole answers or of steps, with these differences from TRL's RewardTrainer and PRMTrainer:
//!
//! 1. A chat template renders the conversation; a score is read at the last token of the answer, a verdict on a step at
//!    the token with its last letter, which cannot know what follows.
//! 2. Besides a score per answer (`bradley_terry`) and verdicts per step (`steps`) there are MinT's summed log-probability
//!    (`pairwise`) and the implicit reward of PRIME (`implicit`); one config key decides.
//! 3. A new head says 0 of everything, so the first loss is log 2.
//! 4. Rows that are too long are left out, never cut: a cut answer is another answer.
//! 5. What was learnt judges rollouts of the same run as `[[reward_model]]`, in a rubric beside plugins.

use std::path::Path;

use crate::chains::StepLessons;
use crate::config::{RunConfig, Stage};
use crate::epochs::Epochs;
use crate::error::Result;
use crate::learner::{Learner, Plan};
use crate::material::{Material, Preferences};
use crate::observe::Observer;
use crate::pairs::{Names, PairLessons, Terms};
use crate::reward_model::About;
use crate::run_dir::Retention;
use crate::start;

const NAMES: Names = Names { loss: "loss", accuracy: "pair_accuracy", margin: "mean_margin", worth: None };

/// Runs the stage, or what is left of it. Returns its seconds.
pub(crate) fn prm(config: &RunConfig, material: &mut Material, observe: Observer) -> Result<f64> {
    material.failure()?;
    let options = &config.prm;
    let plan = Plan {
        stage: Stage::Prm,
        steps: 0, // as many as the lessons take
        save_every: options.save_every,
        retention: Retention::of(config, options.keep_last),
        adam: options.adam.clone(),
        device: config.device,
        gradient_checkpointing: config.gradient_checkpointing,
        about: Some(About::of(config)?),
    };
    let read = |folder: &Path| start::read(config, folder);
    let learner = Learner::begin(&config.log_path, plan, read, || start::first(config, material, Stage::Prm))?;
    let epochs = Epochs {
        stage: Stage::Prm,
        seed: config.seed,
        num_epochs: options.num_epochs,
        max_steps: options.max_steps,
        batch_size: options.batch_size,
        schedule: options.schedule(),
        eval_every: options.eval_every,
    };
    match material.preferences()? {
        Preferences::Pairs(data, loss) => {
            let shape = learner.policy.config();
            let reference = || start::reference(config, material, (Stage::Prm, "", None), shape);
            let reference = loss.loss_fn.has_reference().then(reference).transpose()?;
            let terms = Terms { loss: *loss, reference, names: NAMES, key: "prm.max_length" };
            let lessons = PairLessons::new(data, &learner, terms, options.max_length, options.micro_batch_size)?;
            epochs.run(learner, &lessons, observe)
        }
        Preferences::Steps(data) => {
            let lessons = StepLessons::new(data, &learner.renderer, options)?;
            epochs.run(learner, &lessons, observe)
        }
    }
}
