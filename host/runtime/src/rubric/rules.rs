//! What a run decides about its graders as a whole: how their answers become one reward, and what a fault costs.

use serde::{Deserialize, Serialize};

use crate::Error;

/// How graders' answers become one reward, and what faults do to the run: the `[rubric]` table of a config.
///
/// Plain data, `Copy`, `Send + Sync`. Unknown keys are errors when it is read from a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RubricRules {
    /// How the answers become one number. Default `weighted_sum`.
    pub combine: Combine,
    /// With `combine = "gate"`: the value a gate must reach to be open. Default 1.
    pub gate_threshold: f64,
    /// What a fault does, for graders that do not say it themselves. Default `skip_sample`.
    pub on_fault: OnFault,
    /// Faults of all graders together after which the next one stops the stage; none is no limit, the default. A
    /// quarantined plugin's answers count too: quarantine saves time, it does not hide failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault_budget: Option<u64>,
    /// A plugin that faulted on this many samples in a row is not called any more; none, the default, always calls it.
    /// Samples are counted in their order, and a batch that is under way is finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantine_after: Option<u32>,
}

/// How the graders' answers to one sample become one number. A grader of weight 0, one that is not asked and one that
/// answers `none` have no part in it; without any part there is no reward.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// The sum of weight times value.
    #[default]
    WeightedSum,
    /// The weighted sum behind gates. Every weighted grader whose priority is above the lowest of the weighted ones is
    /// a gate: where its value is below [`RubricRules::gate_threshold`] the reward is 0 and graders of lower priority are
    /// not called. A gate that answers `none` is open; one that faults keeps later graders from being called.
    Gate,
    /// The product of weight times value.
    Product,
    /// The least of weight times value.
    Min,
    /// GDPO (arXiv 2601.05242): each grader's values are z-scored within their group, then summed by weight, then the
    /// batch is divided by its deviation. What people read stays the weighted sum.
    NormalizeThenSum,
}

/// What a grader's fault does to the reward of its sample. A grader of weight 0 can only `fail_run`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFault {
    /// The sample is logged and has no reward.
    #[default]
    SkipSample,
    /// No sample of its group has a reward.
    SkipGroup,
    /// This number stands in for the value. The logs still show the fault.
    Fixed(f64),
    /// The run stops.
    FailRun,
}

impl Default for RubricRules {
    fn default() -> RubricRules {
        RubricRules {
            combine: Combine::default(),
            gate_threshold: 1.0,
            on_fault: OnFault::default(),
            fault_budget: None,
            quarantine_after: None,
        }
    }
}

impl RubricRules {
    /// Refuses rules that cannot work; the error names the key below `rubric`.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |key: &str, reason: &str| Err(Error::Rubric { key: key.to_owned(), reason: reason.to_owned() });
        if !self.gate_threshold.is_finite() {
            return refuse("rubric.gate_threshold", "must be a finite number");
        }
        if self.quarantine_after == Some(0) {
            return refuse("rubric.quarantine_after", "must be at least 1; leave it out to always call the plugin");
        }
        self.on_fault.check("rubric.on_fault")
    }
}

impl OnFault {
    /// Refuses a fixed value that is no number; the error names `key`.
    pub fn check(&self, key: &str) -> Result<(), Error> {
        match self {
            OnFault::Fixed(value) if !value.is_finite() => {
                Err(Error::Rubric { key: key.to_owned(), reason: "must fix a finite number".into() })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rules: RubricRules, expected: &str) {
        let error = rules.check().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn rules_that_cannot_work_are_refused() {
        let default = RubricRules::default();
        default.check().unwrap();
        check(RubricRules { gate_threshold: f64::NAN, ..default }, "`rubric.gate_threshold`");
        check(RubricRules { quarantine_after: Some(0), ..default }, "`rubric.quarantine_after`: must be at least 1");
        check(RubricRules { on_fault: OnFault::Fixed(f64::INFINITY), ..default }, "`rubric.on_fault`");
    }

    #[test]
    fn policies_are_written_as_in_a_config() {
        for (text, expected) in [
            (r#""skip_sample""#, OnFault::SkipSample),
            (r#""skip_group""#, OnFault::SkipGroup),
            (r#"{"fixed":-1.0}"#, OnFault::Fixed(-1.0)),
            (r#""fail_run""#, OnFault::FailRun),
        ] {
            assert_eq!(serde_json::from_str::<OnFault>(text).unwrap(), expected);
            assert_eq!(serde_json::to_string(&expected).unwrap(), text);
        }
    }
}
