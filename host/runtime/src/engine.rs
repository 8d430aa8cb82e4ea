//! The wasmtime engines of a process, one per profile, each with a pool of instances and a ticker for deadlines.
//!
//! Whatever could make two machines disagree about a score is off or pinned down in the deterministic profile; whatever
//! guest toolchains need stays on. Threads, GC and exceptions are absent because their crate features are: less code that
//! untrusted bytes reach.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{CacheStore, Config, Enabled, Engine, OperatorCost, OptLevel, PoolingAllocationConfig, Strategy};

use crate::Error;
use crate::limits::TABLE_ELEMENTS_MAX;

/// How often the ticker advances an engine's epoch: the grain of every deadline.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// Profiles a process may use at a time. Each reserves address space and a thread; plugins need one or two.
const PROFILES_MAX: usize = 16;

/// Episodes that may be open at a time. Each takes some of the 65 530 mappings that Linux lets a process have.
const EPISODES_MAX: usize = 4096;

/// Host stack below the deepest frame of a guest: host functions run on the same stack.
const HOST_STACK_BYTES: usize = 1 << 20;

/// How many epochs a deadline of `timeout_ms` spans. One more than the division says, because the first is cut short.
pub(crate) fn ticks(timeout_ms: u64) -> u64 {
    timeout_ms.div_ceil(TICK.as_millis() as u64).saturating_add(1)
}

/// What a plugin may choose about its engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Profile {
    /// Fuel is counted and NaNs are canonical; otherwise only the clock stops a guest, and guests run faster.
    pub(crate) deterministic: bool,
    pub(crate) stack_bytes_max: usize,
    /// Instances come from a pool, which makes them in microseconds and has room for few. Episodes live for as long as a
    /// policy takes to play them, side by side, so each of them maps its own memory.
    pub(crate) pooled: bool,
}

/// The engines made so far.
pub(crate) struct Engines {
    slots: usize,
    made: Mutex<BTreeMap<Profile, Arc<Pool>>>,
}

/// An engine and the right to hold instances in it.
pub(crate) struct Pool {
    pub(crate) engine: Engine,
    pub(crate) profile: Profile,
    /// As many permits as the pool has room for: a full pool is an error, a queue is not.
    slots: Arc<Semaphore>,
}

impl Engines {
    /// None yet; each will have room for `slots` instances at a time.
    pub(crate) fn new(slots: usize) -> Engines {
        Engines { slots, made: Mutex::default() }
    }

    /// The engine of this profile, made when it is first asked for.
    pub(crate) fn get(&self, profile: Profile) -> Result<Arc<Pool>, Error> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = made.get(&profile) {
            return Ok(pool.clone());
        }
        if made.len() == PROFILES_MAX {
            let reason =
                format!("{PROFILES_MAX} different values of `stack_bytes_max` are in use; give plugins the same");
            return Err(Error::Engine { reason });
        }
        let slots = if profile.pooled { self.slots } else { EPISODES_MAX };
        let engine = start(profile, slots)?;
        let pool = Arc::new(Pool { engine, profile, slots: Arc::new(Semaphore::new(slots)) });
        made.insert(profile, pool.clone());
        Ok(pool)
    }
}

impl Pool {
    /// The right to hold `instances` at a time. Waiting for it is queueing: no sample's deadline runs yet.
    pub(crate) async fn slots(&self, instances: u32) -> OwnedSemaphorePermit {
        self.slots.clone().acquire_many_owned(instances).await.expect("the semaphore is never closed")
    }

    /// The right to hold one instance for as long as its owner likes. Waiting for one could be for ever, if whoever waits
    /// is the one who would have to let go.
    pub(crate) fn slot_now(&self) -> Result<OwnedSemaphorePermit, String> {
        let full = |_| format!("{EPISODES_MAX} episodes are open: finish or drop some before starting others");
        self.slots.clone().try_acquire_owned().map_err(full)
    }

    /// The same without waiting; none unless others still find as many slots afterwards.
    pub(crate) fn slots_to_keep(&self, instances: u32, others: usize) -> Option<OwnedSemaphorePermit> {
        let enough = self.slots.available_permits() >= others.saturating_add(instances as usize);
        enough.then(|| self.slots.clone().try_acquire_many_owned(instances).ok()).flatten()
    }
}

fn start(profile: Profile, slots: usize) -> Result<Engine, Error> {
    let failed = |error: wasmtime::Error| Error::Engine { reason: format!("{error:#}") };
    let config = settings(profile);
    let engine = match pooled(&config, profile, slots) {
        Some(engine) => engine,
        None => Engine::new(&config).map_err(failed)?,
    };
    start_ticker(&engine)?;
    Ok(engine)
}

