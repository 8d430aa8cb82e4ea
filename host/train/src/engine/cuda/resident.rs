//! A policy that lives on a device: its weights, the buffers of its passes, its gradient and its optimizer's moments. Nothing
//! of it crosses to the host but what a caller asks for.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

use super::batch::OnDevice;
use super::decode::{Decoder, Size};
use super::gpu;
use super::machine::{Machine, Memory, read, write};
use super::numbers::Numbers;
use super::ops::{self, Parameter};
use super::pass::{Pass, Room};
use crate::batch::MicroBatch;
use crate::engine::cpu::{self, AdamStep};
use crate::engine::{Said, Spec, Workspace};
use crate::error::{Error, Result};

/// A policy's part on the device. Passes take turns.
pub(crate) struct Resident {
    machine: Arc<dyn Machine>,
    numbers: Numbers,
    scratch: Mutex<Scratch>,
}

/// What passes leave for the next one.
#[derive(Default)]
struct Scratch {
    batch: OnDevice,
    room: RefCell<Room>,
    workspace: Workspace<Memory>,
}

/// One f32 for each trained number.
pub(crate) struct Gradient {
    machine: Arc<dyn Machine>,
    memory: Memory,
    count: usize,
}

/// AdamW's two f32 for each trained number.
pub(crate) struct Moments {
    machine: Arc<dyn Machine>,
    first: Memory,
    second: Memory,
    partial: Memory,
    /// [factor | norm].
    clipped: Memory,
    count: usize,
}

impl Resident {
    /// Copies a policy to the GPU of this number.
    pub(crate) fn open(ordinal: usize, spec: &Spec, numbers: cpu::Numbers) -> Result<Self> {
        Self::on(gpu::shared(ordinal)?, spec, numbers)
    }

    /// Copies a policy to a machine.
    pub(crate) fn on(machine: Arc<dyn Machine>, spec: &Spec, numbers: cpu::Numbers) -> Result<Self> {
        let numbers = Numbers::new(&machine, spec, numbers)?;
        Ok(Self { machine, numbers, scratch: Mutex::default() })
    }

    /// What is trained, as it is now.
    pub(crate) fn read(&self) -> Result<Vec<f32>> {
        self.numbers.read_trained(self.machine.as_ref())
    }

    /// What the model says of a batch. Nothing flows back, so nothing is kept.
    pub(crate) fn predict(&self, spec: &Spec, batch: &MicroBatch, entropies: bool) -> Result<Said> {
        self.pass(spec, batch, false, |pass, workspace| workspace.forward(spec, pass, entropies, true))
    }

    /// The same, and then adds to `gradient` that of `sum(slopes * said)`, for what `judge` answers.
    pub(crate) fn learn(
        &self,
        spec: &Spec,
        batch: &MicroBatch,
        (entropies, recompute): (bool, bool),
        judge: impl FnOnce(&Said) -> Said,
        gradient: &mut Gradient,
    ) -> Result<Said> {
        self.pass(spec, batch, true, |pass, workspace| {
            let said = workspace.forward(spec, pass, entropies, recompute)?;
            workspace.backward(spec, pass, &judge(&said), &mut gradient.memory)?;
            Ok(said)
        })
    }

    fn pass<R>(
        &self,
        spec: &Spec,
        batch: &MicroBatch,
        learns: bool,
        run: impl FnOnce(&Pass, &mut Workspace<Memory>) -> Result<R>,
    ) -> Result<R> {
        // A pass that panicked left nothing in there that the next one reads before writing it.
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let Scratch { batch: on_device, room, workspace } = &mut *scratch;
        on_device.fill(&self.machine, spec, batch, learns)?;
        run(&Pass::new(&self.machine, spec, &self.numbers, (batch, on_device), room), workspace)
    }

    /// A gradient of zeros.
    pub(crate) fn gradient(&self) -> Result<Gradient> {
        let memory = zeros(&self.machine, self.numbers.count())?;
        Ok(Gradient { machine: self.machine.clone(), memory, count: self.numbers.count() })
    }

    /// Moments of zeros.
    pub(crate) fn moments(&self) -> Result<Moments> {
        let (machine, count) = (self.machine.clone(), self.numbers.count());
        let (first, second) = (zeros(&machine, count)?, zeros(&machine, count)?);
        Ok(Moments { machine, first, second, partial: Memory::default(), clipped: Memory::default(), count })
    }

