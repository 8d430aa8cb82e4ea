//! A grader's factor in the reward: one number, or a course over the training steps.

use serde::{Deserialize, Serialize};

use crate::Error;

/// A grader's factor in the reward: a number, or a schedule over training steps.
///
/// Plain data, `Send + Sync`. In TOML `weight = 0.5`, or `weight = [[0, 1.0], [100, 0.2]]`: linear between the points,
/// constant before the first and after the last. A grader whose weight is 0 at a step is a metric at that step: it is
/// asked and logged, and nothing it answers changes a reward.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a weight is a number, or a list of [step, weight] pairs such as [[0, 1.0], [100, 0.2]]")]
pub enum Weight {
    /// The same at every step.
    Constant(f64),
    /// Points of (step, weight), steps rising.
    Schedule(Vec<(u32, f64)>),
}

impl Default for Weight {
    fn default() -> Weight {
        Weight::Constant(1.0)
    }
}

impl From<f64> for Weight {
    fn from(weight: f64) -> Weight {
        Weight::Constant(weight)
    }
}

impl Weight {
    /// The weight in force at a training step.
    pub fn at(&self, step: u32) -> f64 {
        let points = match self {
            Weight::Constant(weight) => return *weight,
            Weight::Schedule(points) => points,
        };
        let after = points.partition_point(|(at, _)| *at <= step);
        match (after.checked_sub(1).map(|before| points[before]), points.get(after)) {
            (Some((_, weight)), None) | (None, Some(&(_, weight))) => weight,
            (Some((start, from)), Some(&(end, to))) => {
                from + (to - from) * (f64::from(step - start) / f64::from(end - start))
            }
            (None, None) => 0.0, // no points: `check` refuses that
        }
    }

    /// Refuses a weight that cannot be computed with; the error names `key`.
    pub fn check(&self, key: &str) -> Result<(), Error> {
        let refuse = |reason: &str| Err(Error::Rubric { key: key.to_owned(), reason: reason.to_owned() });
        match self {
            Weight::Constant(weight) if !weight.is_finite() => refuse("must be a finite number"),
            Weight::Constant(_) => Ok(()),
            Weight::Schedule(points) if points.is_empty() => {
                refuse("is a schedule without points; write a number, or pairs such as [[0, 1.0], [100, 0.2]]")
            }
            Weight::Schedule(points) if points.iter().any(|(_, weight)| !weight.is_finite()) => {
                refuse("must have a finite number as the second of each pair")
            }
            // Nor may the way from one to the next be too long for a number.
            Weight::Schedule(points) if points.windows(2).any(|pair| !(pair[1].1 - pair[0].1).is_finite()) => {
                refuse("has points whose weights lie too far apart")
            }
            Weight::Schedule(points) if points.windows(2).any(|pair| pair[0].0 >= pair[1].0) => {
                refuse("must have rising steps: the first of each pair above the one before it")
            }
            Weight::Schedule(_) => Ok(()),
        }
    }

    /// Whether it is 0 at every step.
    pub(super) fn is_never_counted(&self) -> bool {
        match self {
            Weight::Constant(weight) => *weight == 0.0,
            Weight::Schedule(points) => points.iter().all(|(_, weight)| *weight == 0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(weight: &str, at: &[(u32, f64)]) {
        let weight: Weight = serde_json::from_str(weight).unwrap();
        weight.check("weight").unwrap();
        for &(step, expected) in at {
            assert_eq!(weight.at(step), expected, "{weight:?} at step {step}");
        }
        let written = serde_json::to_string(&weight).unwrap();
        assert_eq!(serde_json::from_str::<Weight>(&written).unwrap(), weight);
    }

    #[test]
    fn weights_follow_their_course() {
        check("0.5", &[(0, 0.5), (u32::MAX, 0.5)]);
        check("1", &[(7, 1.0)]);
        check("[[5, 2.0]]", &[(0, 2.0), (5, 2.0), (6, 2.0)]);
        check("[[0, 1.0], [100, 0.0]]", &[(0, 1.0), (25, 0.75), (50, 0.5), (100, 0.0), (101, 0.0)]);
        check("[[10, 0], [12, 1], [20, -1]]", &[(0, 0.0), (10, 0.0), (11, 0.5), (12, 1.0), (16, 0.0), (30, -1.0)]);
        check("[[0, 0.1], [3, 0.1]]", &[(1, 0.1), (2, 0.1)]);
        check("[[0, 0.0], [4294967295, 1.0]]", &[(0, 0.0), (u32::MAX, 1.0)]);
    }

    #[track_caller]
    fn check_refused(weight: Weight, expected: &str) {
        let error = weight.check("reward.a.weight").unwrap_err().to_string();
        assert!(error.contains("`reward.a.weight`") && error.contains(expected), "{error}");
    }

    #[test]
    fn weights_that_cannot_be_computed_with_are_refused() {
        check_refused(f64::NAN.into(), "finite");
        check_refused(f64::INFINITY.into(), "finite");
        check_refused(Weight::Schedule(vec![]), "without points");
        check_refused(Weight::Schedule(vec![(0, 1.0), (5, f64::NAN)]), "finite");
        check_refused(Weight::Schedule(vec![(5, 1.0), (0, 2.0)]), "rising steps");
        check_refused(Weight::Schedule(vec![(5, 1.0), (5, 2.0)]), "rising steps");
        check_refused(Weight::Schedule(vec![(0, f64::MAX), (5, f64::MIN)]), "too far apart");
    }

    #[test]
    fn other_shapes_are_refused_with_an_example() {
        for text in ["\"high\"", "[1, 2]", "[[1]]", "[[-1, 1.0]]", "{}", "null"] {
            let error = serde_json::from_str::<Weight>(text).unwrap_err().to_string();
            assert!(error.contains("[[0, 1.0], [100, 0.2]]"), "{text}: {error}");
        }
    }
}
