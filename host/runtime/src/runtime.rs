//! `Runtime`: the engine, the threads that run guests, and the compiled code they share.
//!
//! It owns its threads: guests run there and nowhere else, so that a caller's executor is never blocked by one and a
//! caller without an executor needs none of tokio's.

use std::collections::BTreeMap;
use std::future::Future;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::OnceCell;
use wasmtime::component::Component;

use crate::cache::Cache;
use crate::engine::{Engines, Pool, Profile};
use crate::fault::printable;
use crate::functions::{self, Functions};
use crate::linked::Linked;
use crate::score_cache::Scores;
use crate::source::Source;
use crate::{Digest, Error, Limits, Plugin, PluginSpec, inspect};

/// No plugin compiles for longer: the largest interpreters take seconds.
const COMPILE_TIMEOUT: Duration = Duration::from_secs(180);

/// Instances beyond two for every thread, for guests that wait for a host service and use no thread meanwhile.
const WAITING_SLOTS: usize = 64;

/// A component, once it is compiled.
pub(crate) type Compiled = OnceCell<Component>;

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
    pub(crate) engines: Engines,
    pub(crate) jobs: usize,
    pub(crate) scores: Scores,
    threads: Option<tokio::runtime::Runtime>,
    pub(crate) cache: Option<Arc<Cache>>,
    /// Compiled or compiling, by digest and engine: whoever comes second waits for the first.
    compiled: Mutex<BTreeMap<(Digest, Profile), Weak<Compiled>>>,
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

    fn handle(&self) -> &tokio::runtime::Handle {
        self.threads.as_ref().expect("taken only when dropped").handle()
    }

    /// The native code of some bytes: compiled before, cached on disk, or compiled now, once for all who ask. `digest` says
    /// which bytes they are before they are there.
    pub(crate) async fn compile<E: From<Error>>(
        &self,
        pool: &Arc<Pool>,
        digest: Digest,
        path: &Path,
        functions: Option<Arc<Functions>>,
        bytes: impl Future<Output = Result<Vec<u8>, E>> + Send,
    ) -> Result<Arc<Compiled>, E> {
        let cell = self.cell(digest, pool.profile);
        cell.get_or_try_init(async || -> Result<Component, E> {
            let (cache, engine) = (self.cache.clone(), pool.engine.clone());
            let cached = self.off_thread(move || Ok(cache.and_then(|cache| cache.load(&engine, &digest)))).await?;
            if let Some(component) = cached {
                return Ok(component);
            }
            let (cache, pool, bytes, unfit) = (self.cache.clone(), pool.clone(), bytes.await?, path.to_owned());
            let compiling = self.off_thread(move || {
                let component = functions::compile(&pool, &bytes, functions.as_ref())
                    .map_err(|error| Error::Unfit { path: unfit, reason: printable(&format!("{error:#}"), 1000) })?;
                if let Some(cache) = cache {
                    cache.store(&pool.engine, &digest, &component);
                }
                Ok(component)
            });
            let seconds = COMPILE_TIMEOUT.as_secs();
            let late = |_| Error::Unfit {
                path: path.to_owned(),
                reason: format!("it takes more than {seconds} s to compile, and no honest plugin does"),
            };
            Ok(tokio::time::timeout(COMPILE_TIMEOUT, compiling).await.map_err(late)??)
        })
        .await?;
        Ok(cell)
    }

    fn cell(&self, digest: Digest, profile: Profile) -> Arc<Compiled> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.retain(|_, cell| cell.strong_count() > 0);
        compiled.get(&(digest, profile)).and_then(Weak::upgrade).unwrap_or_else(|| {
            let cell = Arc::new(OnceCell::new());
            compiled.insert((digest, profile), Arc::downgrade(&cell));
            cell
        })
    }

    /// Does what takes long without a pause where no guest and no caller waits behind it.
    pub(crate) async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let working = self.handle().spawn_blocking(work);
        working.await.unwrap_or_else(|error| Err(Error::Engine { reason: error.to_string() }))
    }
}

impl Runtime {
    /// Starts the engine and its threads.
    pub fn new(config: RuntimeConfig) -> Result<Runtime, Error> {
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let jobs = if config.jobs == 0 { cores() } else { config.jobs };
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(jobs)
            .thread_name("rewarden-worker")
            .enable_time()
            .build()
            .map_err(|error| Error::Engine { reason: format!("no worker threads: {error}") })?;
        let cache = config.cache_dir.as_deref().and_then(Cache::open).map(Arc::new);
        let shared = Shared {
            engines: Engines::new(jobs.saturating_mul(2).min(1000) + WAITING_SLOTS),
            jobs,
            scores: Scores::new(cache.clone()),
            threads: Some(threads),
            cache,
            compiled: Mutex::default(),
        };
        // Almost every plugin asks for this one, and a machine that cannot run it should say so at once.
        let stack_bytes_max = Limits::default().stack_bytes_max;
        shared.engines.get(Profile { deterministic: true, stack_bytes_max, pooled: true })?;
        Ok(Runtime { shared: Arc::new(shared) })
    }

    /// How many threads run guests.
    pub fn jobs(&self) -> usize {
        self.shared.jobs
    }

    /// Reads, inspects, compiles, links and tries out a component; every refusal is a sentence.
    pub async fn load(&self, spec: &PluginSpec) -> Result<Plugin, Error> {
        let spec = spec.clone();
        let shared = self.shared.clone();
        // Reading and validating megabytes has no place on a caller's executor.
        let linking = self.shared.off_thread(move || {
            let source = Source::open(&spec.path, shared.cache.as_deref())?;
            inspect::check_imports(&spec.path, &source.inspection.imports, spec.wasi)?;
            let linked = Linked::new(shared, &spec, source)?;
            Ok((Arc::new(linked), spec))
        });
        let (linked, spec) = linking.await?;
        Plugin::configure(linked, &spec.settings, spec.seed, true).await
    }
}
