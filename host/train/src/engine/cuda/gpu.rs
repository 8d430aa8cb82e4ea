//! An NVIDIA GPU: its driver, NVRTC and cuBLAS, all loaded at run time.
//!
//! One stream, so that work runs in the order it was queued. Memory comes from the driver's stream-ordered pool, which is told
//! to keep what it has; cudarc's event tracking, which is for several streams, is not used. Kernels are compiled file by
//! file when first needed.
//!
//! Threads take turns: a reward model judges while the policy samples, on the same stream, and what one thread queues while
//! another records a graph would become part of that graph.

#![allow(unsafe_code, reason = "calls into the CUDA driver and cuBLAS, C libraries")]

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::cublas::{result as cublas, sys as cublas_sys};
use cudarc::driver::{CudaContext, CudaGraph, CudaStream, result as driver, sys};
use parking_lot::{ReentrantMutex, ReentrantMutexGuard};

use super::kernels::Source;
use super::launch::Launch;
use super::machine::{Machine, Matrix, Product, Recording, Replay, Target};
use super::nvrtc;
use crate::error::{Error, Result};

/// What cuBLAS may use between kernels; the size its documentation asks for on Hopper. Given once, so that recorded graphs
/// hold an address that stays.
const WORKSPACE_BYTES: usize = 32 << 20;

/// Shared memory that a kernel gets without asking: 48 KiB, in which what it declares itself must have room too.
const SHARED_BYTES: usize = 47 << 10;

/// The GPU of this number, opened once in a process: its kernels stay compiled, its memory pool stays.
pub(crate) fn shared(ordinal: usize) -> Result<Arc<dyn Machine>> {
    static OPEN: Mutex<Vec<(usize, Arc<Gpu>)>> = Mutex::new(vec![]);
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, gpu)) = open.iter().find(|(number, _)| *number == ordinal) {
        return Ok(gpu.clone());
    }
    let gpu = Arc::new(Gpu::open(ordinal)?);
    open.push((ordinal, gpu.clone()));
    Ok(gpu)
}

/// One GPU.
pub(crate) struct Gpu {
    stream: Arc<CudaStream>,
    blas: Blas,
    capability: (u32, u32),
    processors: usize,
    functions: Mutex<HashMap<String, Function>>,
    /// Held by whoever queues something, or records.
    turn: ReentrantMutex<()>,
}

/// A compiled kernel, and the shared memory it may ask for. Modules stay loaded as long as the process.
struct Function {
    handle: sys::CUfunction,
    shared_bytes: usize,
}

// SAFETY: a handle that any thread may launch from.
unsafe impl Send for Function {}

/// A cuBLAS handle, used by whose turn it is.
struct Blas(cublas_sys::cublasHandle_t);

// SAFETY: the handle is only used by `Gpu::multiply`, by one thread at a time.
unsafe impl Send for Blas {}
// SAFETY: as above.
unsafe impl Sync for Blas {}

impl Gpu {
    /// The GPU of this number, with everything it takes to use it.
    pub(crate) fn open(ordinal: usize) -> Result<Self> {
        require_libraries()?;
        let context = CudaContext::new(ordinal).map_err(|error| no_gpu(ordinal, &error))?;
        // SAFETY: everything runs on one stream.
        unsafe { context.disable_event_tracking() };
        keep_memory(&context).map_err(failed("keep the GPU's memory"))?;
        let (major, minor) = context.compute_capability().map_err(failed("ask the GPU what it can do"))?;
        if major < 8 {
            let name = context.name().unwrap_or_default();
            return Err(Error::Gpu(format!(
                "{name} has compute capability {major}.{minor}; bf16 tensor cores begin with 8.0 (A100, RTX 30). Train on the CPU"
            )));
        }
        let count = sys::CUdevice_attribute_enum::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        let processors = context.attribute(count).map_err(failed("count the GPU's multiprocessors"))? as usize;
        let stream = context.new_stream().map_err(failed("create a stream"))?;
        let blas = Blas::new(&stream)?;
        let (functions, turn) = (Mutex::default(), ReentrantMutex::default());
        Ok(Self { stream, blas, capability: (major as u32, minor as u32), processors, functions, turn })
    }

