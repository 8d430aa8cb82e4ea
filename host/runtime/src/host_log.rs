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

    /// Keeps one line, cut to size, or drops it and says once that it does.
    pub(crate) fn line(&mut self, level: log::Level, text: &str) {
        if self.lines_left == 0 {
            return;
        }
        self.lines_left -= 1;
        log::log!(target: "rewarden::plugin", level, "{}: {}", self.plugin, printable(text, self.line_bytes_max));
        if self.lines_left == 0 {
            log::warn!(target: "rewarden::plugin", "{}: further lines of this sample are dropped", self.plugin);
        }
    }
}

/// Links the interface; without the grant its lines go nowhere, and nothing tells the guest.
pub(crate) fn link(linker: &mut Linker<State>, granted: bool) -> wasmtime::Result<()> {
    if granted {
        return add_to_linker::<State, HasSelf<State>>(linker, |state| state);
    }
    let mut interface = linker.instance("rewarden:plugin/host-log@0.1.0")?;
    interface.func_wrap("log", |_, _: (Level, String)| Ok(()))
}

impl Host for State {
    fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error => log::Level::Error,
        };
        self.log.line(level, &message);
        Ok(())
    }
}
