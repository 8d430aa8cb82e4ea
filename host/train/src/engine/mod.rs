//! The engine: a decoder as explicit forward and backward passes over packed tokens, and as the sampler runs it.
//!
//! Nothing is traced: every layer's backward pass is written out beside its forward pass, frozen weights get no gradient,
//! and buffers are used again from pass to pass. [`trunk`] is the model, written once over the few operations of a
//! [`Device`]; a device is a folder that has them. The same model in candle's operations, differentiated by autograd, is
//! the oracle that tests compare with (`model/oracle.rs`).
//!
//! Shapes: T tokens of a batch, N of them looked at; see [`Spec`] for the rest. Buffers hold rows, one for each token.

pub(crate) mod cpu;
#[cfg_attr(not(feature = "cuda"), path = "no_cuda.rs")]
pub(crate) mod cuda;
mod spec;
mod trunk;

use crate::error::Result;

pub(crate) use spec::{LayerSpec, LowRank, LowRankPlace, Places, Projection, Span, Spec, Store};
pub(crate) use trunk::Workspace;

/// What a model says of the N places it is asked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Said {
    /// The log-probability of the target; of a reward model, its score or the log-odds of a right step.
    pub(crate) values: Vec<f32>,
    /// The entropy, in nats, of what the target was predicted from; empty unless asked for.
    pub(crate) entropies: Vec<f32>,
}

/// What a layer's backward pass needs of its forward pass.
#[derive(Debug, Default)]
pub(crate) struct Saved<B> {
    /// What came in (T, hidden).
    pub(crate) x: B,
    /// Queries, keys and values as projected (T, (H + 2K) D).
    pub(crate) qkv: B,
    /// Queries and keys, normalised where the family does that, and rotated (T, (H + K) D).
    pub(crate) rotated: B,
    /// What each head found (T, H D).
    pub(crate) attended: B,
    /// The logarithm of each softmax's denominator, in f32 (T, H).
    pub(crate) log_sums: B,
    /// The residual stream between attention and MLP (T, hidden).
    pub(crate) middle: B,
    /// Gate and up as projected (T, 2 inner).
    pub(crate) gate_up: B,
}

/// What flows back through a layer.
#[derive(Debug, Default)]
pub(crate) struct Flow<B> {
    /// The gradient by what leaves the layer, then by what came in (T, hidden).
    pub(crate) outer: B,
    /// By the middle of the residual stream (T, hidden).
    pub(crate) middle: B,
    /// By what the heads found (T, H D).
    pub(crate) attended: B,
    /// By queries, keys and values (T, (H + 2K) D).
    pub(crate) qkv: B,
    /// By gate and up (T, 2 inner).
    pub(crate) gate_up: B,
    /// The gated product (T, inner) and a normalised input (T, hidden), computed once more.
    pub(crate) gated: B,
    pub(crate) normed: B,
}

/// What a device must be able to do: the steps of a decoder, forwards and backwards, on one batch with one set of weights.
/// A value of it lives as long as a pass. Gradients are added to, never overwritten, and frozen weights have none.
pub(crate) trait Device {
    /// Activations on the device; grows when it must and holds anything before it is written.
    type Buffer: Default;
    /// One number, in f32, for each trained weight.
    type Gradients;

    /// x = the embedding's row of each token.
    fn embed(&self, x: &mut Self::Buffer) -> Result<()>;
    /// qkv = norm(x) W; rotated = rope(norm(q)), rope(norm(k)).
    fn enter(&self, layer: &LayerSpec, saved: &mut Saved<Self::Buffer>) -> Result<()>;
    /// attended = softmax(q k^T / sqrt(D)) v, causal, of each sequence by itself.
    fn attend(&self, saved: &mut Saved<Self::Buffer>) -> Result<()>;
    /// middle = x + attended W; next = middle + down(silu(gate) * up) of norm(middle).
    fn leave(&self, layer: &LayerSpec, saved: &mut Saved<Self::Buffer>, next: &mut Self::Buffer) -> Result<()>;
    /// What the head says of norm(x) at the batch's places.
    fn say(&self, x: &Self::Buffer, entropies: bool) -> Result<Said>;

    /// dx from the slopes of what was said; 0 where nothing was asked.
    fn say_back(
        &self,
        x: &Self::Buffer,
        slopes: &Said,
        dx: &mut Self::Buffer,
        into: &mut Self::Gradients,
    ) -> Result<()>;
    /// From `flow.outer` to `flow.middle` and `flow.attended`.
    fn leave_back(
        &self,
        layer: &LayerSpec,
        saved: &Saved<Self::Buffer>,
        flow: &mut Flow<Self::Buffer>,
        into: &mut Self::Gradients,
    ) -> Result<()>;
    /// From `flow.attended` to `flow.qkv`, still rotated.
    fn attend_back(&self, saved: &Saved<Self::Buffer>, flow: &mut Flow<Self::Buffer>) -> Result<()>;
    /// From `flow.qkv` and `flow.middle` to `flow.outer`.
    fn enter_back(
        &self,
        layer: &LayerSpec,
        saved: &Saved<Self::Buffer>,
        flow: &mut Flow<Self::Buffer>,
        into: &mut Self::Gradients,
    ) -> Result<()>;
    /// Adds dx to the gradient of each token's row of the embedding.
    fn embed_back(&self, dx: &Self::Buffer, into: &mut Self::Gradients) -> Result<()>;
}
