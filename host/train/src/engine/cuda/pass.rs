//! The engine's operations on the GPU: one pass of a batch through a policy, forwards and backwards. Kernels and products
//! are queued on one stream; only what the head says is waited for.

use std::cell::RefCell;
use std::sync::Arc;

use half::bf16;

use super::batch::OnDevice;
use super::head::HeadRoom;
use super::launch::{Launch, Ptr};
use super::machine::{Machine, Matrix, Memory, Target};
use super::numbers::Numbers;
use super::ops::{self, Attended, Heads, Packed, Rows};
use super::project::{Into, Narrow, Projector};
use crate::batch::MicroBatch;
use crate::engine::{Device, Flow, LayerSpec, Said, Saved, Span, Spec};
use crate::error::Result;

/// One pass: a policy on the device, and a batch.
pub(crate) struct Pass<'a> {
    pub(super) machine: &'a Arc<dyn Machine>,
    pub(super) spec: &'a Spec,
    pub(super) weights: &'a Numbers,
    pub(super) batch: &'a OnDevice,
    /// Places that the model is asked at.
    pub(super) asked: usize,
    pub(super) room: &'a RefCell<Room>,
}

/// Buffers that a step of a pass needs for itself; kept for the next one.
#[derive(Default)]
pub(crate) struct Room {
    pub(super) normed: Memory,
    gated: Memory,
    pub(super) dnormed: Memory,
    delta: Memory,
    pub(super) narrow: Narrow,
    pub(super) head: HeadRoom,
}

impl<'a> Pass<'a> {
    /// A pass over `batch`, which must lie in `on_device`.
    pub(crate) fn new(
        machine: &'a Arc<dyn Machine>,
        spec: &'a Spec,
        weights: &'a Numbers,
        (batch, on_device): (&MicroBatch, &'a OnDevice),
        room: &'a RefCell<Room>,
    ) -> Self {
        Self { machine, spec, weights, batch: on_device, asked: batch.places.len(), room }
    }

    pub(super) fn tokens(&self) -> usize {
        self.batch.tokens()
    }

    pub(super) fn launch(&self, launch: &Launch) -> Result<()> {
        self.machine.launch(launch)
    }

    pub(super) fn projector(&self) -> Projector<'a> {
        Projector { machine: self.machine, spec: self.spec, weights: self.weights }
    }

    /// Room for a row of `width` for each token.
    fn rows(&self, memory: &mut Memory, width: usize) -> Result<Matrix> {
        Ok(Matrix::new(memory.sized(self.machine, self.tokens() * width)?, width))
    }

    fn heads(&self) -> Heads {
        let Spec { heads: queries, key_heads: keys, head_dim: width, .. } = *self.spec;
        Heads { queries, keys, width }
    }

    fn packed(&self) -> Packed {
        self.batch.packed(self.heads())
    }

    fn head_norms(&self, layer: &LayerSpec) -> [Ptr<bf16>; 2] {
        layer.head_norms.as_ref().map_or([Ptr::NULL; 2], |[query, key]| [self.weights.at(query), self.weights.at(key)])
    }

    /// y = norm(x), rows of the residual stream.
    pub(super) fn norm(&self, y: Ptr<bf16>, x: Ptr<bf16>, weight: &Span, rows: usize) -> Result<()> {
        let shape = (rows, self.spec.hidden);
        self.launch(&ops::rms_norm_forward(y, x, self.weights.at(weight), shape, self.spec.eps))
    }

    /// dx = base + the norm's gradient by x, and what its weight gets.
    pub(super) fn norm_back(
        &self,
        (dx, base): (Ptr<bf16>, Ptr<bf16>),
        (x, weight, dy): (Ptr<bf16>, &Span, Ptr<bf16>),
        rows: usize,
        into: Ptr<f32>,
        partial: &mut Memory,
    ) -> Result<()> {
        let (hidden, count) = (self.spec.hidden, ops::partials(rows));
        let partial = partial.sized(self.machine, count * hidden)?;
        let from = (x, self.weights.at(weight), dy);
        self.launch(&ops::rms_norm_backward(dx, partial, base, from, (rows, hidden), self.spec.eps))?;
        match self.spec.trained(weight) {
            Some(range) => self.launch(&ops::add_partials(into.at(range.start), partial, count, hidden, hidden)),
            None => Ok(()),
        }
    }

    /// Queries and keys, rotated, and values.
    fn attention_inputs(&self, saved: &Saved<Memory>) -> [Rows; 3] {
        let (queries, keys) = (self.spec.queries(), self.spec.keys());
        let rotated = Rows::new(saved.rotated.ptr(), queries + keys);
        let qkv = Rows::new(saved.qkv.ptr(), queries + 2 * keys);
        [rotated, rotated.from(queries), qkv.from(queries + keys)]
    }

