//! pass@k: the chance that at least one of k samples passes.

/// The unbiased estimate from `n` samples of which `passed` passed: `1 - C(n - c, k) / C(n, k)` (Chen et al. 2021).
/// Computed as a product, so that no binomial overflows. `k` must be between 1 and `n`.
pub fn pass_at_k(n: usize, passed: usize, k: usize) -> f64 {
    assert!((1..=n).contains(&k) && passed <= n, "pass@{k} of {passed} among {n}");
    if n - passed < k {
        return 1.0;
    }
    1.0 - (n - passed + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates() {
        for (n, passed, k, expected) in [
            (8, 0, 1, 0.0),
            (8, 8, 1, 1.0),
            (8, 2, 1, 0.25),
            (4, 1, 2, 0.5), // 1 - C(3,2)/C(4,2) = 1 - 3/6
            (5, 2, 3, 0.9), // 1 - C(3,3)/C(5,3) = 1 - 1/10
            (8, 1, 8, 1.0),
            (200, 3, 100, 1.0 - (100.0 * 99.0 * 98.0) / (200.0 * 199.0 * 198.0)),
        ] {
            assert!((pass_at_k(n, passed, k) - expected).abs() < 1e-12, "{n} {passed} {k}");
        }
    }
}
