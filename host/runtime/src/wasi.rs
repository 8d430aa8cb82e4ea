//! The `virtual` WASI for guests that were not ported: it is there, and there is nothing in it.
//!
//! The clock stands at a fixed start and moves a microsecond each time it is read, random numbers derive from the run's
//! seed, what is printed goes to the log under the log's caps; no arguments, environment, files or sockets. So equal input
//! still gives equal scores. Sleeping is real, and counts against the sample's timeout.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::clocks::{HostMonotonicClock, HostWallClock};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::Limits;
use crate::host_log::LogState;
use crate::instance::State;

/// Where every clock starts: the first second of the year 2026, in nanoseconds since 1970.
const START: u64 = 1_767_225_600_000_000_000;

/// How far a clock moves each time it is read.
const TICK_NANOS: u64 = 1_000;

/// Handles a guest may hold: streams, pollables.
const HANDLES_MAX: usize = 1_000;

/// Bytes one question for random numbers may ask for.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// What becomes of a plugin that imports WASI.
///
/// One byte, `Copy`. Written in a configuration as `wasi = "virtual"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wasi {
    /// It is not loaded, and the error says how to build it without.
    #[default]
    Refused,
    /// It gets one with nothing behind it: a fixed clock, random numbers from the run's seed, no arguments, environment,
    /// files or sockets; what it prints goes to the log, as many lines as its limits allow.
    Virtual,
}

/// One instance's virtual world.
pub(crate) struct VirtualWasi {
    context: WasiCtx,
    table: ResourceTable,
    printed: Arc<Mutex<LogState>>,
}

impl VirtualWasi {
    pub(crate) fn new(plugin: &str, seed: u32, limits: &Limits) -> VirtualWasi {
        let now = Arc::new(AtomicU64::new(START));
        let printed = Arc::new(Mutex::new(LogState::new(plugin, limits)));
        let random = |stream: u64| StdRng::seed_from_u64(u64::from(seed) << 8 | stream);
        let mut builder = WasiCtx::builder();
        builder
            .wall_clock(Clock(now.clone()))
            .monotonic_clock(Clock(now))
            .secure_random(random(0))
            .insecure_random(random(1))
            .insecure_random_seed(u128::from(seed))
            .max_random_size(RANDOM_BYTES_MAX)
            .stdout(Printed { level: log::Level::Info, log: printed.clone() })
            .stderr(Printed { level: log::Level::Warn, log: printed.clone() });
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        VirtualWasi { context: builder.build(), table, printed }
    }

    /// As many lines as its limits allow, again.
    pub(crate) fn arm(&mut self, plugin: &str, limits: &Limits) {
        *self.printed.lock().unwrap_or_else(PoisonError::into_inner) = LogState::new(plugin, limits);
    }
}

/// Links all of WASI 0.2. Only done for plugins whose configuration says `wasi = "virtual"`.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi.as_mut().expect("WASI is linked only to plugins that have it");
        WasiCtxView { ctx: &mut wasi.context, table: &mut wasi.table }
    }
}

struct Clock(Arc<AtomicU64>);

impl Clock {
    fn read(&self) -> u64 {
        self.0.fetch_add(TICK_NANOS, Ordering::Relaxed)
    }
}

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(TICK_NANOS)
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.read())
    }
}

impl HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        TICK_NANOS
    }

    fn now(&self) -> u64 {
        self.read()
    }
}

/// Standard output or error: each line goes to the log, whatever a guest writes is taken.
#[derive(Clone)]
struct Printed {
    level: log::Level,
    log: Arc<Mutex<LogState>>,
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Only asked for by WASI 0.3, which is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Printed {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        for line in String::from_utf8_lossy(&bytes).lines().filter(|line| !line.is_empty()) {
            log.line(self.level, line);
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Printed {
    async fn ready(&mut self) {}
}
