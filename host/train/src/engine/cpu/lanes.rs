//! Arithmetic over slices in vectors of the processor's own width, chosen at run time.
//!
//! A kernel is plain Rust over slices, compiled once for each width: [`vectorised`] picks the widest there is. The kernel and
//! every function it calls must be inlined into it, and say so (`#[inline(always)]`, on the closure too): what is not is
//! compiled for the oldest processor. Sums run in [`LANES`] fixed lanes, so their rounding does not depend
//! on the width.

use pulp::Arch;

/// Partial sums that a sum over a slice is made of.
const LANES: usize = 32;

/// Runs `kernel` compiled for the processor at hand.
#[inline(always)]
pub(super) fn vectorised<R>(kernel: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(kernel)
}

/// `sum_i a_i b_i`.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (whole_a, whole_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = whole_a.remainder().iter().zip(whole_b.remainder());
    let rest: f32 = rest.map(|(a, b)| a * b).sum();
    for (a, b) in whole_a.zip(whole_b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// `sum_i a_i b_i c_i`.
#[inline(always)]
pub(super) fn dot3(a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let whole = a.len() / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        let (a, b, c) = (&a[at..at + LANES], &b[at..at + LANES], &c[at..at + LANES]);
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane] * c[lane];
        }
    }
    let rest: f32 = (whole..a.len()).map(|at| a[at] * b[at] * c[at]).sum();
    sums.iter().sum::<f32>() + rest
}

/// `sum_i a_i`.
#[inline(always)]
pub(super) fn sum(a: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let whole = a.chunks_exact(LANES);
    let rest: f32 = whole.remainder().iter().sum();
    for a in whole {
        for lane in 0..LANES {
            sums[lane] += a[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// The largest, or minus infinity.
#[inline(always)]
pub(super) fn max(a: &[f32]) -> f32 {
    let mut largest = [f32::NEG_INFINITY; LANES];
    let whole = a.chunks_exact(LANES);
    let rest = whole.remainder();
    for a in whole {
        for lane in 0..LANES {
            largest[lane] = if a[lane] > largest[lane] { a[lane] } else { largest[lane] };
        }
    }
    largest.iter().chain(rest).fold(f32::NEG_INFINITY, |most, &a| if a > most { a } else { most })
}

/// Replaces each `a_i` by `exp(scale a_i - shift)` and returns their sum.
#[inline(always)]
pub(super) fn exp_all(a: &mut [f32], scale: f32, shift: f32) -> f32 {
    for a in a.iter_mut() {
        *a = exp(*a * scale - shift);
    }
    sum(a)
}

/// e^x for x from -87 to 88, and what it is at the nearer end beyond: relative error at most 2e-7.
///
/// x = n ln 2 + r with |r| <= ln 2 / 2; e^r by a polynomial (the minimax coefficients of Moshier's Cephes `expf`), 2^n by
/// its bits. The standard library's is exact to the last bit and a call per number.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// Adding and subtracting 1.5 * 2^23 rounds to the nearest whole number.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, the first with zeros at its end, so that n times it is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const SERIES: [f32; 5] = [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    let x = x.clamp(-87.0, 88.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * LN_2[0] - n * LN_2[1];
    let mut series = 1.987_569_1e-4f32;
    for coefficient in SERIES {
        series = series * r + coefficient;
    }
    let e_r = series * r * r + r + 1.0;
    // ROUND's own lowest bits are zero, so those of the sum are n's: no conversion, which would not be a vector's.
    f32::from_bits(rounded.to_bits().wrapping_add(127) << 23) * e_r
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 37 + 11) % 101) as f32 / 20.0 - 2.5).collect()
    }

    #[test]
    fn sums_and_extremes_are_right_at_every_length() {
        for count in [0, 1, 31, 32, 33, 100] {
            let (a, b) = (numbers(count), numbers(count + 7)[7..].to_vec());
            let exact = |value: &dyn Fn(usize) -> f64| (0..count).map(value).sum::<f64>();
            let close = |got: f32, want: f64| assert!((f64::from(got) - want).abs() < 1e-4, "{count}: {got} {want}");
            close(vectorised(|| dot(&a, &b)), exact(&|i| f64::from(a[i]) * f64::from(b[i])));
            close(vectorised(|| dot3(&a, &b, &a)), exact(&|i| f64::from(a[i]).powi(2) * f64::from(b[i])));
            close(vectorised(|| sum(&a)), exact(&|i| f64::from(a[i])));
            let most = a.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(vectorised(|| max(&a)), most);
        }
    }

    #[test]
    fn exponentials_are_close_and_end_where_they_must() {
        for x in (-8_700..8_800).map(|x| x as f32 / 100.0) {
            let (got, want) = (vectorised(|| exp(x)), f64::from(x).exp());
            assert!((f64::from(got) / want - 1.0).abs() < 2e-7, "exp({x}) = {got}, not {want}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NEG_INFINITY) < 2e-38 && exp(f32::INFINITY) > 1e38);
        assert!((sigmoid(0.0) - 0.5).abs() < 1e-7 && sigmoid(90.0) == 1.0);
    }
}
