//! Advantages: how much better each trajectory of a group did than its group.

/// `A = R - mean(R)`, without division by the deviation (tinker, nanochat, Dr. GRPO). A trajectory that could not be
/// judged (`None`) has no part in the mean and gets `None`.
pub fn mean_centred(rewards: &[Option<f64>]) -> Vec<Option<f64>> {
    let judged = || rewards.iter().flatten();
    let mean = judged().sum::<f64>() / judged().count() as f64;
    rewards.iter().map(|reward| reward.map(|reward| reward - mean)).collect()
}

/// Whether all judged rewards are equal, so that the group teaches nothing.
pub fn is_constant(rewards: &[Option<f64>]) -> bool {
    let mut judged = rewards.iter().flatten();
    judged.next().is_none_or(|first| judged.all(|reward| reward == first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rewards: &[Option<f64>], expected: &[Option<f64>]) {
        assert_eq!(mean_centred(rewards), expected);
    }

    #[test]
    fn advantages_are_centred_on_the_judged() {
        check(&[Some(1.0), Some(0.0)], &[Some(0.5), Some(-0.5)]);
        check(&[Some(1.0), None, Some(0.5)], &[Some(0.25), None, Some(-0.25)]);
        check(&[Some(2.0), Some(2.0)], &[Some(0.0), Some(0.0)]);
        check(&[None, None], &[None, None]);
        check(&[], &[]);
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
