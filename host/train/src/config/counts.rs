//! Numbers of a config, wherever they stand: none may be infinite or no number, and no count so large that counting with it
//! overflows or fills memory.

use super::{AdamConfig, RunConfig};
use crate::error::{Error, Result};

/// Above any count of steps, epochs, tokens or rows; the product of two still fits a machine word.
const COUNT_MAX: i64 = 1_000_000_000;
/// Sequences that are held at once: a million.
const SEQUENCES_MAX: usize = 1 << 20;
/// Tables whose counts are the training host's own; those of rewards are bounded by the runtime.
const OURS: [&str; 6] = ["data", "sft", "prm", "dpo", "rl", "eval"];

impl RunConfig {
    /// Refuses numbers that nothing can be computed with. What a key's own check refuses is better said there: this comes
    /// after all of them.
    pub(super) fn check_numbers(&self) -> Result<()> {
        let table = toml::Table::try_from(self).map_err(|e| Error::config("config", e.to_string()))?;
        table.iter().try_for_each(|(name, value)| check_value(name, value, OURS.contains(&name.as_str())))
    }

    /// Refuses counts of nothing, and batches that no memory holds.
    pub(super) fn check_counts(&self) -> Result<()> {
        let positive = [
            ("sft.batch_size", self.sft.batch_size),
            ("sft.num_epochs", self.sft.num_epochs),
            ("sft.max_length", self.sft.max_length),
            ("rl.groups_per_batch", self.rl.groups_per_batch),
            ("rl.group_size", self.rl.group_size),
            ("rl.max_tokens", self.rl.max_tokens),
            ("rl.num_epochs", self.rl.num_epochs.unwrap_or(1)),
            ("eval.max_tokens", self.eval.max_tokens),
            ("eval.num_samples", self.eval.num_samples),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(Error::config(*key, "must be at least 1"));
        }
        let steps = [self.sft.max_steps, self.prm.max_steps, self.dpo.max_steps, self.rl.max_steps];
        for (stage, most) in ["sft", "prm", "dpo", "rl"].into_iter().zip(steps) {
            if most == Some(0) {
                let message = format!("must be at least 1; leave `{stage}` out of `stages` to do without");
                return Err(Error::config(format!("{stage}.max_steps"), message));
            }
        }
        self.check_batches()
    }

    fn check_batches(&self) -> Result<()> {
        let batches = [
            ("sft.batch_size", self.sft.batch_size),
            ("prm.batch_size", self.prm.batch_size),
            ("dpo.batch_size", self.dpo.batch_size),
            ("rl.groups_per_batch", self.rl.groups_per_batch),
            ("rl.group_size", self.rl.group_size),
            ("eval.num_samples", self.eval.num_samples),
        ];
        if let Some((key, _)) = batches.iter().find(|(_, size)| *size > SEQUENCES_MAX) {
            return Err(Error::config(*key, format!("must be at most {SEQUENCES_MAX}: they are held at once")));
        }
        let rollouts = self.rl.groups_per_batch * self.rl.group_size;
        match rollouts > SEQUENCES_MAX {
            true => {
                let message =
                    format!("times `rl.groups_per_batch` are {rollouts} answers; at most {SEQUENCES_MAX} can be");
                Err(Error::config("rl.group_size", message))
            }
            false => Ok(()),
        }
    }
}

fn check_value(key: &str, value: &toml::Value, bounded: bool) -> Result<()> {
    match value {
        toml::Value::Float(number) if !number.is_finite() => Err(Error::config(key, "must be a finite number")),
        toml::Value::Integer(count) if bounded && *count > COUNT_MAX => {
            Err(Error::config(key, format!("must be at most {COUNT_MAX}")))
        }
        toml::Value::Table(table) => {
            table.iter().try_for_each(|(name, value)| check_value(&format!("{key}.{name}"), value, bounded))
        }
        toml::Value::Array(list) => list.iter().enumerate().try_for_each(|(place, value)| {
            // Errors call an entry that has a name by it, as `--set` may.
            let name = value.get("name").and_then(toml::Value::as_str);
            let at = name.map_or_else(|| place.to_string(), str::to_owned);
            check_value(&format!("{key}.{at}"), value, bounded)
        }),
        _ => Ok(()),
    }
}

