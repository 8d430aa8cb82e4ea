//! `Error`: the host cannot go on with this plugin or rubric. Each names the file, says what is wrong and what to do about it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use crate::Fault;

/// Why a runtime could not start or a plugin could not be loaded.
///
/// Owned and `Send + Sync`; never produced while samples are scored (that is a [`Fault`]), unless a rubric was told to
/// stop at faults. The text of each is for the
/// person who configured the plugin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is missing or unreadable.
    #[error("cannot read the plugin {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file was replaced between two steps of loading it.
    #[error("the plugin {} changed while it was loaded: load it again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The file is larger than any plugin may be.
    #[error("{} has {bytes} bytes, and a plugin may have {bytes_max}: is this the right file?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The cap.
        bytes_max: u64,
    },
    /// The bytes are not WebAssembly, or cut short, or malformed.
    #[error("{} is not a valid WebAssembly component: {reason}. Build it again, or copy it again", path.display())]
    NotWasm {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the offset when there is one.
        reason: String,
    },
    /// A core module: compiled, but not wrapped as a component.
    #[error(
        "{} is a core WebAssembly module, not a component: run `rewarden plugin build` on its source folder and load \
         the file which that prints", path.display()
    )]
    CoreModule {
        /// The file.
        path: PathBuf,
    },
    /// A component of some other kind.
    #[error("{} is a component, but no plugin: it exports {exports}, and a plugin exports {wanted}", path.display())]
    NotAPlugin {
        /// The file.
        path: PathBuf,
        /// What it exports, or "nothing".
        exports: String,
        /// What it should export.
        wanted: String,
    },
    /// A plugin of one world used as another.
    #[error("the plugin {plugin} has the world {actual}, and {wanted} is needed here")]
    WrongWorld {
        /// The plugin's name.
        plugin: String,
        /// The world it has.
        actual: String,
        /// The world that was asked for.
        wanted: String,
    },
    /// The plugin imports WASI, and its configuration does not give it the virtual one.
    #[error(
        "{} imports {import}, and plugins get no WASI: build it for the target wasm32-unknown-unknown (`rewarden plugin \
         build` does) and avoid files, clocks, environment and HashMap's random seed; or give it an empty, deterministic \
         one with `wasi = \"virtual\"` in its configuration", path.display()
    )]
    Wasi {
        /// The file.
        path: PathBuf,
        /// The first WASI import.
        import: String,
    },
    /// The plugin imports something this host does not have.
    #[error(
        "{} imports {import}, which this host does not offer; it offers host-log, host-model and host-tools of \
         rewarden:plugin@0.1.0", path.display()
    )]
    UnknownImport {
        /// The file.
        path: PathBuf,
        /// The import.
        import: String,
    },
    /// The limits cannot be armed.
    #[error("the limits of the plugin {plugin} cannot be used: {reason}")]
    Limits {
        /// The plugin's name.
        plugin: String,
        /// The key and what it may be.
        reason: String,
    },
    /// The settings are not a JSON object.
    #[error("the settings of the plugin {plugin} must be a table (a JSON object), and are {found}")]
    Settings {
        /// The plugin's name.
        plugin: String,
        /// What they are instead.
        found: String,
    },
    /// The component does not compile or link: it uses a feature that is off, or has the contract's names with other
    /// types.
    #[error("the plugin {} cannot be used: {reason}. Build it again against wit/ of this version", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What the compiler or linker said.
        reason: String,
    },
    /// The plugin failed while it described or configured itself, before any sample.
    #[error("the plugin {plugin} does not start: {fault}")]
    Configure {
        /// The plugin's name.
        plugin: String,
        /// What happened.
        fault: Fault,
    },
    /// The engine itself cannot run on this machine.
    #[error("the WebAssembly engine does not start: {reason}")]
    Engine {
        /// What it said.
        reason: String,
    },
    /// A rubric whose graders or rules cannot work together.
    #[error("config key `{key}`: {reason}")]
    Rubric {
        /// The key in a config, such as `reward.gsm8k.weight`.
        key: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A grader that was told to stop the run at a fault had one.
    #[error("reward `{name}` failed on sample {sample}: {fault}; `on_fault = \"skip_sample\"` would go on without it")]
    Faulted {
        /// The grader's name.
        name: String,
        /// The sample's id.
        sample: String,
        /// What happened.
        fault: Fault,
    },
    /// The graders of a rubric faulted more often than its rules allow.
    #[error(
        "the rewards faulted more often than `rubric.fault_budget` = {budget} allows: {}, the last time on sample \
         {sample}: {fault}. Mend or replace the plugin, or raise the budget",
        counted(faults)
    )]
    FaultBudget {
        /// How many were allowed.
        budget: u64,
        /// How many there were, by grader.
        faults: BTreeMap<String, u64>,
        /// The id of the last sample with one.
        sample: String,
        /// What happened there.
        fault: Fault,
    },
}

/// Who faulted how often, those who did.
fn counted(faults: &BTreeMap<String, u64>) -> String {
    let times = |count: u64| if count == 1 { "once".to_owned() } else { format!("{count} times") };
    let faulty = faults.iter().filter(|(_, count)| **count > 0);
    faulty.map(|(name, count)| format!("`{name}` {}", times(*count))).collect::<Vec<_>>().join(", ")
}