/// The pool reserves address space for every slot at once. A container or a `ulimit -v` may not have that much; then each
/// instance maps its own memory, which is slower and otherwise the same.
fn pooled(config: &Config, profile: Profile, slots: usize) -> Option<Engine> {
    if !profile.pooled {
        return None;
    }
    let mut config = config.clone();
    config.allocation_strategy(pool(slots.try_into().unwrap_or(u32::MAX)));
    let engine = Engine::new(&config);
    engine.inspect_err(|error| log::info!("no pooling allocator, instances are mapped one by one: {error:#}")).ok()
}

/// An engine that only compiles, for the engine of this profile, and asks for each function whether it is known.
pub(crate) fn compiler(profile: Profile, known: Arc<dyn CacheStore>) -> wasmtime::Result<Engine> {
    let mut config = settings(profile);
    config.enable_incremental_compilation(known)?;
    Engine::new(&config)
}

fn settings(profile: Profile) -> Config {
    let mut config = Config::new();
    // Winch has had sandbox escapes and knows no epochs.
    config.strategy(Strategy::Cranelift).cranelift_opt_level(OptLevel::Speed);
    // Fuel is the reproducible limit. Epochs stop what fuel does not see, such as one huge memory.fill on a slow
    // machine.
    config.consume_fuel(profile.deterministic).operator_cost(costs()).epoch_interruption(true);
    // The bits of a NaN and the results of relaxed SIMD differ between machines, and a guest could look at them.
    config.cranelift_nan_canonicalization(profile.deterministic).wasm_relaxed_simd(false);
    // Nothing here needs several calls inside one store, and calls cost a fraction without the bookkeeping.
    config.concurrency_support(false);
    config.wasm_memory64(false);
    // Fused adapters of some toolchains hold two memories: wasmtime 48 panics while compiling them when this is off.
    config.wasm_multi_memory(true);
    config.wasm_tail_call(true);
    // What a guest that trapped left in its memory is read from the dump. Only its handles are made, and only at a trap.
    config.coredump_on_trap(true);
    config.max_wasm_stack(profile.stack_bytes_max).async_stack_size(profile.stack_bytes_max + HOST_STACK_BYTES);
    config
}

/// Fuel is to run out before the clock does, so what takes far longer than an addition costs more than one. Copying and
/// filling cost one for each byte already.
fn costs() -> OperatorCost {
    OperatorCost {
        MemoryGrow: 255,
        TableGrow: 255,
        I32DivS: 8,
        I32DivU: 8,
        I32RemS: 8,
        I32RemU: 8,
        I64DivS: 8,
        I64DivU: 8,
        I64RemS: 8,
        I64RemU: 8,
        F32Div: 4,
        F64Div: 4,
        F32Sqrt: 8,
        F64Sqrt: 8,
        ..OperatorCost::new()
    }
}

fn pool(slots: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_stacks(slots)
        .total_core_instances(slots.saturating_mul(64))
        .total_memories(slots.saturating_mul(4))
        .total_tables(slots.saturating_mul(8))
        .max_core_instances_per_component(64)
        .max_memories_per_component(4)
        .max_tables_per_component(8)
        .table_elements(TABLE_ELEMENTS_MAX)
        // The limiter is the memory cap; the slot only has to be large enough for any cap.
        .max_memory_size(4 << 30)
        // Clearing by hand is cheaper than giving pages back and faulting them in again, most of all where the kernel can
        // tell which pages were touched.
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(1 << 20)
        .table_keep_resident(64 << 10)
        .async_stack_keep_resident(64 << 10);
    pool
}

/// Advances the epoch for as long as the engine lives. The thread holds it weakly, so that it never keeps it alive.
fn start_ticker(engine: &Engine) -> Result<(), Error> {
    let engine = engine.weak();
    let (started, wait) = mpsc::channel();
    let ticker = move || {
        let _ = started.send(());
        loop {
            thread::sleep(TICK);
            match engine.upgrade() {
                Some(engine) => engine.increment_epoch(),
                None => return,
            }
        }
    };
    thread::Builder::new()
        .name("rewarden-ticker".into())
        .spawn(ticker)
        .map_err(|error| Error::Engine { reason: format!("no thread for the deadline ticker: {error}") })?;
    // A guest must not run before its deadline can strike.
    let _ = wait.recv();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_shorter_than_asked() {
        assert_eq!(ticks(0), 1);
        assert_eq!(ticks(1), 2);
        assert_eq!(ticks(5), 2);
        assert_eq!(ticks(1000), 201);
        assert_eq!(ticks(u64::MAX), u64::MAX / 5 + 1);
    }
}
