//! A linear layer, perhaps with a bias, perhaps frozen under a low-rank adapter.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Storage, Tensor};

/// x W^T (+ b) (+ s x A^T B^T).
pub(super) struct Linear {
    pub(super) weight: Tensor, // (out, in)
    pub(super) bias: Option<Tensor>,
    pub(super) adapter: Option<LowRank>,
}

/// The adapter of one layer (Hu et al. 2021, LoRA).
pub(crate) struct LowRank {
    pub(crate) a: Tensor, // (r, in)
    pub(crate) b: Tensor, // (out, r)
    pub(crate) scale: f64,
}

impl Linear {
    /// Applies the layer to the last dimension.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut y = apply(x, &self.weight)?;
        if let Some(bias) = &self.bias {
            y = y.broadcast_add(bias)?;
        }
        match &self.adapter {
            Some(LowRank { a, b, scale }) => y + (apply(&apply(x, a)?, b)? * *scale)?,
            None => Ok(y),
        }
    }
}

/// x W^T over the last dimension.
fn apply(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let mut shape = x.dims().to_vec();
    let width = shape.pop().unwrap_or(1);
    let rows: usize = shape.iter().product();
    shape.push(weight.dim(0)?);
    let x = x.reshape((rows, width))?;
    let y = match weight.track_op() {
        true => x.matmul(&weight.t()?)?,
        false => x.apply_op1(Frozen(weight.clone()))?,
    };
    y.reshape(shape)
}

/// x W^T for a W that is not trained. candle's own product computes the gradient of both its factors, whether anybody
/// asks for it or not: a third of all work, and as much memory as the frozen model.
struct Frozen(Tensor);

impl CustomOp1 for Frozen {
    fn name(&self) -> &'static str {
        "frozen-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        let (weight, weight_layout) = self.0.storage_and_layout();
        let Storage::Cpu(weight) = &*weight else { candle_core::bail!("the weight is on another device") };
        let out = weight_layout.dims()[0];
        let transposed = weight_layout.transpose(0, 1)?;
        let y = x.matmul(weight, (1, rows, out, width), layout, &transposed)?;
        Ok((y, (rows, out).into()))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        gradient.matmul(&self.0).map(Some)
    }
}