    /// The GPU's name, and its memory in bytes: (free, all).
    pub(crate) fn describe(&self) -> Result<(String, (usize, usize))> {
        let context = self.stream.context();
        let name = context.name().map_err(failed("ask the GPU its name"))?;
        Ok((name, context.mem_get_info().map_err(failed("ask the GPU for its free memory"))?))
    }

    /// The compiled kernel. Asked for by whose turn it is.
    fn function(&self, kernel: &str, shared_bytes: usize) -> Result<sys::CUfunction> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if !functions.contains_key(kernel) {
            let source = Source::of(kernel);
            let cubin = nvrtc::compile(source, self.capability, false).map_err(Error::Gpu)?;
            // SAFETY: the image was compiled for this GPU; modules are never unloaded.
            let module = unsafe { driver::module::load_data(cubin.image.as_ptr().cast::<c_void>()) };
            let module =
                module.map_err(failed("load a compiled kernel (is NVRTC newer than the CUDA of the driver?)"))?;
            for &name in source.kernels {
                let c_name = CString::new(name).expect("names hold no zero");
                // SAFETY: the module is loaded.
                let function = unsafe { driver::module::get_function(module, c_name) };
                let handle = function.map_err(failed("find a compiled kernel"))?;
                functions.insert(name.to_owned(), Function { handle, shared_bytes: SHARED_BYTES });
            }
        }
        let Some(Function { handle, shared_bytes: given }) = functions.get_mut(kernel) else {
            return Err(Error::Gpu(format!("the compiler left {kernel} out")));
        };
        if shared_bytes > *given {
            let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function is loaded.
            unsafe { driver::function::set_function_attribute(*handle, attribute, shared_bytes as i32) }
                .map_err(failed("give a kernel its shared memory"))?;
            *given = shared_bytes;
        }
        Ok(*handle)
    }

    /// Waits until it is the calling thread's turn to drive this GPU, which lasts as long as the guard.
    fn turn(&self) -> Result<ReentrantMutexGuard<'_, ()>> {
        let turn = self.turn.lock();
        self.stream.context().bind_to_thread().map_err(failed("use the GPU from this thread"))?;
        Ok(turn)
    }

    /// Gives what the pool keeps back to the driver, which counts it as taken.
    fn give_back(&self) -> Result<()> {
        self.stream.synchronize().map_err(failed("finish what the GPU was asked to do"))?;
        // SAFETY: the device is open; what is in use is kept.
        unsafe {
            driver::device::get_default_mem_pool(self.stream.context().cu_device())
                .and_then(|pool| driver::mem_pool::trim_to(pool, 0))
        }
        .map_err(failed("give back unused memory"))
    }
}

impl Machine for Gpu {
    fn allocate(&self, bytes: usize) -> Result<u64> {
        let _turn = self.turn()?;
        // SAFETY: the stream is alive.
        let allocate = || unsafe { driver::malloc_async(self.stream.cu_stream(), bytes) };
        // What the pool keeps may lie in pieces that are each too small.
        let address = allocate().or_else(|error| if self.give_back().is_ok() { allocate() } else { Err(error) });
        address.map_err(|error| {
            let free = self.describe().map_or(0, |(_, (free, _))| free);
            Error::Gpu(format!(
                "cannot allocate {} MiB, {} MiB are free ({error}): take fewer tokens at a time (`micro_batch_size`), \
                 `gradient_checkpointing`, LoRA, or a smaller model",
                bytes >> 20,
                free >> 20
            ))
        })
    }

    fn free(&self, address: u64, _bytes: usize) {
        // Nothing is left to do about an error.
        if let Ok(_turn) = self.turn() {
            // SAFETY: it came from `allocate`, and its owner is gone.
            let _ = unsafe { driver::free_async(address, self.stream.cu_stream()) };
        }
    }

    fn upload(&self, to: u64, bytes: &[u8]) -> Result<()> {
        let _turn = self.turn()?;
        // SAFETY: the caller owns the target. From pageable memory the driver copies before it returns.
        unsafe { driver::memcpy_htod_async(to, bytes, self.stream.cu_stream()) }.map_err(failed("copy to the GPU"))
    }

