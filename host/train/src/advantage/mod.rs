//! Advantages: how much better each trajectory, or each step of one, did than could be expected. A trajectory that could
//! not be judged (`None`) has no part in any mean and gets `None`.

mod steps;

pub(crate) use steps::{last_tokens, split_steps, step_ends, step_returns};

/// Keeps a group of equal rewards from dividing by zero; verl's number.
const EPSILON: f64 = 1e-6;

/// `A = R - mean(R)` of the group, without division by the deviation (tinker, nanochat, Dr. GRPO).
pub fn mean_centred(rewards: &[Option<f64>]) -> Vec<Option<f64>> {
    let judged = || rewards.iter().flatten();
    let mean = judged().sum::<f64>() / judged().count() as f64;
    rewards.iter().map(|reward| reward.map(|reward| reward - mean)).collect()
}

/// `A = (R - mean(R)) / std(R)` of the group, with the sample deviation (GRPO, arXiv 2402.03300; verl).
pub fn group_normalised(rewards: &[Option<f64>]) -> Vec<Option<f64>> {
    let deviation = deviation(rewards.iter().flatten().copied());
    mean_centred(rewards).into_iter().map(|centred| Some(centred? / (deviation + EPSILON))).collect()
}

/// `A = R - mean of the others' R` in the group (RLOO, arXiv 2402.14740). Alone in its group, a trajectory is as good as
/// expected.
pub fn leave_one_out(rewards: &[Option<f64>]) -> Vec<Option<f64>> {
    let judged = rewards.iter().flatten().count() as f64;
    let scale = if judged > 1.0 { judged / (judged - 1.0) } else { 1.0 };
    mean_centred(rewards).into_iter().map(|centred| Some(centred? * scale)).collect()
}

/// Brings the advantages of all tokens of a batch to mean 0 and deviation 1 (REINFORCE++, arXiv 2501.03262).
pub fn whiten(batch: &mut [&mut Vec<f64>]) {
    let values: Vec<f64> = batch.iter().flat_map(|tokens| tokens.iter().copied()).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let scale = 1.0 / (deviation(values.into_iter()).powi(2) + 1e-8).sqrt();
    batch.iter_mut().flat_map(|tokens| tokens.iter_mut()).for_each(|value| *value = (*value - mean) * scale);
}

/// What an answer of `length` tokens loses when it ends within the last `buffer` tokens before `most` (the soft overlong
/// punishment of DAPO, arXiv 2503.14476): nothing at the buffer's start, `factor` at its end, in a straight line.
pub fn overlong_penalty(length: usize, most: usize, buffer: usize, factor: f64) -> f64 {
    let exceeded = (length + buffer).saturating_sub(most);
    if exceeded == 0 { 0.0 } else { -(exceeded as f64 / buffer as f64) * factor }
}

/// Whether all judged rewards are equal, so that the group teaches nothing.
pub fn is_constant(rewards: &[Option<f64>]) -> bool {
    let mut judged = rewards.iter().flatten();
    judged.next().is_none_or(|first| judged.all(|reward| reward == first))
}