    /// One update of parameters of these sizes, of which some decay; `constants` are those of either kind, without the clip.
    /// Returns the gradient's norm; one that is no number changes nothing.
    pub(crate) fn step(
        &self,
        moments: &mut Moments,
        gradient: &Gradient,
        parts: &[(usize, bool)],
        constants: impl Fn(bool) -> AdamStep,
        max_norm: f32,
    ) -> Result<f64> {
        let (machine, count) = (&self.machine, gradient.count);
        let partials = ops::square_partials(count);
        let partial = moments.partial.sized::<f64>(machine, partials)?;
        let clipped = moments.clipped.sized::<f32>(machine, 2)?;
        machine.launch(&ops::sum_of_squares(partial, gradient.memory.ptr(), count))?;
        machine.launch(&ops::clip(clipped, partial, partials, max_norm))?;
        let (weight, master, _) = self.numbers.trained();
        let (first, second) = (moments.first.ptr::<f32>(), moments.second.ptr::<f32>());
        let slopes = gradient.memory.ptr::<f32>();
        let mut start = 0;
        for (count, decays) in runs(parts) {
            let parameter = Parameter {
                master: master.at(start),
                weight: weight.at(start),
                first: first.at(start),
                second: second.at(start),
                gradient: slopes.at(start),
                count,
            };
            machine.launch(&ops::adamw(&parameter, clipped, &constants(decays)))?;
            start += count;
        }
        Ok(f64::from(read(machine.as_ref(), clipped, 2)?[1]))
    }

    /// A decoder for at most `rows` samples at a time, of at most `max_length` tokens each; as many of them as fit.
    pub(crate) fn decoder(&self, spec: &Spec, rows: usize, max_length: usize) -> Result<(Decoder<'_>, Size)> {
        // A fifth is left for a step's buffers and for prompts, beside the decoder's own copy of the weights.
        let left = self.machine.free_bytes()?.saturating_sub(Decoder::copy_bytes(spec, &self.numbers));
        let (each, free) = (Decoder::slot_bytes(spec, max_length), left / 5 * 4);
        let slots = (free / each).min(rows + 1);
        if slots < 2 {
            return Err(Error::Gpu(format!(
                "keys and values of {max_length} tokens take {} MiB, {} MiB are free: lower `max_tokens`, or take a \
                 smaller model",
                each >> 20,
                free >> 20
            )));
        }
        let size = Size { slots, max_length, rows: slots - 1 };
        Ok((Decoder::new(&self.machine, spec, &self.numbers, size)?, size))
    }
}

impl Gradient {
    /// All numbers.
    pub(crate) fn read(&self) -> Result<Vec<f32>> {
        read(self.machine.as_ref(), self.memory.ptr(), self.count)
    }
}

impl Moments {
    /// First and second moments.
    pub(crate) fn read(&self) -> Result<[Vec<f32>; 2]> {
        let read = |memory: &Memory| read(self.machine.as_ref(), memory.ptr(), self.count);
        Ok([read(&self.first)?, read(&self.second)?])
    }

    /// Replaces them.
    pub(crate) fn write(&mut self, [first, second]: [&[f32]; 2]) -> Result<()> {
        assert_eq!([first.len(), second.len()], [self.count; 2], "moments of what is trained");
        write(self.machine.as_ref(), self.first.ptr(), first)?;
        write(self.machine.as_ref(), self.second.ptr(), second)
    }
}

fn zeros(machine: &Arc<dyn Machine>, count: usize) -> Result<Memory> {
    let mut memory = Memory::default();
    let start = memory.sized::<f32>(machine, count)?;
    machine.clear(start.address, count * size_of::<f32>())?;
    Ok(memory)
}

/// Neighbours of one kind as one.
fn runs(parts: &[(usize, bool)]) -> Vec<(usize, bool)> {
    let mut runs: Vec<(usize, bool)> = vec![];
    for &(count, decays) in parts {
        match runs.last_mut() {
            Some((sum, kind)) if *kind == decays => *sum += count,
            _ => runs.push((count, decays)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_one_kind_are_updated_together() {
        assert_eq!(runs(&[(3, true), (4, true), (1, false), (2, true)]), [(7, true), (1, false), (2, true)]);
    }
}