    /// to (T, hidden) = from.
    fn copy(&self, to: Ptr<bf16>, from: Ptr<bf16>) -> Result<()> {
        self.machine.copy(to.address, from.address, self.tokens() * self.spec.hidden * size_of::<bf16>())
    }
}

impl Device for Pass<'_> {
    type Buffer = Memory;
    type Gradients = Memory;

    fn embed(&self, x: &mut Memory) -> Result<()> {
        let shape = (self.tokens(), self.spec.hidden);
        let x = self.rows(x, self.spec.hidden)?;
        self.launch(&ops::embedding_forward(x.start, self.weights.at(&self.spec.embedding), self.batch.ids(), shape))
    }

    fn enter(&self, layer: &LayerSpec, saved: &mut Saved<Memory>) -> Result<()> {
        let room = &mut *self.room.borrow_mut();
        let (tokens, heads) = (self.tokens(), self.heads());
        let normed = self.rows(&mut room.normed, self.spec.hidden)?;
        self.norm(normed.start, saved.x.ptr(), &layer.input_norm, tokens)?;
        let qkv = self.rows(&mut saved.qkv, layer.qkv.out)?;
        let target = Target::Bf16(qkv);
        self.projector().forward(target, Into::Fresh, normed, tokens, &layer.qkv, &mut room.narrow)?;
        let rotated = self.rows(&mut saved.rotated, self.spec.queries() + self.spec.keys())?;
        let (y, x) = (Rows::new(rotated.start, rotated.stride), Rows::new(qkv.start, qkv.stride));
        let norms = self.head_norms(layer);
        self.launch(&ops::head_norm_rope_forward(y, x, norms, self.batch.table(), tokens, heads, self.spec.eps))
    }

    fn attend(&self, saved: &mut Saved<Memory>) -> Result<()> {
        let attended = self.rows(&mut saved.attended, self.spec.queries())?;
        let log_sums = saved.log_sums.sized(self.machine, self.tokens() * self.spec.heads)?;
        let inputs = self.attention_inputs(saved);
        self.launch(&ops::attention_forward(attended.start, log_sums, inputs, &self.packed()))
    }

    fn leave(&self, layer: &LayerSpec, saved: &mut Saved<Memory>, next: &mut Memory) -> Result<()> {
        let room = &mut *self.room.borrow_mut();
        let (tokens, hidden, inner) = (self.tokens(), self.spec.hidden, self.spec.inner);
        let project = self.projector();
        let middle = self.rows(&mut saved.middle, hidden)?;
        self.copy(middle.start, saved.x.ptr())?;
        let attended = Matrix::new(saved.attended.ptr(), self.spec.queries());
        project.forward(Target::Bf16(middle), Into::Sum, attended, tokens, &layer.output, &mut room.narrow)?;
        let normed = self.rows(&mut room.normed, hidden)?;
        self.norm(normed.start, middle.start, &layer.post_norm, tokens)?;
        let gate_up = self.rows(&mut saved.gate_up, 2 * inner)?;
        project.forward(Target::Bf16(gate_up), Into::Fresh, normed, tokens, &layer.gate_up, &mut room.narrow)?;
        let gated = self.rows(&mut room.gated, inner)?;
        self.launch(&ops::swiglu_forward(gated.start, gate_up.start, (tokens, inner)))?;
        let next = self.rows(next, hidden)?;
        self.copy(next.start, middle.start)?;
        project.forward(Target::Bf16(next), Into::Sum, gated, tokens, &layer.down, &mut room.narrow)
    }

    fn say(&self, x: &Memory, entropies: bool) -> Result<Said> {
        self.said(x.ptr(), entropies)
    }

    fn say_back(&self, x: &Memory, slopes: &Said, dx: &mut Memory, into: &mut Memory) -> Result<()> {
        let dx = self.rows(dx, self.spec.hidden)?;
        self.said_back(x.ptr(), slopes, dx.start, into.ptr())
    }

    fn leave_back(
        &self,
        layer: &LayerSpec,
        saved: &Saved<Memory>,
        flow: &mut Flow<Memory>,
        into: &mut Memory,
    ) -> Result<()> {
        let room = &mut *self.room.borrow_mut();
        let (tokens, hidden, inner, queries) = (self.tokens(), self.spec.hidden, self.spec.inner, self.spec.queries());
        let (project, into) = (self.projector(), into.ptr());
        let outer = Matrix::new(flow.outer.ptr(), hidden);
        // The gradient by the gated product, then the product itself in its place.
        let gated = self.rows(&mut flow.gated, inner)?;
        project.backward(gated, outer, tokens, &layer.down, &mut room.narrow)?;
        let d_gate_up = self.rows(&mut flow.gate_up, 2 * inner)?;
        let (gate_up, shape) = (saved.gate_up.ptr(), (tokens, inner));
        self.launch(&ops::swiglu_backward(d_gate_up.start, gated.start, gate_up, gated.start, shape))?;
        project.learn(into, outer, gated, tokens, &layer.down, &mut room.narrow)?;

        let dnormed = self.rows(&mut room.dnormed, hidden)?;
        project.backward(dnormed, d_gate_up, tokens, &layer.gate_up, &mut room.narrow)?;
        let normed = self.rows(&mut flow.normed, hidden)?;
        self.norm(normed.start, saved.middle.ptr(), &layer.post_norm, tokens)?;
        project.learn(into, d_gate_up, normed, tokens, &layer.gate_up, &mut room.narrow)?;
        let dmiddle = self.rows(&mut flow.middle, hidden)?;
        let through = (saved.middle.ptr(), &layer.post_norm, dnormed.start);
        self.norm_back((dmiddle.start, outer.start), through, tokens, into, &mut room.narrow.partial)?;

        let dattended = self.rows(&mut flow.attended, queries)?;
        project.backward(dattended, dmiddle, tokens, &layer.output, &mut room.narrow)?;
        let attended = Matrix::new(saved.attended.ptr(), queries);
        project.learn(into, dmiddle, attended, tokens, &layer.output, &mut room.narrow)
    }

    fn attend_back(&self, saved: &Saved<Memory>, flow: &mut Flow<Memory>) -> Result<()> {
        let room = &mut *self.room.borrow_mut();
        let (queries, keys) = (self.spec.queries(), self.spec.keys());
        let [q, k, v] = self.attention_inputs(saved);
        let from = Attended {
            q,
            k,
            v,
            o: saved.attended.ptr(),
            lse: saved.log_sums.ptr(),
            d_o: flow.attended.ptr(),
            delta: room.delta.sized(self.machine, self.tokens() * self.spec.heads)?,
        };
        let dqkv = self.rows(&mut flow.qkv, queries + 2 * keys)?;
        let dq = Rows::new(dqkv.start, dqkv.stride);
        let parts = [dq, dq.from(queries), dq.from(queries + keys)];
        ops::attention_backward(parts, &from, &self.packed()).iter().try_for_each(|launch| self.launch(launch))
    }

    fn enter_back(
        &self,
        layer: &LayerSpec,
        saved: &Saved<Memory>,
        flow: &mut Flow<Memory>,
        into: &mut Memory,
    ) -> Result<()> {
        let room = &mut *self.room.borrow_mut();
        let (tokens, hidden, heads) = (self.tokens(), self.spec.hidden, self.heads());
        let (project, into) = (self.projector(), into.ptr::<f32>());
        let dqkv = Matrix::new(flow.qkv.ptr(), layer.qkv.out);
        let partials = ops::head_norm_partials(tokens, heads);
        let partial = room.narrow.partial.sized(self.machine, partials * 2 * heads.width)?;
        let rows = |matrix: Matrix| Rows::new(matrix.start, matrix.stride);
        let (x, norms) = (Matrix::new(saved.qkv.ptr(), layer.qkv.out), self.head_norms(layer));
        let (eps, table) = (self.spec.eps, self.batch.table());
        self.launch(&ops::head_norm_rope_backward(rows(dqkv), partial, rows(x), norms, table, tokens, heads, eps))?;
        for (norm, at) in layer.head_norms.iter().flatten().zip([0, heads.width]) {
            if let Some(range) = self.spec.trained(norm) {
                let (out, from, width) = (into.at(range.start), partial.at(at), heads.width);
                self.launch(&ops::add_partials(out, from, partials, width, 2 * width))?;
            }
        }

        let dnormed = self.rows(&mut room.dnormed, hidden)?;
        project.backward(dnormed, dqkv, tokens, &layer.qkv, &mut room.narrow)?;
        let normed = self.rows(&mut flow.normed, hidden)?;
        self.norm(normed.start, saved.x.ptr(), &layer.input_norm, tokens)?;
        project.learn(into, dqkv, normed, tokens, &layer.qkv, &mut room.narrow)?;
        let dx = self.rows(&mut flow.outer, hidden)?;
        let through = (saved.x.ptr(), &layer.input_norm, dnormed.start);
        self.norm_back((dx.start, flow.middle.ptr()), through, tokens, into, &mut room.narrow.partial)
    }

    fn embed_back(&self, dx: &Memory, into: &mut Memory) -> Result<()> {
        let Some(range) = self.spec.trained(&self.spec.embedding) else { return Ok(()) };
        let (lists, count) = self.batch.occurrences();
        let gradient = into.ptr().at(range.start);
        self.launch(&ops::embedding_backward(gradient, dx.ptr(), lists, count, self.spec.hidden))
    }
}
