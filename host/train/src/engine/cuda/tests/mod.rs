//! Every kernel against its formula, on the CPU: launches run in the emulator with three orders of threads, whose results must
//! be equal to the bit, on ragged shapes - sequences of one token, lengths that are no multiple of a tile, groups of 1, 2, 4
//! and 20 query heads to a key head. The references are the plain formulas in f64. NVRTC compiles the same files for GPUs.

mod attention;
mod compile;
mod decode;
mod decoder;
mod head;
mod optimizer;
mod passes;
mod rope;
mod rows;
mod sampling;

use half::bf16;
use rand::Rng;

use super::emulator::{Emulator, ORDERS, Order};
use crate::seed::{Purpose, generator};

/// Says what is not tested, or fails where everything must be.
#[track_caller]
#[allow(clippy::disallowed_methods, reason = "how CI says that nothing may be skipped")]
pub(super) fn skip(why: &str) {
    let all = std::env::var_os("REWARDEN_TEST_CUDA").is_some_and(|which| which == "all");
    assert!(!all, "{why}");
    println!("skipped: {why}");
}

/// Results of kernels, as f64.
type Outputs = Vec<Vec<f64>>;

/// Runs `kernels` with every order of threads and demands the same bits of each; None where there is no emulator.
#[track_caller]
fn in_every_order(kernels: impl Fn(&Emulator) -> Outputs) -> Option<Outputs> {
    let mut machine = Emulator::get()?;
    let mut run = |order: Order| {
        machine.order = order;
        kernels(&machine)
    };
    let results = ORDERS.map(&mut run);
    let bits = |outputs: &Outputs| outputs.iter().flatten().map(|x| x.to_bits()).collect::<Vec<u64>>();
    for (order, result) in ORDERS.iter().zip(&results) {
        assert!(bits(result) == bits(&results[0]), "threads in the order {order:?} give another result");
    }
    results.into_iter().next()
}

/// Compares element by element: within `relative` of the larger, or of the typical size of the whole, which is what rounding
/// of summands leaves where a sum comes out small.
#[track_caller]
fn close(what: &str, got: &[f64], want: &[f64], relative: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    let typical = (want.iter().map(|x| x * x).sum::<f64>() / want.len().max(1) as f64).sqrt();
    for (place, (got, want)) in got.iter().zip(want).enumerate() {
        let allowed = relative * want.abs().max(typical).max(1e-9);
        assert!((got - want).abs() <= allowed, "{what}[{place}] is {got}, not {want} (give or take {allowed:e})");
    }
}

/// bf16 has 8 significant bits: rounding once is off by at most 2^-8 of the value; a little more for the f32 arithmetic before.
const ONE_ROUNDING: f64 = 1.01 / 256.0;

/// Numbers in -1 to 1 from a fixed seed, exactly as bf16 has them.
struct Numbers(rand_chacha::ChaCha8Rng);

impl Numbers {
    fn new(seed: u64) -> Self {
        Self(generator(seed, Purpose::Rollouts, &[]))
    }

    fn bf16(&mut self, count: usize) -> Vec<bf16> {
        (0..count).map(|_| bf16::from_f32(self.0.random_range(-1.0..1.0))).collect()
    }

    fn f32(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.0.random_range(-1.0..1.0)).collect()
    }

    fn below(&mut self, count: usize, end: i32) -> Vec<i32> {
        (0..count).map(|_| self.0.random_range(0..end)).collect()
    }
}

/// Any values as f64.
fn wide<T: Copy + Into<f64>>(values: &[T]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}
