//! A decoder, forwards and backwards, over the operations of any device.

use super::{Device, Flow, Said, Saved, Spec};
use crate::error::Result;

/// The buffers of a pass, kept for the next one.
///
/// Memory, in numbers per token of the largest pass: `layers * saved + flow`, where a layer saves
/// `2 hidden + (H + 2K) D + (H + K) D + H D + H + 2 inner` and the flow takes `3 hidden + H D + (H + 2K) D + 3 inner`. With
/// recomputation it is `(layers + 1) hidden + saved + flow`.
#[derive(Debug, Default)]
pub(crate) struct Workspace<B> {
    /// Of every layer, or in the first place of the one at hand.
    saved: Vec<Saved<B>>,
    /// What came into every layer, where the rest is computed once more.
    inputs: Vec<B>,
    /// What left the last layer.
    last: B,
    flow: Flow<B>,
    recompute: bool,
}

impl<B: Default> Workspace<B> {
    /// What the model says of a batch. What the backward pass needs is kept; with `recompute` only what came into each
    /// layer.
    pub(crate) fn forward<D: Device<Buffer = B>>(
        &mut self,
        spec: &Spec,
        device: &D,
        entropies: bool,
        recompute: bool,
    ) -> Result<Said> {
        self.recompute = recompute;
        grow(&mut self.saved, if recompute { 1 } else { spec.layers.len() });
        device.embed(&mut self.saved[0].x)?;
        match recompute {
            true => self.pass_and_forget(spec, device)?,
            false => self.pass(spec, device)?,
        }
        device.say(&self.last, entropies)
    }

    fn pass<D: Device<Buffer = B>>(&mut self, spec: &Spec, device: &D) -> Result<()> {
        for (index, layer) in spec.layers.iter().enumerate() {
            let (here, after) = self.saved.split_at_mut(index + 1);
            let next = if index + 1 < spec.layers.len() { &mut after[0].x } else { &mut self.last };
            step(device, layer, &mut here[index], next)?;
        }
        Ok(())
    }

    fn pass_and_forget<D: Device<Buffer = B>>(&mut self, spec: &Spec, device: &D) -> Result<()> {
        grow(&mut self.inputs, spec.layers.len());
        let (saved, count) = (&mut self.saved[0], spec.layers.len());
        for (index, (layer, input)) in spec.layers.iter().zip(&mut self.inputs).enumerate() {
            step(device, layer, saved, &mut self.last)?;
            std::mem::swap(input, &mut saved.x);
            if index + 1 < count {
                std::mem::swap(&mut saved.x, &mut self.last); // what went out comes in
            }
        }
        Ok(())
    }

    /// Adds the gradient of `sum(slopes * said)` of the batch that [`Workspace::forward`] saw last.
    pub(crate) fn backward<D: Device<Buffer = B>>(
        &mut self,
        spec: &Spec,
        device: &D,
        slopes: &Said,
        into: &mut D::Gradients,
    ) -> Result<()> {
        let Self { saved, inputs, last, flow, recompute } = self;
        device.say_back(last, slopes, &mut flow.outer, into)?;
        for (index, layer) in spec.layers.iter().enumerate().rev() {
            let saved = &mut saved[if *recompute { 0 } else { index }];
            if *recompute {
                std::mem::swap(&mut inputs[index], &mut saved.x);
                step(device, layer, saved, last)?;
            }
            device.leave_back(layer, saved, flow, into)?;
            device.attend_back(saved, flow)?;
            device.enter_back(layer, saved, flow, into)?;
        }
        device.embed_back(&flow.outer, into)
    }
}

/// One layer, from `saved.x` to `next`.
fn step<D: Device>(
    device: &D,
    layer: &super::LayerSpec,
    saved: &mut Saved<D::Buffer>,
    next: &mut D::Buffer,
) -> Result<()> {
    device.enter(layer, saved)?;
    device.attend(saved)?;
    device.leave(layer, saved, next)
}

/// Makes sure of so many; buffers that are there stay.
fn grow<T: Default>(buffers: &mut Vec<T>, count: usize) {
    if buffers.len() < count {
        buffers.resize_with(count, T::default);
    }
}