impl AdamConfig {
    /// Refuses settings with which weights leave the numbers; `stage` is the table that these stand in.
    pub(super) fn check(&self, stage: &str) -> Result<()> {
        let refuse = |key: &str, message: &str| Err(Error::config(format!("{stage}.adam.{key}"), message));
        for (key, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                return refuse(key, "must be at least 0 and below 1");
            }
        }
        if !(self.eps.is_finite() && self.eps > 0.0) {
            return refuse("eps", "must be a number above 0: what has no gradient is divided by it alone");
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return refuse("weight_decay", "must be a number of at least 0");
        }
        match self.max_grad_norm.is_finite() && self.max_grad_norm >= 0.0 {
            true => Ok(()),
            false => refuse("max_grad_norm", "must be a number of at least 0; 0 never scales gradients"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const REWARD: &str = "log_path = 'runs/x'\n[[reward]]\nname = 'a'\nplugin = 'x'\nsettings = { limits = [1.0] }\n";

    #[track_caller]
    fn check(setting: &str, expected: &str) {
        let error = RunConfig::parse(Path::new("a.toml"), REWARD, &[setting.to_owned()]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("config key `{expected}")), "{setting}: {error}");
    }

    #[test]
    fn what_is_no_number_is_refused_wherever_it_stands() {
        check("eval.pass_threshold=nan", "eval.pass_threshold`: must be a finite number");
        check("eval.pass_threshold=-inf", "eval.pass_threshold`");
        check("eval.temperature=nan", "eval.temperature`");
        check("data.arithmetic.slip_rate=nan", "data.arithmetic.slip_rate`");
        check("reward.a.settings.limits=[0.5, nan]", "reward.a.settings.limits.1`: must be a finite number");
        check("rl.loss_fn_config.clip_ratio_c=inf", "rl.loss_fn_config.clip_ratio_c`");
        check("lora_alpha=nan", "lora_alpha`");
    }

    #[test]
    fn counts_are_bounded() {
        let most = i64::MAX;
        for key in [
            "sft.num_epochs",
            "prm.num_epochs",
            "rl.num_epochs",
            "dpo.max_steps",
            "rl.max_steps",
            "rl.max_tokens",
            "sft.max_length",
        ] {
            check(&format!("{key}={most}"), &format!("{key}`: must be at most 1000000000"));
        }
        for key in ["sft.batch_size", "prm.batch_size", "dpo.batch_size", "rl.groups_per_batch", "eval.num_samples"] {
            check(&format!("{key}={most}"), &format!("{key}`: must be at most 1048576"));
        }
        check(&format!("rl.group_size={most}"), "rl.group_size`: must be at most 1048576");
        check("rl.group_size=1048576", "rl.group_size`: times `rl.groups_per_batch` are 16777216 answers");
        check(&format!("eval.max_tokens={most}"), "eval.max_tokens`");
        check(&format!("data.test_size={most}"), "data.test_size`");
        check(&format!("rl.warmup_steps={most}"), "rl.warmup_steps`");
    }

    #[test]
    fn an_optimizer_that_cannot_work_is_refused() {
        for stage in ["sft", "prm", "dpo", "rl"] {
            check(&format!("{stage}.adam.beta1=2"), &format!("{stage}.adam.beta1`: must be at least 0 and below 1"));
        }
        for (key, values) in [
            ("beta1", ["1", "-0.1", "nan"]),
            ("beta2", ["1", "-0.1", "nan"]),
            ("eps", ["0", "-1e-8", "nan"]),
            ("weight_decay", ["-0.1", "inf", "nan"]),
            ("max_grad_norm", ["-1", "inf", "nan"]),
        ] {
            values.iter().for_each(|value| check(&format!("sft.adam.{key}={value}"), &format!("sft.adam.{key}`")));
        }
    }
}
