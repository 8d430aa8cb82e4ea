//! Runs launches on the CPU: compiles the kernel files as C++ against `emulator.h`, once per test process.
//!
//! Where `REWARDEN_TEST_GPU` is set, the same tests run on the first GPU instead, and compare three runs.
//!
//! `REWARDEN_EMULATOR_FLAGS` is given to the C++ compiler beside the usual flags; with `-fsanitize=address,undefined` and
//! libasan preloaded, every access of a kernel is checked.

#![allow(unsafe_code, reason = "calls the library that the emulator was compiled to")]

mod machine;

pub(crate) use machine::Emulated;

use std::alloc::{self, Layout};
use std::env;
use std::ffi::{CStr, CString, c_char, c_void};
use std::fmt::Write as _;
use std::fs;
use std::marker::PhantomData;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::{ptr, slice};

use libloading::Library;

use super::gpu::shared;
use super::kernels;
use super::launch::{Element, Launch, Ptr};
use super::machine::{Machine, Memory, read};

/// Which thread runs when several could (emulator.h).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Order {
    First,
    Last,
    Random,
}

pub(crate) const ORDERS: [Order; 3] = [Order::First, Order::Last, Order::Random];

type Run =
    unsafe extern "C" fn(*const c_char, *const u32, u32, u64, *const c_char, *const *mut c_void, u32) -> *const c_char;

/// What launches run on. One at a time: the emulator's registers are static.
pub(crate) struct Emulator {
    /// None where a GPU runs them.
    library: Option<Library>,
    pub(crate) order: Order,
}

/// The GPU that tests run on instead of the emulator, if whoever runs them wants that.
#[allow(clippy::disallowed_methods, reason = "whether tests run on a GPU is said by whoever runs them")]
pub(crate) fn gpu() -> Option<&'static Arc<dyn Machine>> {
    static GPU: OnceLock<Option<Arc<dyn Machine>>> = OnceLock::new();
    let open = || env::var_os("REWARDEN_TEST_GPU").map(|_| shared(0).unwrap_or_else(|error| panic!("{error}")));
    GPU.get_or_init(open).as_ref()
}

