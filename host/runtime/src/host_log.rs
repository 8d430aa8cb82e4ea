//! `host-log`: a guest's lines in the host's log, capped, one printable line each, under the plugin's name.

use wasmtime::component::{HasSelf, Linker};

use crate::Limits;
use crate::fault::printable;
use crate::generated::rewarden::plugin::host_log::{Host, Level, add_to_linker};
use crate::instance::State;

/// Who logs in this store, and how much of it is still kept.
pub(crate) struct LogState {
    plugin: String,
    lines_left: usize,
    line_bytes_max: usize,
}

impl LogState {
    pub(crate) fn new(plugin: &str, limits: &Limits) -> LogState {
        let lines_left = limits.log_lines_max;
        LogState { plugin: plugin.to_owned(), lines_left, line_bytes_max: limits.log_line_bytes_max }
    }
}

/// Links the interface. Only done for plugins that were granted it.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl Host for State {
    fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        let log = &mut self.log;
        if log.lines_left == 0 {
            return Ok(());
        }
        log.lines_left -= 1;
        let level = match level {
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error => log::Level::Error,
        };
        log::log!(target: "rewarden::plugin", level, "{}: {}", log.plugin, printable(&message, log.line_bytes_max));
        if log.lines_left == 0 {
            log::warn!(target: "rewarden::plugin", "{}: further lines of this sample are dropped", log.plugin);
        }
        Ok(())
    }
}
