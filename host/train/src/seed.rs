//! One place for randomness. A generator is derived from the run's seed and the coordinates of its use (stage, step,
//! group, sample), never carried along: a resumed run draws what the uninterrupted one would have drawn, and no sample's
//! luck depends on which others ran beside it.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What a stream of random numbers is for; two purposes never share a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Initial weights of a model made from a preset.
    Weights = 1,
    /// Generated problems.
    Problems,
    /// Order of the training data in an epoch.
    Order,
    /// Tokens sampled for training rollouts.
    Rollouts,
    /// Tokens sampled for evaluation.
    Evaluation,
    /// Seeds handed to guests.
    Guests,
    /// Initial weights of adapters.
    Adapters,
}

/// A 64-bit seed for `purpose` at `coordinates` (step, group, sample, ...).
pub(crate) fn derive(seed: u64, purpose: Purpose, coordinates: &[u64]) -> u64 {
    coordinates.iter().fold(mix(seed ^ mix(purpose as u64)), |state, &coordinate| mix(state ^ mix(coordinate)))
}

/// The generator for `purpose` at `coordinates`. ChaCha8 because its stream is specified: the same numbers on every
/// platform and in every later version.
pub(crate) fn generator(seed: u64, purpose: Purpose, coordinates: &[u64]) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(derive(seed, purpose, coordinates))
}

/// SplitMix64's output function (Steele, Lea, Flood 2014): every input bit reaches every output bit.
fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn neighbouring_coordinates_get_unrelated_seeds() {
        let seeds: BTreeSet<u64> = (0..50)
            .flat_map(|step| (0..50).map(move |sample| derive(1, Purpose::Rollouts, &[step, sample])))
            .chain([derive(1, Purpose::Evaluation, &[0, 0]), derive(2, Purpose::Rollouts, &[0, 0])])
            .collect();
        assert_eq!(seeds.len(), 50 * 50 + 2);
    }

    #[test]
    fn order_of_coordinates_matters() {
        assert_ne!(derive(1, Purpose::Rollouts, &[1, 2]), derive(1, Purpose::Rollouts, &[2, 1]));
    }
}