/// The sample deviation (n - 1); equal values deviate by 0 exactly, and so does one alone.
fn deviation(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count;
    if values.clone().zip(values.clone().skip(1)).all(|(one, next)| one == next) {
        return 0.0;
    }
    (values.map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(estimate: impl Fn(&[Option<f64>]) -> Vec<Option<f64>>, rewards: &[Option<f64>], expected: &[Option<f64>]) {
        let got = estimate(rewards);
        let close = |(got, expected): (&Option<f64>, &Option<f64>)| match (got, expected) {
            (Some(got), Some(expected)) => (got - expected).abs() < 1e-5,
            (got, expected) => got == expected,
        };
        assert!(got.len() == expected.len() && got.iter().zip(expected).all(close), "{got:?}, not {expected:?}");
    }

    #[test]
    fn advantages_are_relative_to_the_judged() {
        check(mean_centred, &[Some(1.0), Some(0.0)], &[Some(0.5), Some(-0.5)]);
        check(mean_centred, &[Some(1.0), None, Some(0.5)], &[Some(0.25), None, Some(-0.25)]);
        check(mean_centred, &[Some(2.0), Some(2.0)], &[Some(0.0), Some(0.0)]);
        check(mean_centred, &[None, None], &[None, None]);
        check(mean_centred, &[], &[]);
        // Deviation of 1, 0: sqrt(0.5).
        check(group_normalised, &[Some(1.0), None, Some(0.0)], &[Some(0.707_105_8), None, Some(-0.707_105_8)]);
        check(group_normalised, &[Some(0.1), Some(0.1), Some(0.1)], &[Some(0.0), Some(0.0), Some(0.0)]);
        check(group_normalised, &[Some(3.0), None], &[Some(0.0), None]);
        check(leave_one_out, &[Some(1.0), Some(0.0), Some(0.5), None], &[Some(0.75), Some(-0.75), Some(0.0), None]);
        check(leave_one_out, &[Some(3.0), None], &[Some(0.0), None]);
    }

    #[test]
    fn whitened_tokens_have_mean_0_and_deviation_1() {
        let (mut one, mut other) = (vec![1.0, 1.0], vec![0.0]);
        whiten(&mut [&mut one, &mut other]);
        // Mean 2/3, variance 1/3.
        let root = (1.0f64 / 3.0).sqrt();
        assert!((one[0] - (1.0 / 3.0) / root).abs() < 1e-6 && (other[0] + (2.0 / 3.0) / root).abs() < 1e-6);
        let mut equal = vec![0.25; 3];
        whiten(&mut [&mut equal]);
        assert_eq!(equal, [0.0; 3]);
    }

    #[derive(serde::Deserialize)]
    struct Fixture {
        advantages: Vec<Vec<f64>>,
        whitened: Vec<Vec<f64>>,
        estimators: Vec<Case>,
        by_step: BySteps,
    }

    #[derive(serde::Deserialize)]
    struct Case {
        rewards: Vec<f64>,
        mean_center: Vec<f64>,
        grpo: Vec<f64>,
        rloo: Vec<f64>,
    }

    #[derive(serde::Deserialize)]
    struct BySteps {
        rewards: Vec<Vec<f64>>,
        centred: Vec<Vec<f64>>,
        divided: Vec<Vec<f64>>,
    }

    /// What PyTorch says (fixtures/make_losses.py).
    #[test]
    fn estimators_equal_pytorch() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/losses.json");
        let fixture: Fixture = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let some = |values: &[f64]| values.iter().copied().map(Some).collect::<Vec<_>>();
        for case in &fixture.estimators {
            check(mean_centred, &some(&case.rewards), &some(&case.mean_center));
            check(group_normalised, &some(&case.rewards), &some(&case.grpo));
            check(leave_one_out, &some(&case.rewards), &some(&case.rloo));
        }
        let mut tokens = fixture.advantages.clone();
        whiten(&mut tokens.iter_mut().collect::<Vec<_>>());
        check(|_| some(&tokens.concat()), &[], &some(&fixture.whitened.concat()));
        for (divides, expected) in [(false, &fixture.by_step.centred), (true, &fixture.by_step.divided)] {
            let returns = step_returns(&fixture.by_step.rewards, divides).concat();
            check(|_| some(&returns), &[], &some(&expected.concat()));
        }
    }

    #[test]
    fn long_answers_lose_in_a_straight_line() {
        for (length, expected) in [(0, 0.0), (80, 0.0), (81, -0.1), (90, -1.0), (100, -2.0)] {
            let penalty = overlong_penalty(length, 100, 20, 2.0);
            assert!((penalty - expected).abs() < 1e-12, "{length}: {penalty}");
        }
        assert_eq!(overlong_penalty(100, 100, 0, 1.0), 0.0, "no buffer, no penalty");
    }

    #[test]
    fn constant_groups_are_seen() {
        for (rewards, expected) in [
            (vec![], true),
            (vec![None, Some(1.0)], true),
            (vec![Some(1.0), Some(1.0)], true),
            (vec![Some(1.0), None, Some(0.0)], false),
        ] {
            assert_eq!(is_constant(&rewards), expected, "{rewards:?}");
        }
    }
}