    fn download(&self, bytes: &mut [u8], from: u64) -> Result<()> {
        let _turn = self.turn()?;
        // SAFETY: the caller owns the source; the copy is done before this returns.
        unsafe { driver::memcpy_dtoh_async(bytes, from, self.stream.cu_stream()) }
            .map_err(failed("copy from the GPU"))?;
        self.stream.synchronize().map_err(failed("finish what the GPU was asked to do"))
    }

    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()> {
        let _turn = self.turn()?;
        // SAFETY: the caller owns both.
        unsafe { driver::memcpy_dtod_async(to, from, bytes, self.stream.cu_stream()) }
            .map_err(failed("copy on the GPU"))
    }

    fn clear(&self, at: u64, bytes: usize) -> Result<()> {
        let _turn = self.turn()?;
        // SAFETY: the caller owns it.
        unsafe { driver::memset_d8_async(at, 0, bytes, self.stream.cu_stream()) }.map_err(failed("clear memory"))
    }

    fn launch(&self, launch: &Launch) -> Result<()> {
        if launch.is_empty() {
            return Ok(());
        }
        let _turn = self.turn()?;
        let function = self.function(&launch.kernel, launch.shared_bytes)?;
        let mut bytes: Vec<[u8; 8]> = launch.arguments.iter().map(|argument| argument.bytes()).collect();
        let mut arguments: Vec<*mut c_void> = bytes.iter_mut().map(|bytes| bytes.as_mut_ptr().cast()).collect();
        let [x, y, z] = launch.grid;
        // SAFETY: `ops` builds the arguments that the kernel takes, which the tests check; the memory behind them is its
        // caller's.
        unsafe {
            driver::launch_kernel(
                function,
                (x, y, z),
                (launch.block, 1, 1),
                launch.shared_bytes as u32,
                self.stream.cu_stream(),
                &mut arguments,
            )
        }
        .map_err(|error| Error::Gpu(format!("cannot start {}: {error}", launch.kernel)))
    }

    fn multiply(&self, product: &Product) -> Result<()> {
        if product.rows == 0 || product.columns == 0 {
            return Ok(());
        }
        let _turn = self.turn()?;
        self.blas.multiply(product)
    }

    fn free_bytes(&self) -> Result<usize> {
        let _turn = self.turn()?;
        self.give_back()?;
        Ok(self.describe()?.1.0)
    }

    fn processors(&self) -> usize {
        self.processors
    }

    fn record(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<Recording> {
        let _turn = self.turn()?; // until the recording ends
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        self.stream.begin_capture(mode).map_err(failed("begin to record"))?;
        let worked = work();
        // Ended even after an error: a stream that records runs nothing.
        let graph = self.stream.end_capture(sys::CUgraphInstantiate_flags(0));
        worked?;
        let graph = graph.map_err(failed("finish a recording"))?;
        let graph = graph.ok_or_else(|| Error::Gpu("nothing was recorded".into()))?;
        graph.upload().map_err(failed("upload a recording"))?;
        Ok(Box::new(Graph(graph)))
    }
}

/// A recorded CUDA graph.
struct Graph(CudaGraph);

// SAFETY: launched by one thread at a time, whose it is; the driver orders what several threads queue.
unsafe impl Send for Graph {}

impl Replay for Graph {
    fn replay(&self) -> Result<()> {
        self.0.launch().map_err(failed("replay a recording"))
    }
}

impl Blas {
    fn new(stream: &CudaStream) -> Result<Self> {
        let failed = |error| Error::Gpu(format!("cannot use cuBLAS: {error}"));
        let handle = cublas::create_handle().map_err(failed)?;
        // SAFETY: the handle is alive and so is the stream; the workspace is never freed.
        unsafe {
            cublas::set_stream(handle, stream.cu_stream().cast()).map_err(failed)?;
            let workspace = driver::malloc_sync(WORKSPACE_BYTES).map_err(self::failed("allocate for cuBLAS"))?;
            cublas_sys::cublasSetWorkspace_v2(handle, workspace as *mut c_void, WORKSPACE_BYTES)
                .result()
                .map_err(failed)?;
            // Or sums that are cut into parts may be put together in bf16.
            let exact = cublas_sys::cublasMath_t::CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
            cublas_sys::cublasSetMathMode(handle, exact).result().map_err(failed)?;
        }
        Ok(Self(handle))
    }

