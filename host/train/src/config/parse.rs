//! From text and `--set` to a checked config. Errors name the file and line, or the key.

use std::path::Path;

use rewarden_runtime::Combine;

use super::nearest::with_hint;
use super::set::set;
use super::{AdamConfig, AdvEstimator, RunConfig, Stage};
use crate::error::{Error, Result};
use crate::sampler::Sampling;

/// Above the width of any matrix that is worth adapting.
const LORA_RANK_MAX: usize = 1 << 14;

impl RunConfig {
    /// Parses a config; `overrides` are `key=value` with dotted keys, as `--set` takes them. `file` is for messages.
    pub fn parse(file: &Path, text: &str, overrides: &[String]) -> Result<Self> {
        let at_file =
            |e: toml::de::Error| Error::ConfigFile { file: file.to_owned(), message: with_hint(e.to_string()) };
        // The plain text is checked first: its errors can show the line.
        let mut table: toml::Table = toml::from_str(text).map_err(at_file)?;
        let _: Self = toml::from_str(text).map_err(at_file)?;
        for pair in overrides {
            set(&mut table, pair)?;
        }
        let mut config: Self = table.try_into().map_err(at_file)?;
        config.check()?;
        config.lora_rank = Some(config.lora().map_or(0, |lora| lora.rank));
        config.rl.resolve(config.rubric.combine == Combine::NormalizeThenSum);
        Ok(config)
    }