impl Emulator {
    /// The machine of this process, once nobody else uses it; None, said by name, where there is no C++ compiler.
    pub(crate) fn get() -> Option<MutexGuard<'static, Self>> {
        static MACHINE: OnceLock<Option<Mutex<Emulator>>> = OnceLock::new();
        let build = || match gpu() {
            Some(_) => Some(Self { library: None, order: Order::First }),
            None => Self::build(),
        };
        let machine = MACHINE.get_or_init(|| build().map(Mutex::new)).as_ref()?;
        Some(machine.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[allow(clippy::disallowed_methods, reason = "which compiler and flags tests use is said by whoever runs them")]
    fn build() -> Option<Self> {
        let compiler = env::var("CXX").unwrap_or_else(|_| "c++".into());
        if Command::new(&compiler).arg("--version").output().is_err() {
            super::tests::skip(&format!("kernels were not run: there is no C++ compiler {compiler}"));
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in [("emulator.h", include_str!("emulator.h")), ("main.cc", &main())] {
            fs::write(folder.path().join(name), text).expect("the temporary folder is writable");
        }
        let library = folder.path().join("emulator.so");
        let flags = env::var("REWARDEN_EMULATOR_FLAGS").unwrap_or_default();
        let output = Command::new(&compiler)
            .args(["-std=c++17", "-O2", "-g1", "-shared", "-fPIC", "-ffp-contract=off", "-fno-strict-aliasing"])
            .args(["-Wall", "-Wno-unknown-pragmas", "-Wno-unused-function"])
            .args(flags.split_whitespace())
            .args([Path::new("main.cc"), Path::new("-o"), &library])
            .current_dir(folder.path())
            .output()
            .expect("the compiler runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // SAFETY: the library's initialisers only fill its table of kernels.
        let library = unsafe { Library::new(&library) }.expect("the emulator loads");
        Some(Self { library: Some(library), order: Order::First })
    }

    /// Runs a kernel over its whole grid; panics with what the emulator finds wrong.
    #[track_caller]
    pub(crate) fn run(&self, launch: &Launch) {
        let Some(library) = &self.library else {
            return gpu().expect("there is a GPU").launch(launch).unwrap_or_else(|error| panic!("{error}"));
        };
        let name = CString::new(&*launch.kernel).expect("names hold no zero");
        let letters: Vec<u8> = launch.arguments.iter().map(|argument| argument.letter()).collect();
        let letters = CString::new(letters).expect("letters hold no zero");
        let mut bytes: Vec<[u8; 8]> = launch.arguments.iter().map(|argument| argument.bytes()).collect();
        let arguments: Vec<*mut c_void> = bytes.iter_mut().map(|bytes| bytes.as_mut_ptr().cast()).collect();
        // SAFETY: the function has this type (main); the emulator compares the arguments with the kernel's parameters, and
        // what the kernel makes of the memory it is given is what the tests are for.
        let error = unsafe {
            let run = library.get::<Run>(b"emulator_run").expect("the emulator has its entry");
            let shared_bytes = launch.shared_bytes as u64;
            let (grid, order) = (launch.grid.as_ptr(), self.order as u32);
            let error =
                run(name.as_ptr(), grid, launch.block, shared_bytes, letters.as_ptr(), arguments.as_ptr(), order);
            CStr::from_ptr(error).to_string_lossy()
        };
        assert!(error.is_empty(), "{error}");
    }
}

/// The C++ program: every kernel file in a namespace of its own, and a table of the kernels.
fn main() -> String {
    let mut text = format!("#define REWARDEN_EMULATOR\n{}", kernels::common());
    let mut table = String::new();
    for (number, source) in kernels::SOURCES.iter().enumerate() {
        writeln!(text, "namespace file{number} {{\n{}}}", source.own_text()).unwrap();
        for kernel in source.kernels {
            let typed = format!("emulator::Kernel<&file{number}::{kernel}>");
            writeln!(table, "{{\"{kernel}\", {typed}::signature(), {typed}::call}},").unwrap();
        }
    }
    let run = r#"
extern "C" const char* emulator_run(
    const char* name, const u32* grid, u32 block, u64 shared_bytes, const char* letters, void** arguments, u32 order) {
    static std::string error;
    error = std::string("there is no kernel ") + name;
    for (const emulator::Entry& entry : entries)
        if (!strcmp(entry.name, name))
            error = emulator::launch(
                entry, grid, block, shared_bytes, letters, arguments, static_cast<emulator::Order>(order), 1);
    return error.c_str();
}
"#;
    format!("{text}\nstatic const emulator::Entry entries[] = {{\n{table}}};\n{run}")
}

/// Memory of the device. The emulator's has guards at both ends that nobody may write.
pub(crate) struct Buffer<T> {
    held: Held,
    len: usize,
    element: PhantomData<T>,
}

enum Held {
    Emulated { start: *mut u8, bytes: usize },
    Gpu(Memory),
}

const GUARD: usize = 64;
const GUARDED: u8 = 0xab;

impl<T: Element> Buffer<T> {
    pub(crate) fn new(values: &[T]) -> Self {
        let held = match gpu() {
            Some(gpu) => Held::Gpu(Memory::of(gpu, values).unwrap()),
            None => Held::emulated(size_of_val(values)),
        };
        let buffer = Self { held, len: values.len(), element: PhantomData };
        if let Held::Emulated { .. } = buffer.held {
            // SAFETY: within the allocation, which nobody reads meanwhile.
            unsafe { ptr::copy_nonoverlapping(values.as_ptr(), buffer.start(), values.len()) };
        }
        buffer
    }

    pub(crate) fn zeros(len: usize) -> Self {
        Self::new(&vec![T::default(); len])
    }

    /// `len` elements of bytes 0xff, which are no numbers: what a kernel should have written and did not is seen.
    pub(crate) fn unwritten(len: usize) -> Self {
        let mut values = vec![T::default(); len];
        bytemuck::cast_slice_mut::<T, u8>(&mut values).fill(0xff);
        Self::new(&values)
    }

    pub(crate) fn ptr(&self) -> Ptr<T> {
        match &self.held {
            Held::Emulated { .. } => Ptr::new(self.start() as u64),
            Held::Gpu(memory) => memory.ptr(),
        }
    }

    pub(crate) fn values(&self) -> Vec<T> {
        match gpu() {
            Some(gpu) => read(gpu.as_ref(), self.ptr(), self.len).unwrap(),
            // SAFETY: within the allocation, initialised by `new`.
            None => unsafe { slice::from_raw_parts(self.start(), self.len) }.to_vec(),
        }
    }

    /// Where the emulator's memory starts, behind its guard.
    fn start(&self) -> *mut T {
        match &self.held {
            // SAFETY: the guard is part of the allocation.
            Held::Emulated { start, .. } => unsafe { start.add(guard()) }.cast(),
            Held::Gpu(_) => unreachable!("a GPU's memory has no address here"),
        }
    }
}

impl Held {
    fn emulated(bytes: usize) -> Self {
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc::alloc(layout(bytes)) };
        assert!(!start.is_null());
        // SAFETY: all of it was allocated.
        unsafe { start.write_bytes(GUARDED, layout(bytes).size()) };
        Self::Emulated { start, bytes }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Self::Emulated { start, bytes } = *self else { return };
        // SAFETY: allocated with this layout by `emulated`, and initialised.
        let untouched = unsafe {
            let whole = slice::from_raw_parts(start, layout(bytes).size());
            let behind = guard() + bytes.max(1);
            let untouched = whole[..guard()].iter().chain(&whole[behind..]).all(|&byte| byte == GUARDED);
            alloc::dealloc(start, layout(bytes));
            untouched
        };
        assert!(untouched || std::thread::panicking(), "a kernel wrote past the end of a buffer");
    }
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes.max(1) + 2 * guard(), 16).expect("a small buffer")
}

/// None under a sanitizer, which then sees the very end of the buffer.
#[allow(clippy::disallowed_methods, reason = "whether a sanitizer watches is said by whoever runs the tests")]
fn guard() -> usize {
    if env::var_os("REWARDEN_EMULATOR_FLAGS").is_some() { 0 } else { GUARD }
}