    /// cuBLAS knows matrices by columns: what lies there by rows it takes for the transpose. So it is asked for the
    /// transpose of the product, right^T left^T, whose columns are our rows.
    fn multiply(&self, product: &Product) -> Result<()> {
        use cublas_sys::cublasOperation_t::{CUBLAS_OP_N, CUBLAS_OP_T};
        use cublas_sys::cudaDataType_t::{CUDA_R_16BF, CUDA_R_32F};
        let Product { target, left, left_turned, right, right_turned, rows, columns, inner, scale, adds } = *product;
        let operation = |turned: bool| if turned { CUBLAS_OP_T } else { CUBLAS_OP_N };
        let (to, to_type, to_stride) = match target {
            Target::Bf16(Matrix { start, stride }) => (start.address, CUDA_R_16BF, stride),
            Target::F32 { start, stride } => (start.address, CUDA_R_32F, stride),
        };
        let added = if adds { 1.0_f32 } else { 0.0 };
        // SAFETY: the matrices are the caller's, of these sizes; scale and added outlive the call, which copies them.
        unsafe {
            cublas::gemm_ex(
                self.0,
                operation(right_turned),
                operation(left_turned),
                columns as i32,
                rows as i32,
                inner as i32,
                ptr::from_ref(&scale).cast(),
                right.start.address as *const c_void,
                CUDA_R_16BF,
                right.stride as i32,
                left.start.address as *const c_void,
                CUDA_R_16BF,
                left.stride as i32,
                ptr::from_ref(&added).cast(),
                to as *mut c_void,
                to_type,
                to_stride as i32,
                cublas_sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                cublas_sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        }
        .map_err(|error| Error::Gpu(format!("cuBLAS cannot multiply {rows} x {inner} by {inner} x {columns}: {error}")))
    }
}

/// Whether everything is there that a GPU is driven with; the error names what is not, and how to get it.
fn require_libraries() -> Result<()> {
    let pip = |package: &str| {
        format!("install CUDA 12 or 13, or `pip install {package}` and add its folder to LD_LIBRARY_PATH")
    };
    // SAFETY: these only try to load the libraries.
    let libraries = unsafe {
        [
            (sys::is_culib_present(), "the NVIDIA driver (libcuda)", "install the driver of your GPU".to_owned()),
            (nvrtc::is_present(), "NVRTC (libnvrtc)", pip("nvidia-cuda-nvrtc")),
            (cublas_sys::is_culib_present(), "cuBLAS (libcublas)", pip("nvidia-cublas")),
        ]
    };
    let absent: Vec<String> = libraries
        .into_iter()
        .filter(|(is_present, ..)| !is_present)
        .map(|(_, name, fix)| format!("{name} is not installed: {fix}"))
        .collect();
    if absent.is_empty() { Ok(()) } else { Err(Error::Gpu(absent.join("; "))) }
}

/// Tells the pool to keep freed memory: by default every synchronisation gives it back to the driver.
fn keep_memory(context: &CudaContext) -> std::result::Result<(), driver::DriverError> {
    let mut everything = u64::MAX;
    let threshold = sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the device is open, and the attribute is a u64.
    unsafe {
        let pool = driver::device::get_default_mem_pool(context.cu_device())?;
        driver::mem_pool::set_attribute(pool, threshold, ptr::from_mut(&mut everything).cast())
    }
}

fn no_gpu(ordinal: usize, error: &driver::DriverError) -> Error {
    Error::Gpu(format!("cannot open GPU {ordinal}: {error}. `nvidia-smi` lists the GPUs of this machine"))
}

/// For `map_err` on calls of the driver.
fn failed(what: &'static str) -> impl FnOnce(driver::DriverError) -> Error {
    move |error| Error::Gpu(format!("cannot {what}: {error}"))
}
