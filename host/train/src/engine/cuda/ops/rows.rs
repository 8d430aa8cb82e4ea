//! Work on rows: embedding, RMSNorm, biases and SwiGLU.

use half::bf16;

use super::{PARTIALS, THREADS, blocks, row_threads};
use crate::engine::cuda::launch::{Launch, Ptr, arguments};

/// y (tokens, width) = rows `ids` of `weight`. Also gathers rows in general.
pub(crate) fn embedding_forward(
    y: Ptr<bf16>,
    weight: Ptr<bf16>,
    ids: Ptr<i32>,
    (tokens, width): (usize, usize),
) -> Launch {
    Launch::new("embedding_forward", tokens, row_threads(width), arguments![y, weight, ids, width])
}

/// Which tokens have which id: what [`embedding_backward`] goes by.
pub(crate) struct Occurrences {
    /// Every id once, rising.
    pub(crate) distinct: Vec<i32>,
    /// Where each one's tokens start in `order`, and the end.
    pub(crate) starts: Vec<i32>,
    /// The tokens, by id, then by place.
    pub(crate) order: Vec<i32>,
}

impl Occurrences {
    pub(crate) fn new(ids: &[u32]) -> Self {
        let mut order: Vec<i32> = (0..ids.len() as i32).collect();
        order.sort_by_key(|&token| ids[token as usize]);
        let (mut distinct, mut starts) = (vec![], vec![]);
        for (place, &token) in order.iter().enumerate() {
            let id = ids[token as usize] as i32;
            if distinct.last() != Some(&id) {
                distinct.push(id);
                starts.push(place as i32);
            }
        }
        starts.push(ids.len() as i32);
        Self { distinct, starts, order }
    }
}

/// gradient (V, width) += rows of dy (T, width), by id; the lists are those of [`Occurrences`], on the device.
pub(crate) fn embedding_backward(
    gradient: Ptr<f32>,
    dy: Ptr<bf16>,
    [distinct, starts, order]: [Ptr<i32>; 3],
    count: usize,
    width: usize,
) -> Launch {
    let arguments = arguments![gradient, dy, distinct, starts, order, width];
    Launch::new("embedding_backward", count, width.next_multiple_of(32).min(THREADS), arguments)
}

/// y = RMSNorm(x) weight.
pub(crate) fn rms_norm_forward(
    y: Ptr<bf16>,
    x: Ptr<bf16>,
    weight: Ptr<bf16>,
    (rows, width): (usize, usize),
    eps: f32,
) -> Launch {
    Launch::new("rms_norm_forward", rows, row_threads(width), arguments![y, x, weight, width, eps])
}

/// dx = base + what reaches x through the norm. Leaves [`partials`] of the weight's gradient for [`add_partials`].
pub(crate) fn rms_norm_backward(
    dx: Ptr<bf16>,
    partial: Ptr<f32>,
    base: Ptr<bf16>,
    (x, weight, dy): (Ptr<bf16>, Ptr<bf16>, Ptr<bf16>),
    (rows, width): (usize, usize),
    eps: f32,
) -> Launch {
    let arguments = arguments![dx, partial, base, x, weight, dy, rows, width, eps];
    Launch::new("rms_norm_backward", partials(rows), row_threads(width), arguments).shared(width * size_of::<f32>())
}

/// Rows of partial sums that a reduction over `rows` leaves.
pub(crate) fn partials(rows: usize) -> usize {
    rows.min(PARTIALS)
}

/// out (width) += the sum of `count` rows of partial sums, which lie `stride` apart.
pub(crate) fn add_partials(out: Ptr<f32>, partial: Ptr<f32>, count: usize, width: usize, stride: usize) -> Launch {
    Launch::new("add_partials", blocks(width), THREADS, arguments![out, partial, count, width, stride])
}

/// Leaves [`partials`] of the sums of columns of x (rows, width), whose rows are `stride` apart.
pub(crate) fn column_sums(partial: Ptr<f32>, x: Ptr<bf16>, (rows, width): (usize, usize), stride: usize) -> Launch {
    let arguments = arguments![partial, x, rows, width, stride];
    Launch::new("column_sums", (blocks(width), partials(rows)), THREADS, arguments)
}

/// x (rows, width) += bias.
pub(crate) fn bias_add(x: Ptr<bf16>, bias: Ptr<bf16>, (rows, width): (usize, usize)) -> Launch {
    let count = rows * width;
    Launch::new("bias_add", blocks(count / 8), THREADS, arguments![x, bias, count as i64, width])
}

/// y (rows, width) = silu(gate) up, of rows [gate | up].
pub(crate) fn swiglu_forward(y: Ptr<bf16>, gate_up: Ptr<bf16>, (rows, width): (usize, usize)) -> Launch {
    let count = rows * width;
    Launch::new("swiglu_forward", blocks(count / 8), THREADS, arguments![y, gate_up, count as i64, width])
}

/// The gradient of rows [gate | up]; may be written over them. `y`, if not null, is computed again.
pub(crate) fn swiglu_backward(
    d_gate_up: Ptr<bf16>,
    y: Ptr<bf16>,
    gate_up: Ptr<bf16>,
    dy: Ptr<bf16>,
    (rows, width): (usize, usize),
) -> Launch {
    let count = rows * width;
    let arguments = arguments![d_gate_up, y, gate_up, dy, count as i64, width];
    Launch::new("swiglu_backward", blocks(count / 8), THREADS, arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn occurrences_are_grouped_by_id_in_order() {
        let Occurrences { distinct, starts, order } = Occurrences::new(&[7, 3, 7, 0, 3, 7]);
        assert_eq!((distinct, starts, order), (vec![0, 3, 7], vec![0, 1, 3, 6], vec![3, 1, 4, 0, 2, 5]));
    }
}
