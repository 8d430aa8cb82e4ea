//! What a kernel is started with, as data: a device runs it, tests run the same in the emulator.

use std::marker::PhantomData;

/// An address on the device, of elements of `T`. Knows no length and frees nothing: buffers do (`device.rs`).
pub(crate) struct Ptr<T> {
    pub(crate) address: u64,
    element: PhantomData<fn() -> T>,
}

impl<T> Clone for Ptr<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Ptr<T> {}

impl<T> Ptr<T> {
    pub(crate) const NULL: Self = Self::new(0);

    pub(crate) const fn new(address: u64) -> Self {
        Self { address, element: PhantomData }
    }

    /// `count` elements further on.
    pub(crate) const fn at(self, count: usize) -> Self {
        Self::new(self.address + (count * size_of::<T>()) as u64)
    }

    /// The same bytes as elements of another type.
    pub(crate) const fn cast<U>(self) -> Ptr<U> {
        Ptr::new(self.address)
    }
}

/// One argument, as the kernel's parameter list has it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Argument {
    /// A pointer, and the letter of its element type.
    Address(u64, #[cfg_attr(not(test), expect(dead_code, reason = "tests compare it with the kernel's"))] u8),
    Int(i32),
    Long(i64),
    Float(f32),
}

/// An element type of the device: its letter in a signature, which tests compare with the kernel's parameters.
pub(crate) trait Element: bytemuck::Pod + Default {
    const LETTER: u8;
}

impl Element for half::bf16 {
    const LETTER: u8 = b'b';
}

impl Element for f32 {
    const LETTER: u8 = b'f';
}

impl Element for f64 {
    const LETTER: u8 = b'd';
}

impl Element for i32 {
    const LETTER: u8 = b'i';
}

impl<T: Element> From<Ptr<T>> for Argument {
    fn from(pointer: Ptr<T>) -> Self {
        Self::Address(pointer.address, T::LETTER)
    }
}

impl From<i32> for Argument {
    fn from(value: i32) -> Self {
        Self::Int(value)
    }
}

/// Counts of rows, columns and heads; the kernels take them as 32 bits.
impl From<usize> for Argument {
    fn from(value: usize) -> Self {
        Self::Int(i32::try_from(value).expect("a dimension fits 31 bits"))
    }
}

impl From<i64> for Argument {
    fn from(value: i64) -> Self {
        Self::Long(value)
    }
}

impl From<f32> for Argument {
    fn from(value: f32) -> Self {
        Self::Float(value)
    }
}

impl Argument {
    /// The value's bytes, from the lowest address on.
    pub(crate) fn bytes(self) -> [u8; 8] {
        match self {
            Self::Address(value, _) => value.to_ne_bytes(),
            Self::Long(value) => value.to_ne_bytes(),
            Self::Int(value) => widened(value.to_ne_bytes()),
            Self::Float(value) => widened(value.to_ne_bytes()),
        }
    }

    /// `b`, `f`, `d` or `i` for a pointer's element, `I`, `L` or `F` for a number.
    #[cfg(test)]
    pub(crate) fn letter(self) -> u8 {
        match self {
            Self::Address(_, letter) => letter,
            Self::Int(_) => b'I',
            Self::Long(_) => b'L',
            Self::Float(_) => b'F',
        }
    }
}

fn widened(bytes: [u8; 4]) -> [u8; 8] {
    let mut wide = [0; 8];
    wide[..4].copy_from_slice(&bytes);
    wide
}

/// One start of a kernel.
#[derive(Clone)]
pub(crate) struct Launch {
    pub(crate) kernel: String,
    pub(crate) grid: [u32; 3],
    pub(crate) block: u32,
    /// Dynamic shared memory.
    pub(crate) shared_bytes: usize,
    pub(crate) arguments: Vec<Argument>,
}

impl Launch {
    pub(crate) fn new<const N: usize>(
        kernel: impl Into<String>,
        grid: impl Into<Grid>,
        block: usize,
        arguments: [Argument; N],
    ) -> Self {
        let Grid(grid) = grid.into();
        Self { kernel: kernel.into(), grid, block: block as u32, shared_bytes: 0, arguments: arguments.to_vec() }
    }

    pub(crate) fn shared(self, shared_bytes: usize) -> Self {
        Self { shared_bytes, ..self }
    }

    /// Whether the grid has no block at all, which a device refuses.
    pub(crate) fn is_empty(&self) -> bool {
        self.grid.contains(&0)
    }
}

/// Blocks along the three axes.
pub(crate) struct Grid([u32; 3]);

impl From<usize> for Grid {
    fn from(x: usize) -> Self {
        Self([x as u32, 1, 1])
    }
}

impl From<(usize, usize)> for Grid {
    fn from((x, y): (usize, usize)) -> Self {
        Self([x as u32, y as u32, 1])
    }
}

impl From<(usize, usize, usize)> for Grid {
    fn from((x, y, z): (usize, usize, usize)) -> Self {
        Self([x as u32, y as u32, z as u32])
    }
}

/// An array of [`Argument`]s from values of the types that kernels take.
macro_rules! arguments {
    ($($value:expr),* $(,)?) => { [$($crate::engine::cuda::launch::Argument::from($value)),*] };
}

pub(crate) use arguments;
