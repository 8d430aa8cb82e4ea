//! What the decoder needs of a device: memory, launches, matrix products. The GPU is one ([`super::gpu`]); the emulator is
//! another, so that whole passes are tested without a GPU.

use half::bf16;
use std::sync::Arc;

use super::launch::{Element, Launch, Ptr};
use crate::error::Result;

/// A device; threads take turns. Everything but [`Machine::download`] and [`Machine::free_bytes`] only queues work, in order.
pub(crate) trait Machine: Send + Sync {
    /// Memory of so many bytes, aligned to 256, holding anything.
    fn allocate(&self, bytes: usize) -> Result<u64>;
    /// Gives back what [`Machine::allocate`] gave, once the work queued so far is done with it.
    fn free(&self, address: u64, bytes: usize);
    /// Copies from the host; the bytes may change as soon as it returns.
    fn upload(&self, to: u64, bytes: &[u8]) -> Result<()>;
    /// Waits for all work, then copies to the host.
    fn download(&self, bytes: &mut [u8], from: u64) -> Result<()>;
    /// Copies from one place on the device to another.
    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()>;
    /// Fills with zero bytes.
    fn clear(&self, at: u64, bytes: usize) -> Result<()>;
    /// Starts a kernel. An empty grid is nothing to do.
    fn launch(&self, launch: &Launch) -> Result<()>;
    /// Multiplies two matrices.
    fn multiply(&self, product: &Product) -> Result<()>;
    /// Memory that is left, once all work is done.
    fn free_bytes(&self) -> Result<usize>;
    /// Multiprocessors: how many blocks run at the same time, about.
    fn processors(&self) -> usize;
    /// Records what `work` queues, without running it. Other threads wait meanwhile.
    fn record(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<Recording>;
}

/// Work that was recorded, to be queued again by one call.
pub(crate) trait Replay: Send {
    fn replay(&self) -> Result<()>;
}

pub(crate) type Recording = Box<dyn Replay>;

/// A matrix of bf16 by rows, `stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct Matrix {
    pub(crate) start: Ptr<bf16>,
    pub(crate) stride: usize,
}

impl Matrix {
    pub(crate) fn new(start: Ptr<bf16>, stride: usize) -> Self {
        Self { start, stride }
    }

    /// The columns from `column` on.
    pub(crate) fn from(self, column: usize) -> Self {
        Self { start: self.start.at(column), stride: self.stride }
    }

    /// The rows from `row` on.
    pub(crate) fn below(self, row: usize) -> Self {
        self.from(row * self.stride)
    }
}

/// Where a product goes, by rows, `stride` apart.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    Bf16(Matrix),
    F32 { start: Ptr<f32>, stride: usize },
}

impl Target {
    /// The columns from `column` on.
    pub(crate) fn from(self, column: usize) -> Self {
        match self {
            Self::Bf16(matrix) => Self::Bf16(matrix.from(column)),
            Self::F32 { start, stride } => Self::F32 { start: start.at(column), stride },
        }
    }
}

/// target (rows, columns) = scale left right (+ target), with `inner` summands in f32, rounded once.
#[derive(Clone, Copy)]
pub(crate) struct Product {
    pub(crate) target: Target,
    /// (rows, inner), or (inner, rows) where it is turned.
    pub(crate) left: Matrix,
    pub(crate) left_turned: bool,
    /// (inner, columns), or (columns, inner) where it is turned.
    pub(crate) right: Matrix,
    pub(crate) right_turned: bool,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) inner: usize,
    pub(crate) scale: f32,
    /// Whether the product is added to what is there.
    pub(crate) adds: bool,
}

/// Memory on a machine that grows when it must and is given back when dropped. Empty until it is first asked for.
#[derive(Default)]
pub(crate) struct Memory {
    held: Option<Held>,
}

struct Held {
    machine: Arc<dyn Machine>,
    address: u64,
    bytes: usize,
}

impl Memory {
    /// Room for `count` elements; what was in it may be lost.
    pub(crate) fn sized<T: Element>(&mut self, machine: &Arc<dyn Machine>, count: usize) -> Result<Ptr<T>> {
        let bytes = (count * size_of::<T>()).max(1).next_multiple_of(256);
        if self.held.as_ref().is_none_or(|held| held.bytes < bytes) {
            self.held = None; // given back first: both at once may not fit
            let address = machine.allocate(bytes)?;
            self.held = Some(Held { machine: machine.clone(), address, bytes });
        }
        Ok(self.ptr())
    }

    /// Memory with these values in it.
    pub(crate) fn of<T: Element>(machine: &Arc<dyn Machine>, values: &[T]) -> Result<Self> {
        let mut memory = Self::default();
        memory.fill(machine, values)?;
        Ok(memory)
    }

    /// Takes over `values`, growing for them.
    pub(crate) fn fill<T: Element>(&mut self, machine: &Arc<dyn Machine>, values: &[T]) -> Result<Ptr<T>> {
        let start = self.sized::<T>(machine, values.len())?;
        machine.upload(start.address, bytemuck::cast_slice(values))?;
        Ok(start)
    }

    /// Where it starts; null while it is empty.
    pub(crate) fn ptr<T: Element>(&self) -> Ptr<T> {
        self.held.as_ref().map_or(Ptr::NULL, |held| Ptr::new(held.address))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.machine.free(self.address, self.bytes);
    }
}

/// `count` elements from the device, after all work on them.
pub(crate) fn read<T: Element>(machine: &dyn Machine, from: Ptr<T>, count: usize) -> Result<Vec<T>> {
    let mut values = vec![T::default(); count];
    if count > 0 {
        machine.download(bytemuck::cast_slice_mut(&mut values), from.address)?;
    }
    Ok(values)
}

/// Writes values from `to` on.
pub(crate) fn write<T: Element>(machine: &dyn Machine, to: Ptr<T>, values: &[T]) -> Result<()> {
    machine.upload(to.address, bytemuck::cast_slice(values))
}
