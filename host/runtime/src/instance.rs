//! One instance in one store: how it is bounded, started, asked, and how its end is named.
//!
//! A store serves one sample and is dropped, whatever happened: after a trap nothing in it can be trusted, and after a
//! success nothing in it may reach the next sample.

use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Engine, ResourceLimiter, Store, Trap, WasmBacktrace};

use crate::fault::printable;
use crate::generated::exports::rewarden::plugin::{plugin, reward};
use crate::host_log::LogState;
use crate::{Fault, Limits, Manifest, Sample, Score, engine, output};

/// Component-model handles, core instances, memories and tables that one store may hold. No reward comes near them.
const HANDLES_MAX: usize = 10_000;
const INSTANCES_MAX: usize = 100;
const MEMORIES_MAX: usize = 16;
const TABLES_MAX: usize = 100;

/// What a store carries: how much its guest has taken, and its log.
pub(crate) struct State {
    memory_bytes: usize,
    memory_bytes_peak: usize,
    memory_bytes_max: usize,
    table_elements: usize,
    table_elements_max: usize,
    /// Granted last, and taken back when the growth fails after all.
    pending: usize,
    /// The guest was refused memory or table space at least once.
    refused: bool,
    pub(crate) log: LogState,
}

impl State {
    fn new(plugin: &str, limits: &Limits) -> State {
        State {
            memory_bytes: 0,
            memory_bytes_peak: 0,
            memory_bytes_max: limits.memory_bytes_max,
            table_elements: 0,
            table_elements_max: limits.table_elements_max,
            pending: 0,
            refused: false,
            log: LogState::new(plugin, limits),
        }
    }
}

impl ResourceLimiter for State {
    // Growth over the cap fails as `memory.grow` may always fail, so that a guest can handle it; most panic, and that
    // panic is then named `out-of-memory`.
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        if self.memory_bytes.saturating_add(more) > self.memory_bytes_max {
            self.refused = true;
            return Ok(false);
        }
        self.pending = more;
        self.memory_bytes += more;
        self.memory_bytes_peak = self.memory_bytes_peak.max(self.memory_bytes);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory_bytes -= std::mem::take(&mut self.pending);
        self.refused = true;
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        if self.table_elements.saturating_add(more) > self.table_elements_max {
            self.refused = true;
            return Ok(false);
        }
        self.table_elements += more;
        Ok(true)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }
}

/// What the guest used, counted by the store.
pub(crate) struct Usage {
    pub(crate) fuel: u64,
    pub(crate) memory_bytes_peak: usize,
}

/// A store with its limits armed. The deadline runs from here, so a session is opened right before it is used.
pub(crate) struct Session<'a> {
    store: Store<State>,
    limits: &'a Limits,
}

impl<'a> Session<'a> {
    pub(crate) fn open(engine: &Engine, plugin: &str, limits: &'a Limits) -> Session<'a> {
        let mut store = Store::new(engine, State::new(plugin, limits));
        store.limiter(|state| state);
        store.set_hostcall_fuel(limits.output_bytes_max);
        store.set_max_component_handles(HANDLES_MAX);
        store.set_epoch_deadline(engine::ticks(limits.timeout_ms));
        store.set_fuel(limits.fuel).expect("the engine counts fuel");
        Session { store, limits }
    }

    pub(crate) async fn instantiate(&mut self, pre: &InstancePre<State>) -> Result<Instance, Fault> {
        pre.instantiate_async(&mut self.store).await.map_err(|error| match error.is::<Trap>() {
            // The smallest memory the component asks for may be over the cap already.
            false if self.store.data().refused => Fault::OutOfMemory { memory_bytes_max: self.limits.memory_bytes_max },
            false => Fault::Trap(printable(&format!("cannot be instantiated: {error:#}"), 500)),
            true => self.fault(error),
        })
    }

    /// Asks the plugin what it is.
    pub(crate) async fn describe(
        &mut self,
        indices: &plugin::GuestIndices,
        instance: &Instance,
    ) -> Result<Manifest, Fault> {
        let guest = indices.load(&mut self.store, instance).map_err(|error| self.fault(error))?;
        let manifest = guest.call_describe(&mut self.store).await.map_err(|error| self.fault(error))?;
        Ok(output::manifest(manifest))
    }

    /// Hands the plugin its settings and its seed.
    pub(crate) async fn configure(
        &mut self,
        indices: &plugin::GuestIndices,
        instance: &Instance,
        settings: &str,
        seed: u32,
    ) -> Result<(), Fault> {
        let guest = indices.load(&mut self.store, instance).map_err(|error| self.fault(error))?;
        let answer = guest.call_configure(&mut self.store, settings, seed).await.map_err(|error| self.fault(error))?;
        answer.map_err(Fault::from_guest)
    }

    /// Has one sample judged.
    pub(crate) async fn score(
        &mut self,
        indices: &reward::GuestIndices,
        instance: &Instance,
        sample: &Sample,
    ) -> Result<Score, Fault> {
        let guest = indices.load(&mut self.store, instance).map_err(|error| self.fault(error))?;
        let samples = std::slice::from_ref(sample);
        let answers = guest.call_score_batch(&mut self.store, samples).await.map_err(|error| self.fault(error))?;
        output::only_score(answers)
    }

    /// Drops the store and says what its guest used.
    pub(crate) fn close(self) -> Usage {
        let left = self.store.get_fuel().expect("the engine counts fuel");
        Usage { fuel: self.limits.fuel - left, memory_bytes_peak: self.store.data().memory_bytes_peak }
    }

    /// Names the end of a call that did not return.
    fn fault(&self, error: wasmtime::Error) -> Fault {
        let Some(trap) = error.downcast_ref::<Trap>() else {
            // No trap: the canonical ABI refused what the guest handed over (too much of it, no UTF-8, out of bounds).
            return Fault::InvalidOutput(printable(&error.root_cause().to_string(), 500));
        };
        match trap {
            Trap::Interrupt => Fault::Deadline { timeout_ms: self.limits.timeout_ms },
            Trap::OutOfFuel => Fault::OutOfFuel { fuel: self.limits.fuel },
            Trap::StringOutOfBounds
            | Trap::ListOutOfBounds
            | Trap::InvalidDiscriminant
            | Trap::InvalidChar
            | Trap::UnalignedPointer => Fault::InvalidOutput(trap.to_string()),
            _ if self.store.data().refused => Fault::OutOfMemory { memory_bytes_max: self.limits.memory_bytes_max },
            _ => Fault::Trap(describe_trap(*trap, &error)),
        }
    }
}

/// The trap's reason, and the innermost functions where the component still has their names.
fn describe_trap(trap: Trap, error: &wasmtime::Error) -> String {
    let names: Vec<String> = error
        .downcast_ref::<WasmBacktrace>()
        .map(|backtrace| backtrace.frames().iter().filter_map(|f| f.func_name()).take(5).map(str::to_owned).collect())
        .unwrap_or_default();
    match names.is_empty() {
        true => trap.to_string(),
        false => printable(&format!("{trap} (in {})", names.join(" < ")), 1000),
    }
}
