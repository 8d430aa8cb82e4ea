//! The emulator as a machine: memory of the host, kernels in the emulator, matrix products by hand.

#![allow(unsafe_code, reason = "addresses of the device are addresses here")]

use std::alloc::{self, Layout};
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};

use half::bf16;

use super::{Emulator, Order, gpu};
use crate::engine::cuda::launch::{Element, Launch, Ptr};
use crate::engine::cuda::machine::{Machine, Matrix, Product, Recording, Replay, Target};
use crate::error::Result;

/// Runs what it is given at once, unless it records.
#[derive(Clone)]
pub(crate) struct Emulated {
    order: Order,
    recorded: Arc<Mutex<Option<Vec<Step>>>>,
}

#[derive(Clone)]
enum Step {
    Launch(Launch),
    Multiply(Product),
    Copy(u64, u64, usize),
    Clear(u64, usize),
}

impl Emulated {
    /// A machine, which may be a GPU ([`gpu`]); None, said by name, where there is no C++ compiler.
    pub(crate) fn machine() -> Option<Arc<dyn Machine>> {
        if let Some(gpu) = gpu() {
            return Some(gpu.clone());
        }
        drop(Emulator::get()?);
        Some(Arc::new(Self { order: Order::Random, recorded: Arc::default() }))
    }

    fn queue(&self, step: Step) {
        match &mut *self.recorded.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(recorded) => recorded.push(step),
            None => self.run(&step),
        }
    }

    fn run(&self, step: &Step) {
        match step {
            Step::Launch(launch) => {
                let mut emulator = Emulator::get().expect("it was there");
                emulator.order = self.order;
                emulator.run(launch);
            }
            Step::Multiply(product) => multiply(product),
            // SAFETY: both lie in buffers of this machine.
            Step::Copy(to, from, bytes) => unsafe { std::ptr::copy(*from as *const u8, *to as *mut u8, *bytes) },
            // SAFETY: as above.
            Step::Clear(at, bytes) => unsafe { (*at as *mut u8).write_bytes(0, *bytes) },
        }
    }
}

impl Machine for Emulated {
    fn allocate(&self, bytes: usize) -> Result<u64> {
        // SAFETY: the layout is not empty. What is read before it is written is no number.
        unsafe {
            let start = alloc::alloc(layout(bytes));
            start.write_bytes(0xff, bytes);
            Ok(start as u64)
        }
    }

    fn free(&self, address: u64, bytes: usize) {
        // SAFETY: it came from `allocate`.
        unsafe { alloc::dealloc(address as *mut u8, layout(bytes)) }
    }

    fn upload(&self, to: u64, bytes: &[u8]) -> Result<()> {
        // SAFETY: it lies in a buffer of this machine.
        unsafe { slice::from_raw_parts_mut(to as *mut u8, bytes.len()) }.copy_from_slice(bytes);
        Ok(())
    }

    fn download(&self, bytes: &mut [u8], from: u64) -> Result<()> {
        // SAFETY: it lies in a buffer of this machine.
        bytes.copy_from_slice(unsafe { slice::from_raw_parts(from as *const u8, bytes.len()) });
        Ok(())
    }

    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()> {
        self.queue(Step::Copy(to, from, bytes));
        Ok(())
    }

    fn clear(&self, at: u64, bytes: usize) -> Result<()> {
        self.queue(Step::Clear(at, bytes));
        Ok(())
    }

    fn launch(&self, launch: &Launch) -> Result<()> {
        if !launch.is_empty() {
            self.queue(Step::Launch(launch.clone()));
        }
        Ok(())
    }

    fn multiply(&self, product: &Product) -> Result<()> {
        self.queue(Step::Multiply(*product));
        Ok(())
    }

    fn free_bytes(&self) -> Result<usize> {
        Ok(1 << 30)
    }

    fn processors(&self) -> usize {
        4
    }

    fn record(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<Recording> {
        let recorded = || self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        *recorded() = Some(vec![]);
        let worked = work();
        let steps = recorded().take().unwrap_or_default();
        worked?;
        Ok(Box::new(Recorded { machine: self.clone(), steps }))
    }
}

struct Recorded {
    machine: Emulated,
    steps: Vec<Step>,
}

impl Replay for Recorded {
    fn replay(&self) -> Result<()> {
        self.steps.iter().for_each(|step| self.machine.run(step));
        Ok(())
    }
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes.max(1), 256).expect("a small buffer")
}

/// As its definition says, with sums in f32.
fn multiply(product: &Product) {
    let Product { target, left, left_turned, right, right_turned, rows, columns, inner, scale, adds } = *product;
    let of = |matrix: Matrix, turned: bool, row: usize, column: usize| {
        let (row, column) = if turned { (column, row) } else { (row, column) };
        load(matrix.start, row * matrix.stride + column).to_f32()
    };
    let left: Vec<f32> = (0..rows).flat_map(|row| (0..inner).map(move |k| of(left, left_turned, row, k))).collect();
    let right: Vec<f32> =
        (0..columns).flat_map(|column| (0..inner).map(move |k| of(right, right_turned, k, column))).collect();
    for row in 0..rows {
        for column in 0..columns {
            let pairs = left[row * inner..][..inner].iter().zip(&right[column * inner..][..inner]);
            let sum = scale * pairs.map(|(a, b)| a * b).sum::<f32>();
            match target {
                Target::Bf16(Matrix { start, stride }) => {
                    let at = row * stride + column;
                    let before = if adds { load(start, at).to_f32() } else { 0.0 };
                    store(start, at, bf16::from_f32(before + sum));
                }
                Target::F32 { start, stride } => {
                    let at = row * stride + column;
                    let before = if adds { load(start, at) } else { 0.0 };
                    store(start, at, before + sum);
                }
            }
        }
    }
}

fn load<T: Element>(start: Ptr<T>, at: usize) -> T {
    // SAFETY: products stay in their buffers.
    unsafe { *(start.address as *const T).add(at) }
}

fn store<T: Element>(start: Ptr<T>, at: usize, value: T) {
    // SAFETY: as above.
    unsafe { *(start.address as *mut T).add(at) = value }
}
