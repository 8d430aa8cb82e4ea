//! Spearman's rank correlation.

/// The correlation of the ranks of pairs, between -1 and 1; none where one side is constant or there are fewer than two
/// pairs.
pub(super) fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    let (one, other): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let (one, other) = (centred_ranks(&one), centred_ranks(&other));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let deviation = (dot(&one, &one) * dot(&other, &other)).sqrt();
    (deviation > 0.0).then(|| dot(&one, &other) / deviation)
}

/// Each value's place in the order less the mean place. Equal values share the mean of their places.
fn centred_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|&a, &b| values[a].total_cmp(&values[b]));
    let middle = (values.len() as f64 + 1.0) / 2.0;
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    // 0 and -0 stand beside each other in the total order, and are equal here.
    for ties in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = before as f64 + (ties.len() as f64 + 1.0) / 2.0;
        ties.iter().for_each(|&index| ranks[index] = rank - middle);
        before += ties.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(one: &[f64], other: &[f64], expected: Option<f64>) {
        let pairs: Vec<(f64, f64)> = one.iter().copied().zip(other.iter().copied()).collect();
        match (spearman(&pairs), expected) {
            (Some(found), Some(expected)) => assert!((found - expected).abs() < 1e-12, "{found}, not {expected}"),
            (found, expected) => assert_eq!(found, expected),
        }
    }

    /// The first expectation stands in the documentation of `scipy.stats.spearmanr`; the next two are
    /// 1 - 6 sum(d^2) / (n (n^2 - 1)) without ties, and those with ties are Pearson's correlation of ranks by hand.
    #[test]
    fn correlations() {
        check(&[1.0, 2.0, 3.0, 4.0, 5.0], &[5.0, 6.0, 7.0, 8.0, 7.0], Some(0.820_782_681_668_123_3));
        check(&[1.0, 2.0, 3.0], &[10.0, 200.0, 3000.0], Some(1.0));
        check(&[1.0, 2.0, 3.0, 4.0], &[4.0, 2.0, 3.0, 1.0], Some(-0.8));
        check(&[0.0, 0.0, 1.0, 1.0], &[0.0, 1.0, 1.0, 1.0], Some(1.0 / 3.0_f64.sqrt()));
        check(&[1.0, 1.0, 2.0, 2.0, 3.0], &[3.0, 1.0, 2.0, 2.0, 0.0], Some(-0.540_738_070_435_875_2));
        check(&[0.0, -0.0, 1.0], &[1.0, 1.0, 2.0], Some(1.0));
        check(&[1.0, 1.0], &[1.0, 2.0], None);
        check(&[1.0], &[1.0], None);
        check(&[], &[], None);
    }
}