    /// The config as TOML, every default written out.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::config("config", e.to_string()))
    }

    /// Refuses values that parse but cannot work.
    fn check(&self) -> Result<()> {
        // `.`, `..` and `/` have none either: what is there is somebody's, and cannot be set aside.
        if self.log_path.file_name().is_none() {
            let message =
                "must name a folder of the run's own, such as \"runs/first\": an earlier run there is set aside";
            return Err(Error::config("log_path", message));
        }
        self.check_stages()?;
        self.check_counts()?;
        for (stage, adam) in self.optimizers() {
            adam.check(stage)?;
        }
        self.sft.schedule().check("sft")?;
        for (key, sampling) in [("rl", self.rl.sampling()), ("eval", self.eval.sampling())] {
            check_sampling(key, &sampling)?;
        }
        for (key, stop) in [("rl.stop", &self.rl.stop), ("eval.stop", &self.eval.stop)] {
            if stop.iter().any(String::is_empty) {
                return Err(Error::config(key, "an empty text would end every answer at its first token"));
            }
        }
        if let Some(k) = self.eval.k.iter().find(|&&k| k == 0 || k > self.eval.num_samples) {
            let message =
                format!("pass@{k} needs between 1 and `eval.num_samples` = {} samples", self.eval.num_samples);
            return Err(Error::config("eval.k", message));
        }
        if self.eval.temperature == 0.0 && self.eval.num_samples > 1 {
            let message = "with `eval.temperature` = 0 every answer is the same: set it to 1 and `eval.k` to [1]";
            return Err(Error::config("eval.num_samples", message));
        }
        self.data.check("data")?;
        self.eval.data.as_ref().map_or(Ok(()), |data| data.check("eval.data"))?;
        self.prm.check()?;
        self.dpo.check()?;
        self.check_lora()?;
        self.rl.check()?;
        self.check_estimator()?;
        self.check_rewards()?;
        self.check_numbers()
    }

    fn optimizers(&self) -> [(&'static str, &AdamConfig); 4] {
        [("sft", &self.sft.adam), ("prm", &self.prm.adam), ("dpo", &self.dpo.adam), ("rl", &self.rl.adam)]
    }

    /// Refuses an order of stages in which one would find nothing, or undo what an earlier one did.
    fn check_stages(&self) -> Result<()> {
        let refuse = |message: String| Err(Error::config("stages", message));
        if self.stages.is_empty() {
            return refuse("names no stage; a run is one or more of sft, prm, dpo, rl, eval".into());
        }
        let place = |stage: Stage| self.stages.iter().position(|&other| other == stage);
        if let Some((_, twice)) = self.stages.iter().enumerate().find(|(at, stage)| place(**stage) != Some(*at)) {
            return refuse(format!("names `{}` twice; each stage has one folder in a run", twice.name()));
        }
        let asks_first =
            self.stages.iter().take_while(|&&stage| stage != Stage::Prm).find(|stage| stage.asks_rewards());
        match (asks_first, self.reward_model.iter().find(|model| model.path.is_none())) {
            (Some(stage), Some(model)) if self.stages.contains(&Stage::Prm) => refuse(format!(
                "`{}` asks the reward model `{}` before `prm` has made it: put `prm` first",
                stage.name(),
                model.name
            )),
            _ => Ok(()),
        }
    }

    /// Estimators that need rewards of a certain kind.
    fn check_estimator(&self) -> Result<()> {
        let (needed, name) = match self.rl.adv_estimator {
            AdvEstimator::Gdpo => (Combine::NormalizeThenSum, "normalize_then_sum"),
            AdvEstimator::PerStep => (Combine::WeightedSum, "weighted_sum"),
            _ => return Ok(()),
        };
        match self.rubric.combine == needed {
            true => Ok(()),
            false => Err(Error::config("rl.adv_estimator", format!("needs `rubric.combine` = \"{name}\""))),
        }
    }

    fn check_lora(&self) -> Result<()> {
        let Some(lora) = self.lora() else { return Ok(()) };
        if !(lora.alpha.is_finite() && lora.alpha > 0.0) {
            return Err(Error::config("lora_alpha", "must be a number above 0"));
        }
        if lora.rank > LORA_RANK_MAX {
            return Err(Error::config("lora_rank", format!("must be at most {LORA_RANK_MAX}")));
        }
        match lora.train_attn || lora.train_mlp || lora.train_unembed {
            true => Ok(()),
            false => Err(Error::config(
                "lora_rank",
                "needs `train_attn`, `train_mlp` or `train_unembed`: nothing is trained",
            )),
        }
    }

    fn check_rewards(&self) -> Result<()> {
        let models = self.reward_model.iter();
        let mut names: Vec<&str> = self.reward.iter().map(|reward| reward.name.as_str()).collect();
        names.extend(models.clone().map(|model| model.name.as_str()));
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::config(
                "reward",
                format!("two rewards are called `{}`; metrics need one name each", twice[0]),
            ));
        }
        if let Some(name) = self.eval.graded_by.as_ref().filter(|name| !names.contains(&name.as_str())) {
            return Err(Error::config("eval.graded_by", no_reward(name, &names)));
        }
        for reward in &self.reward {
            reward.weight.check(&format!("reward.{}.weight", reward.name))?;
            reward.on_fault.unwrap_or_default().check(&format!("reward.{}.on_fault", reward.name))?;
        }
        for model in models {
            let key = |name: &str| format!("reward_model.{}.{name}", model.name);
            model.weight.check(&key("weight"))?;
            model.on_fault.unwrap_or_default().check(&key("on_fault"))?;
            if let Some(fallback) = &model.fallback {
                let plugins: Vec<&str> = self.reward.iter().map(|reward| reward.name.as_str()).collect();
                if !plugins.contains(&fallback.as_str()) {
                    return Err(Error::config(key("fallback"), no_reward(fallback, &plugins)));
                }
            }
        }
        Ok(self.rubric.check()?)
    }
}

/// What to say of a reward's name that none has.
pub(super) fn no_reward(name: &str, names: &[&str]) -> String {
    match names {
        [] => format!("there is no reward `{name}`: the config has no [[reward]]"),
        names => format!("there is no reward `{name}`; the config has {}", names.join(", ")),
    }
}

