//! One instance in one store: how it is bounded, started, asked, and how its end is named.
//!
//! A store holds one instance and nothing else, because a trap poisons all of it. Who may use it for how long is decided
//! in `judge.rs`.

use wasmtime::component::{Instance, InstancePre};
use wasmtime::{ResourceLimiter, Store, Trap, UpdateDeadline};
use wasmtime_wasi::I32Exit;

use crate::engine::{self, Pool};
use crate::fault::printable;
use crate::generated::exports::rewarden::plugin::plugin;
use crate::host_call::HostCalls;
use crate::host_log::LogState;
use crate::linked::Linked;
use crate::wasi::VirtualWasi;
use crate::{Fault, Limits, Manifest, last_words, output};

/// How much more than the larger of its limits a guest can have copied at a time.
const COPIED: usize = 4;

/// Component-model handles, core instances, memories and tables that one store may hold. No reward comes near them.
const HANDLES_MAX: usize = 10_000;
const INSTANCES_MAX: usize = 100;
const MEMORIES_MAX: usize = 16;
const TABLES_MAX: usize = 100;

/// What a guest can ask for and not get. Most panic then.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refused {
    Memory,
    Table,
}

/// What a store carries: how much its guest has taken, and what its host functions need.
pub(crate) struct State {
    limits: Limits,
    memory_bytes: usize,
    memory_bytes_peak: usize,
    table_elements: usize,
    /// Granted last, and taken back when the growth fails after all.
    pending: usize,
    /// What the guest was refused, last.
    refused: Option<Refused>,
    pub(crate) log: LogState,
    pub(crate) calls: HostCalls,
    /// There when the plugin is one that gets it.
    pub(crate) wasi: Option<Box<VirtualWasi>>,
}

impl State {
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// For the pages that a snapshot's instrumentation adds to each memory.
    pub(crate) fn lift_memory_limit(&mut self) {
        self.limits.memory_bytes_max = usize::MAX;
    }
}

impl ResourceLimiter for State {
    // Growth over the cap fails as `memory.grow` may always fail, so that a guest can handle it; most panic, and that
    // panic is then named `out-of-memory`.
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        if self.memory_bytes.saturating_add(more) > self.limits.memory_bytes_max {
            self.refused = Some(Refused::Memory);
            return Ok(false);
        }
        self.pending = more;
        self.memory_bytes += more;
        self.memory_bytes_peak = self.memory_bytes_peak.max(self.memory_bytes);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory_bytes -= std::mem::take(&mut self.pending);
        self.refused = Some(Refused::Memory);
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        if self.table_elements.saturating_add(more) > self.limits.table_elements_max {
            self.refused = Some(Refused::Table);
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

/// What the guest used since the session was opened or armed, counted by the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) fuel: u64,
    pub(crate) memory_bytes_peak: usize,
}

/// A store with its limits armed. The deadline runs from here, so a session is opened right before it is used.
pub(crate) struct Session {
    pub(crate) store: Store<State>,
    fuel: u64,
    /// A call did not return, and wasmtime lets nobody enter the instance again.
    pub(crate) is_dead: bool,
}

impl Session {
    pub(crate) fn open(linked: &Linked, seed: u32) -> Session {
        Session::nested(linked, seed, 0, linked.limits.fuel)
    }

    /// A session that other guests wait for, `depth` of them, with what is left of their fuel.
    pub(crate) fn nested(linked: &Linked, seed: u32, depth: u32, fuel: u64) -> Session {
        let limits = &linked.limits;
        let state = State {
            limits: limits.clone(),
            memory_bytes: 0,
            memory_bytes_peak: 0,
            table_elements: 0,
            pending: 0,
            refused: None,
            log: LogState::new(&linked.name, limits),
            calls: HostCalls::new(linked, depth),
            wasi: linked.wasi.then(|| Box::new(VirtualWasi::new(&linked.name, seed, limits))),
        };
        let mut store = Store::new(&linked.pool.engine, state);
        store.limiter(|state| state);
        // One cap for what is copied at a time, either way. The limits themselves are checked where they apply, and say so by
        // name: this leaves them room to see what is too much.
        store.set_hostcall_fuel(limits.output_bytes_max.max(limits.host_call_bytes_max).saturating_mul(COPIED));
        store.set_max_component_handles(HANDLES_MAX);
        if linked.waits() {
            // What the guest waited for is given back when its deadline strikes.
            store.epoch_deadline_callback(|mut store| match store.data_mut().calls.take_waited_ticks() {
                0 => Ok(UpdateDeadline::Interrupt),
                ticks => Ok(UpdateDeadline::Continue(ticks)),
            });
        }
        let mut session = Session { store, fuel, is_dead: false };
        session.arm_clock(&linked.pool);
        session
    }

