//! `Runtime`: the engine, the threads that run guests, and the compiled code they share.
//!
//! It owns its threads: guests run there and nowhere else, so that a caller's executor is never blocked by one and a
//! caller without an executor needs none of tokio's.

use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::cache::Cache;
use crate::plugin::Linked;
use crate::{Digest, Error, Plugin, PluginSpec, engine, inspect};

/// No plugin is larger: an interpreter with its standard library is a third of it.
const COMPONENT_BYTES_MAX: u64 = 64 << 20;

/// How many threads guests get, and where native code is kept.
///
/// Plain data, `Send + Sync`; the default is all cores and no cache on disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuntimeConfig {
    /// Threads that run guests; 0 is one per core.
    pub jobs: usize,
    /// A folder for compiled native code, private to this user; none compiles in every process.
    pub cache_dir: Option<PathBuf>,
}

/// Loads plugins and runs them: one per process.
///
/// Making one costs about a millisecond, some threads and a reservation of address space; a clone is a counter. `Send +
/// Sync`. It lives until the last clone, plugin or reward made of it is dropped, which may happen anywhere, also inside
/// asynchronous code.
#[derive(Clone)]
pub struct Runtime {
    shared: Arc<Shared>,
}

/// What plugins keep of their runtime.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) jobs: usize,
    /// As many permits as the instance pool has room for: a full pool is an error, a queue is not.
    slots: Semaphore,
    threads: Option<tokio::runtime::Runtime>,
    cache: Option<Cache>,
    /// Compiled or compiling, by digest: whoever comes second waits for the first.
    compiled: Mutex<BTreeMap<Digest, Weak<OnceCell<Component>>>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            // The plain drop waits for the threads, which panics inside asynchronous code and could wait for a guest.
            threads.shutdown_background();
        }
    }
}

impl Shared {
    /// Runs a task on our threads and waits for it from wherever the caller is. The error says that it panicked.
    pub(crate) fn run<T, F>(&self, task: F) -> impl Future<Output = Result<T, String>> + use<T, F>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let handle = self.handle().spawn(task);
        async move { handle.await.map_err(|error| error.to_string()) }
    }

    /// The right to hold one instance.
    pub(crate) async fn slot(&self) -> SemaphorePermit<'_> {
        self.slots.acquire().await.expect("the semaphore is never closed")
    }

    fn handle(&self) -> &tokio::runtime::Handle {
        self.threads.as_ref().expect("taken only when dropped").handle()
    }

    async fn compile(self: &Arc<Self>, path: &Path, bytes: Vec<u8>) -> Result<Arc<OnceCell<Component>>, Error> {
        let digest = Digest::of(&bytes);
        let cell = self.cell(digest);
        cell.get_or_try_init(|| {
            let (shared, path) = (self.clone(), path.to_owned());
            let compiling = self.handle().spawn_blocking(move || shared.compile_now(&path, &digest, &bytes));
            async move { compiling.await.unwrap_or_else(|error| Err(Error::Engine { reason: error.to_string() })) }
        })
        .await?;
        Ok(cell)
    }

    fn cell(&self, digest: Digest) -> Arc<OnceCell<Component>> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.retain(|_, cell| cell.strong_count() > 0);
        compiled.get(&digest).and_then(Weak::upgrade).unwrap_or_else(|| {
            let cell = Arc::new(OnceCell::new());
            compiled.insert(digest, Arc::downgrade(&cell));
            cell
        })
    }

    fn compile_now(&self, path: &Path, digest: &Digest, bytes: &[u8]) -> Result<Component, Error> {
        if let Some(component) = self.cache.as_ref().and_then(|cache| cache.load(&self.engine, digest)) {
            return Ok(component);
        }
        let component = Component::new(&self.engine, bytes)
            .map_err(|error| Error::Unfit { path: path.to_owned(), reason: format!("{error:#}") })?;
        if let Some(cache) = &self.cache {
            cache.store(&self.engine, digest, &component);
        }
        Ok(component)
    }
}

impl Runtime {
    /// Starts the engine and its threads.
    pub fn new(config: RuntimeConfig) -> Result<Runtime, Error> {
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let jobs = if config.jobs == 0 { cores() } else { config.jobs };
        // Twice as many instances as threads: those that wait for a host service leave room for others.
        let slots = jobs.saturating_mul(2).min(1000);
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(jobs)
            .thread_name("rewarden-worker")
            .build()
            .map_err(|error| Error::Engine { reason: format!("no worker threads: {error}") })?;
        let shared = Shared {
            engine: engine::start(slots as u32)?,
            jobs,
            slots: Semaphore::new(slots),
            threads: Some(threads),
            cache: config.cache_dir.as_deref().and_then(Cache::open),
            compiled: Mutex::default(),
        };
        Ok(Runtime { shared: Arc::new(shared) })
    }

    /// How many threads run guests.
    pub fn jobs(&self) -> usize {
        self.shared.jobs
    }

    /// Reads, inspects, compiles, links and tries out a component; every refusal is a sentence.
    pub async fn load(&self, spec: &PluginSpec) -> Result<Plugin, Error> {
        let (path, name, grants) = (spec.path.clone(), spec.name.clone(), spec.grants.clone());
        // Reading and validating megabytes has no place on a caller's executor.
        let reading = self.shared.handle().spawn_blocking(move || {
            let bytes = read(&path)?;
            let inspection = inspect::inspect(&path, &bytes)?;
            inspect::check_imports(&path, &name, &inspection.imports, &grants)?;
            Ok((bytes, inspection))
        });
        let (bytes, inspection) = reading.await.map_err(|error| Error::Engine { reason: error.to_string() })??;
        let (digest, size_bytes) = (Digest::of(&bytes), bytes.len() as u64);
        let compiled = self.shared.compile(&spec.path, bytes).await?;
        let linked = Linked::new(self.shared.clone(), spec, digest, size_bytes, inspection, compiled)?;
        Plugin::configure(Arc::new(linked), &spec.settings, spec.seed).await
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    // One byte more than the cap: a pipe or a growing file has no size to trust.
    let mut bytes = Vec::with_capacity(size.min(COMPONENT_BYTES_MAX) as usize);
    file.take(COMPONENT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > COMPONENT_BYTES_MAX {
        let bytes = size.max(bytes.len() as u64);
        return Err(Error::TooLarge { path: path.to_owned(), bytes, bytes_max: COMPONENT_BYTES_MAX });
    }
    Ok(bytes)
}