fn check_sampling(stage: &str, sampling: &Sampling) -> Result<()> {
    if !sampling.temperature.is_finite() || sampling.temperature < 0.0 {
        return Err(Error::config(format!("{stage}.temperature"), "must be a number of at least 0"));
    }
    if !(sampling.top_p > 0.0 && sampling.top_p <= 1.0) {
        return Err(Error::config(format!("{stage}.top_p"), "must be above 0 and at most 1"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::LossFnConfig;
    use super::*;
    use crate::loss::{LossAggMode, LossFn};
    use rewarden_runtime::OnFault;

    #[track_caller]
    fn check(text: &str, overrides: &[&str], expected: &str) {
        let overrides: Vec<String> = overrides.iter().map(|&o| o.to_owned()).collect();
        let error = RunConfig::parse(Path::new("a.toml"), text, &overrides).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    const MINIMAL: &str = "log_path = \"runs/x\"\n";

    #[test]
    fn bad_configs_name_the_key() {
        check("", &[], "missing field `log_path`");
        check("log_path = 3", &[], "a.toml");
        check("log_path = \"x\"\n[rl]\ngroup_sise = 4\n", &[], "unknown field `group_sise`");
        check("log_path = \"x\"\n[sft]\nlr = 4\n", &[], "3 | lr = 4");
        check(MINIMAL, &["rl.group_size=0"], "`rl.group_size`: must be at least 1");
        check(MINIMAL, &["rl.group_sise=4"], "unknown field `group_sise`");
        check(MINIMAL, &["rl.max_token=4"], "unknown field `max_token`");
        check(MINIMAL, &["seed"], "takes key=value");
        check(MINIMAL, &["seed.x=1"], "`seed`");
        check(MINIMAL, &["rl.temperature=-1"], "`rl.temperature`");
        check(MINIMAL, &["rl.stop=['']"], "`rl.stop`: an empty text");
        check(MINIMAL, &["eval.k=[9]"], "pass@9 needs");
        check(MINIMAL, &["eval.temperature=0"], "`eval.num_samples`: with `eval.temperature` = 0");
        check(MINIMAL, &["eval.data.arithmetic.number_max=0"], "`eval.data.arithmetic.number_max`");
        check(MINIMAL, &["eval.data.paht=x"], "did you mean `path`?");
        check(MINIMAL, &["sft.warmup_ratio=2"], "`sft.warmup_ratio`: must be between 0 and 1");
        check(MINIMAL, &["rl={warmup_steps=3, warmup_ratio=0.1}"], "`rl.warmup_ratio`: set either");
        check(MINIMAL, &["dpo.learning_rate=-1"], "`dpo.learning_rate`");
        check(MINIMAL, &["sft.lr_schedule=cosin"], "did you mean `cosine`?");
        check(MINIMAL, &["lora_rank=4", "lora_alpha=0"], "`lora_alpha`");
        check(MINIMAL, &["lora_rank=99999"], "`lora_rank`: must be at most");
        check(
            MINIMAL,
            &["lora_rank=4", "train_attn=false", "train_mlp=false", "train_unembed=false"],
            "nothing is trained",
        );
        check(MINIMAL, &["lora_rang=4"], "unknown field `lora_rang`");
        check(MINIMAL, &["rl.loss_fn=ppoo"], "did you mean `ppo`?");
        check("log_path = \"x\"\n[rl]\nloss_agg_mode = \"token_mean\"\n", &[], "did you mean `token-mean`?");
        check(MINIMAL, &["rl.adv_estimator=reinforce++"], "`reinforce_plus_plus`");
        check(MINIMAL, &["rl.kl_estimator=k4"], "`k3`");
        check(MINIMAL, &["data.arithmetic.number_max=0"], "`data.arithmetic.number_max`");
        for path in ["", ".", "..", "/", "runs/.."] {
            check(MINIMAL, &[&format!("log_path={path}")], "`log_path`: must name a folder of the run's own");
        }
    }

    #[test]
    fn runs_that_do_nothing_are_refused() {
        check(MINIMAL, &["stages=[]"], "`stages`: names no stage");
        check(MINIMAL, &["stages=['sft', 'rl', 'sft']"], "`stages`: names `sft` twice");
        for stage in ["sft", "prm", "dpo"] {
            check(
                MINIMAL,
                &[&format!("{stage}.max_steps=0")],
                &format!("`{stage}.max_steps`: must be at least 1; leave"),
            );
        }
        check(MINIMAL, &["rl.max_steps=0"], "`rl.max_steps`: must be at least 1");
        let trained = ["reward_model=[{ name = 'judge' }]"];
        check(MINIMAL, &[trained[0], "stages=['rl', 'prm']"], "`rl` asks the reward model `judge` before `prm`");
        check(MINIMAL, &[trained[0], "stages=['sft', 'eval', 'prm', 'rl']"], "`eval` asks the reward model `judge`");
        for fine in
            [[trained[0], "stages=['prm', 'rl']"], [trained[0], "stages=['rl']"], ["seed=1", "stages=['rl', 'prm']"]]
        {
            RunConfig::parse(Path::new("a.toml"), MINIMAL, &fine.map(str::to_owned)).unwrap();
        }
    }

    #[test]
    fn runs_that_cannot_learn_are_refused() {
        check(MINIMAL, &["rl.temperature=0"], "`rl.temperature`: must be above 0");
        for estimator in ["grpo", "mean_center", "rloo"] {
            let estimator = format!("rl.adv_estimator={estimator}");
            check(MINIMAL, &[&estimator, "rl.group_size=1"], "`rl.group_size`: must be at least 2");
        }
        check(
            MINIMAL,
            &["rubric.combine=normalize_then_sum", "rl.adv_estimator=gdpo", "rl.group_size=1"],
            "`rl.group_size`",
        );
        let alone = ["rl.adv_estimator=reinforce_plus_plus", "rl.group_size=1"].map(str::to_owned);
        RunConfig::parse(Path::new("a.toml"), MINIMAL, &alone).unwrap();
    }

    #[test]
    fn keys_that_would_be_ignored_are_refused() {
        for setting in ["test_path=nope.jsonl", "test_size=5", "max_examples=5", "data_source=x"] {
            let key = setting.split('=').next().unwrap();
            for table in ["data", "prm.data", "eval.data"] {
                let overrides = [&format!("{table}.arithmetic.train_size=50"), &format!("{table}.{setting}")];
                check(MINIMAL, &overrides.map(String::as_str), &format!("`{table}.{key}`: is about rows of a file"));
            }
        }
        check(MINIMAL, &["rl.kl_reference=nowhere"], "`rl.kl_reference`: nothing is charged");
    }

    #[test]
    fn bad_losses_name_the_key() {
        check(
            MINIMAL,
            &["rl.loss_fn_config.clip_low_threshold=0.9"],
            "`rl.loss_fn` = \"importance_sampling\" has no bounds",
        );
        let ppo = |setting: &'static str| ["rl.loss_fn=ppo", setting];
        check(MINIMAL, &ppo("rl.loss_fn_config.clip_low_threshold=-1"), "`rl.loss_fn_config.clip_low_threshold`: -1");
        check(MINIMAL, &ppo("rl.loss_fn_config={clip_low_threshold=2.0, clip_high_threshold=1.0}"), "2 is above");
        check(MINIMAL, &ppo("rl.loss_fn_config.clip_ratio_c=0.5"), "must be above 1");
        check(MINIMAL, &ppo("rl.loss_fn_config.clip_ratio=2"), "did you mean `clip_ratio_c`?");
        check(MINIMAL, &["rl.loss_fn=cispo", "rl.loss_fn_config.clip_ratio_c=3"], "`cispo` does not clip its loss");
        check(MINIMAL, &["rl.num_substeps=0"], "`rl.num_substeps`: must be between 1 and `rl.groups_per_batch` = 16");
        check(MINIMAL, &["rl.num_substeps=17"], "`rl.num_substeps`");
        check(MINIMAL, &["rl.max_num_gen_batches=0"], "`rl.max_num_gen_batches`: must be at least 1");
        check(MINIMAL, &["rl.overlong_buffer_len=257"], "`rl.overlong_buffer_len`: must not exceed");
        check(MINIMAL, &["rl.kl_penalty_coef=-0.1"], "`rl.kl_penalty_coef`: must be a number of at least 0");
        check(MINIMAL, &["rl.entropy_coef=nan"], "`rl.entropy_coef`: must be a number");
        check(MINIMAL, &["rl.step_separator="], "`rl.step_separator`: must not be empty");
        check(MINIMAL, &["rl.adv_estimator=gdpo"], "needs `rubric.combine` = \"normalize_then_sum\"");
        check(
            MINIMAL,
            &["rl.adv_estimator=per_step", "rubric.combine=min"],
            "needs `rubric.combine` = \"weighted_sum\"",
        );
        check(MINIMAL, &["rl.adv_estimator=rloo", "rl.norm_adv_by_std=true"], "`rl.norm_adv_by_std`: only");
    }

    /// What `rl.loss_fn` and further settings resolve to: least and largest ratio, mean, division by the deviation.
    #[track_caller]
    fn check_resolved(overrides: &[&str], clip: (Option<f64>, Option<f64>), mean: LossAggMode, divides: bool) {
        let overrides: Vec<String> = overrides.iter().map(|&o| o.to_owned()).collect();
        let rl = RunConfig::parse(Path::new("a.toml"), MINIMAL, &overrides).unwrap().rl;
        let LossFnConfig { clip_low_threshold: low, clip_high_threshold: high, .. } = rl.loss_fn_config;
        assert_eq!((low, high), clip, "{overrides:?}");
        assert_eq!((rl.loss_agg_mode, rl.norm_adv_by_std), (Some(mean), Some(divides)), "{overrides:?}");
        assert_eq!(rl.divides_by_deviation(), divides);
    }

    #[test]
    fn a_loss_brings_its_papers_settings() {
        use LossAggMode::*;
        let usual = (Some(0.8), Some(1.2));
        check_resolved(&[], (None, None), TokenMean, false);
        check_resolved(&["rl.loss_fn=reinforce"], (None, None), TokenMean, false);
        check_resolved(&["rl.loss_fn=ppo"], usual, TokenMean, false);
        check_resolved(&["rl.loss_fn=cispo"], (Some(0.0), Some(4.0)), TokenMean, false);
        check_resolved(&["rl.loss_fn=grpo"], usual, SeqMeanTokenMean, true);
        check_resolved(&["rl.loss_fn=dr_grpo"], usual, SeqMeanTokenSumNorm, false);
        check_resolved(&["rl.loss_fn=dapo"], (Some(0.8), Some(1.28)), TokenMean, true);
        check_resolved(&["rl.loss_fn=gspo"], (Some(0.9997), Some(1.0004)), SeqMeanTokenMean, true);
        check_resolved(&["rl.loss_fn=grpo", "rl.adv_estimator=rloo"], usual, SeqMeanTokenMean, false);
        let normalised = ["rl.loss_fn=grpo", "rubric.combine=normalize_then_sum"];
        check_resolved(&normalised, usual, SeqMeanTokenMean, false);
        let chosen = ["rl.loss_fn=grpo", "rl.loss_fn_config.clip_high_threshold=1.5", "rl.loss_agg_mode=token-sum"];
        check_resolved(&chosen, (Some(0.8), Some(1.5)), TokenSum, true);
    }

    #[test]
    fn bad_rubrics_name_the_key() {
        let reward = |line: &str| format!("{MINIMAL}[[reward]]\nname = \"a\"\nplugin = \"x\"\n{line}\n");
        check(&reward("weight = nan"), &[], "`reward.a.weight`: must be a finite number");
        check(&reward("weight = [[5, 1.0], [5, 2.0]]"), &[], "`reward.a.weight`: must have rising steps");
        check(&reward("weight = []"), &[], "`reward.a.weight`: is a schedule without points");
        check(&reward("weight = \"high\""), &[], "5 | weight = \"high\"");
        check(&reward("weight = [1.0, 2.0]"), &[], "[[0, 1.0], [100, 0.2]]");
        check(&reward("on_fault = { fixed = inf }"), &[], "`reward.a.on_fault`");
        check(&reward("on_fault = \"retry\""), &[], "unknown variant `retry`");
        check(&reward("priority = 0.5"), &[], "5 | priority = 0.5");
        check(MINIMAL, &["on_fault=skip_sample"], "unknown field `on_fault`");
        check(MINIMAL, &["rubric.combine=sum"], "unknown variant `sum`");
        check(MINIMAL, &["rubric.mode=min"], "unknown field `mode`");
        check(MINIMAL, &["rubric.gate_threshold=nan"], "`rubric.gate_threshold`");
        check(MINIMAL, &["rubric.quarantine_after=0"], "`rubric.quarantine_after`: must be at least 1");
        check(MINIMAL, &["rubric.quarantine_after=-1"], "quarantine_after");
        check(&reward(""), &["eval.graded_by=b"], "`eval.graded_by`: there is no reward `b`; the config has a");
        check(MINIMAL, &["rubric.fault_budget=-1"], "fault_budget");
        let fallback = "reward_model=[{ name = 'prm', fallback = 'rule' }]";
        let none = "config key `reward_model.prm.fallback`: there is no reward `rule`: the config has no [[reward]]";
        check(MINIMAL, &[fallback], none);
        check(
            &reward(""),
            &[fallback],
            "config key `reward_model.prm.fallback`: there is no reward `rule`; the config has a",
        );
    }

    #[test]
    fn overrides_reach_nested_keys() {
        let overrides = ["seed=7", "rl.loss_fn=reinforce", "data.path=a b.jsonl", "rl.top_k=50"].map(String::from);
        let config = RunConfig::parse(Path::new("a.toml"), MINIMAL, &overrides).unwrap();
        assert_eq!((config.seed, config.rl.loss_fn), (7, LossFn::Reinforce));
        assert_eq!((config.data.path, config.rl.top_k), (Some("a b.jsonl".into()), 50));
    }

    #[test]
    fn adapters_are_the_default_of_models_worth_keeping() {
        for (overrides, rank) in [
            (vec![], 0),
            (vec!["lora_rank=8"], 8),
            (vec!["model_name=a/b"], 32),
            (vec!["model_name=a/b", "lora_rank=0"], 0),
        ] {
            let overrides: Vec<String> = overrides.into_iter().map(str::to_owned).collect();
            let config = RunConfig::parse(Path::new("a.toml"), MINIMAL, &overrides).unwrap();
            assert_eq!(config.lora_rank, Some(rank), "{overrides:?}");
            assert_eq!(config.lora().map_or(0, |lora| lora.rank), rank);
        }
    }

    #[test]
    fn a_resolved_config_reads_back_as_itself() {
        let config = RunConfig::parse(Path::new("a.toml"), MINIMAL, &[]).unwrap();
        let again = RunConfig::parse(Path::new("b.toml"), &config.to_toml().unwrap(), &[]).unwrap();
        assert_eq!(config, again);
    }

    #[test]
    fn a_mixture_reads_back_as_itself() {
        let text = format!(
            "{MINIMAL}[data]\npath = \"a.jsonl\"\n[[data.mix]]\npath = \"b.parquet\"\nratio = 0.5\nmax_examples = 9\n\
             data_source = \"b\"\n[[data.mix]]\npath = \"c.jsonl\"\n"
        );
        let config = RunConfig::parse(Path::new("a.toml"), &text, &[]).unwrap();
        assert_eq!(config.data.mix.iter().map(|mix| mix.ratio).collect::<Vec<_>>(), [0.5, 1.0]);
        let again = RunConfig::parse(Path::new("b.toml"), &config.to_toml().unwrap(), &[]).unwrap();
        assert_eq!(config, again);
        check(&text.replace("0.5", "0"), &[], "`data.mix.0.ratio`: must be above 0");
    }

    #[test]
    fn a_whole_rubric_reads_back_as_itself() {
        let text = format!(
            "{MINIMAL}[rubric]\ncombine = \"normalize_then_sum\"\non_fault = {{ fixed = -1 }}\nfault_budget = 100\n\
             quarantine_after = 8\n[[reward]]\nname = \"a\"\nplugin = \"x\"\nweight = [[0, 1], [100, 0.2]]\n\
             priority = -3\ndata_source = [\"gsm8k\"]\non_fault = \"skip_group\"\n[[reward]]\nname = \"b\"\n\
             plugin = \"y\"\nweight = 2\n"
        );
        let config = RunConfig::parse(Path::new("a.toml"), &text, &[]).unwrap();
        assert_eq!(
            (config.rubric.on_fault, config.reward[0].on_fault),
            (OnFault::Fixed(-1.0), Some(OnFault::SkipGroup))
        );
        assert_eq!((config.reward[0].weight.at(50), config.reward[1].weight.at(50)), (0.6, 2.0));
        let again = RunConfig::parse(Path::new("b.toml"), &config.to_toml().unwrap(), &[]).unwrap();
        assert_eq!(config, again);
    }
}