    /// Makes a warm session ready for its next call: full fuel, a new deadline, new allowances.
    pub(crate) fn arm(&mut self, linked: &Linked) {
        let state = self.store.data_mut();
        state.memory_bytes_peak = state.memory_bytes;
        state.refused = None;
        state.log = LogState::new(&linked.name, &linked.limits);
        state.calls = HostCalls::new(linked, 0);
        if let Some(wasi) = &mut state.wasi {
            wasi.arm(&linked.name, &linked.limits);
        }
        self.fuel = linked.limits.fuel;
        self.arm_clock(&linked.pool);
    }

    fn arm_clock(&mut self, pool: &Pool) {
        self.store.set_epoch_deadline(engine::ticks(self.store.data().limits.timeout_ms));
        if pool.profile.deterministic {
            self.store.set_fuel(self.fuel).expect("the engine counts fuel");
        }
    }

    pub(crate) async fn instantiate(&mut self, pre: &InstancePre<State>) -> Result<Instance, Fault> {
        pre.instantiate_async(&mut self.store).await.map_err(|error| match error.is::<Trap>() {
            // The smallest memory the component asks for may be over the cap already.
            false if self.store.data().refused.is_some() => self.out_of_memory(String::new()),
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

    /// What its guest used.
    pub(crate) fn usage(&self) -> Usage {
        // Without fuel there is nothing to count.
        let left = self.store.get_fuel().unwrap_or(self.fuel);
        Usage { fuel: self.fuel - left, memory_bytes_peak: self.store.data().memory_bytes_peak }
    }

    /// Text and numbers that one answer may hold.
    pub(crate) fn output_bytes_max(&self) -> usize {
        self.store.data().limits.output_bytes_max
    }

    /// Linear memory its guest holds now.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().memory_bytes
    }

    fn out_of_memory(&self, at: String) -> Fault {
        Fault::OutOfMemory { memory_bytes_max: self.store.data().limits.memory_bytes_max, at }
    }

    /// Names the end of a call that did not return.
    pub(crate) fn fault(&mut self, error: wasmtime::Error) -> Fault {
        self.is_dead = true;
        if let Some(exit) = error.downcast_ref::<I32Exit>() {
            return Fault::Trap(exit.to_string());
        }
        let Some(trap) = error.downcast_ref::<Trap>() else {
            // No trap: the canonical ABI refused what the guest handed over (too much of it, no UTF-8, out of bounds).
            return Fault::InvalidOutput(printable(&error.root_cause().to_string(), 500));
        };
        let at = last_words::place(&error);
        match trap {
            Trap::Interrupt => Fault::Deadline { timeout_ms: self.store.data().limits.timeout_ms, at },
            Trap::OutOfFuel => Fault::OutOfFuel { fuel: self.fuel, at },
            Trap::StringOutOfBounds
            | Trap::ListOutOfBounds
            | Trap::InvalidDiscriminant
            | Trap::InvalidChar
            | Trap::UnalignedPointer => Fault::InvalidOutput(trap.to_string()),
            _ => match self.store.data().refused {
                None => Fault::Trap(last_words::of(*trap, &at, &error, &mut self.store)),
                Some(Refused::Memory) => self.out_of_memory(at),
                Some(Refused::Table) => {
                    let elements = self.store.data().limits.table_elements_max;
                    Fault::Trap(format!("{trap}, after it was refused more than table_elements_max = {elements}"))
                }
            },
        }
    }
}
