//! The adapter that answers for WASI in components of Go, C and standard Rust: each of its functions, called directly; and
//! what becomes of modules that import it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rewarden_runtime::PluginSpec;
use wasmtime::{Engine, Instance, Memory, MemoryType, Module, Store, Val, ValType};

use crate::guests::{answer, rewarden, root, runtime, succeeds, wait};
use crate::languages::skip;

/// An instance, linked to a page of memory that is all ones.
struct Adapter {
    store: Store<()>,
    instance: Instance,
    memory: Memory,
}

impl Adapter {
    fn new() -> Adapter {
        let mut store = Store::new(&Engine::default(), ());
        let module = module(store.engine());
        let memory = Memory::new(&mut store, MemoryType::new(1, None)).expect("a page");
        memory.data_mut(&mut store).fill(0xff);
        let instance = Instance::new(&mut store, &module, &[memory.into()]).expect("it needs nothing but the memory");
        Adapter { store, instance, memory }
    }

    /// Calls a function; None when it traps or returns nothing.
    fn call(&mut self, name: &str, arguments: &[i64]) -> Option<i32> {
        let function = self.instance.get_func(&mut self.store, name).unwrap_or_else(|| panic!("no {name}"));
        let kinds = function.ty(&self.store);
        let value = |(kind, &number): (ValType, &i64)| match kind {
            ValType::I64 => Val::I64(number),
            _ => Val::I32(number.try_into().expect("32 bits")),
        };
        let arguments: Vec<Val> = kinds.params().zip(arguments).map(value).collect();
        let mut results = vec![Val::I32(0); kinds.results().len()];
        function.call(&mut self.store, &arguments, &mut results).ok()?;
        results.first()?.i32()
    }

    fn bytes(&self, from: usize, count: usize) -> &[u8] {
        &self.memory.data(&self.store)[from..from + count]
    }
}

fn module(engine: &Engine) -> Module {
    let text = fs::read_to_string(root().join("host/cli/adapter/preview1.wat")).expect("readable");
    Module::new(engine, wat::parse_str(text).expect("WebAssembly")).expect("valid")
}

/// A function of a fresh instance, what it returns, and what it writes to the beginning of memory.
#[track_caller]
fn check(name: &str, arguments: &[i64], returns: i32, writes: &[u8]) {
    let mut adapter = Adapter::new();
    assert_eq!(adapter.call(name, arguments), Some(returns), "{name}");
    assert_eq!(adapter.bytes(0, writes.len()), writes, "{name}");
    let rest = adapter.bytes(writes.len(), 65_536 - writes.len());
    assert!(rest.iter().all(|byte| *byte == 0xff), "{name} writes more than its answer");
}

#[test]
fn each_function_answers_from_constants() {
    check("args_get", &[0, 0], 0, &[]);
    check("args_sizes_get", &[0, 4], 0, &[0; 8]);
    check("environ_get", &[0, 0], 0, &[]);
    check("environ_sizes_get", &[0, 4], 0, &[0; 8]);
    check("clock_time_get", &[0, 1, 0], 0, &1_000_000_000_u64.to_le_bytes());
    check("clock_time_get", &[1, 0, 0], 0, &1_000_000_000_u64.to_le_bytes());
    check("clock_res_get", &[0, 0], 0, &1000_u64.to_le_bytes());
    check("random_get", &[0, 0], 0, &[]);
    check("fd_read", &[0, 0, 0, 0], 0, &[0; 4]);
    check("fd_write", &[1, 0, 0, 0], 0, &[0; 4]);
    check("fd_seek", &[0, 0, 0, 0], 70, &[]);
    check("fd_close", &[0], 0, &[]);
    let mut device = [0; 24];
    device[0] = 2;
    check("fd_fdstat_get", &[1, 0], 0, &device);
    check("fd_fdstat_set_flags", &[1, 0], 0, &[]);
    check("fd_prestat_get", &[3, 0], 8, &[]);
    check("fd_prestat_dir_name", &[3, 0, 0], 8, &[]);
    check("poll_oneoff", &[0, 0, 1, 0], 58, &[0; 4]);
    check("sched_yield", &[], 0, &[]);
    assert_eq!(Adapter::new().call("proc_exit", &[0]), None, "leaving is a trap");
}

#[test]
fn it_is_these_eighteen_functions_and_a_memory() {
    let module = module(&Engine::default());
    let imports: Vec<_> = module.imports().map(|import| (import.module(), import.name())).collect();
    assert_eq!(imports, [("env", "memory")]);
    assert_eq!(module.exports().len(), 18);
}

#[test]
fn writing_counts_the_bytes_of_all_buffers() {
    let mut adapter = Adapter::new();
    let buffers = [7_u32, 5, 9, 7].map(u32::to_le_bytes).concat();
    adapter.memory.data_mut(&mut adapter.store)[64..80].copy_from_slice(&buffers);
    assert_eq!(adapter.call("fd_write", &[1, 64, 2, 0]), Some(0));
    assert_eq!(adapter.bytes(0, 4), 12_u32.to_le_bytes());
}

#[test]
fn time_goes_on_with_every_look() {
    let mut adapter = Adapter::new();
    let mut look = || {
        assert_eq!(adapter.call("clock_time_get", &[0, 0, 0]), Some(0));
        u64::from_le_bytes(adapter.bytes(0, 8).try_into().expect("eight"))
    };
    assert_eq!([look(), look(), look()], [1_000_000_000, 1_000_001_000, 1_000_002_000]);
}

#[test]
fn random_bytes_are_many_and_always_the_same() {
    let draw = |parts: &[i64]| {
        let mut adapter = Adapter::new();
        let mut at = 0;
        for count in parts {
            assert_eq!(adapter.call("random_get", &[at, *count]), Some(0));
            at += count;
        }
        adapter.bytes(0, 4096).to_vec()
    };
    let bytes = draw(&[4096]);
    assert_eq!(bytes, draw(&[1, 95, 4000]), "they depend on how they are asked for");
    let mut counts = [0; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    assert!(counts.iter().all(|count| (1..64).contains(count)), "{counts:?}");
}

/// What `rewarden plugin build` says to a core module that some other tool made.
fn built(module: &Path) -> (tempfile::TempDir, Output) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let manifest = format!(
        "id = \"std-guest\"\nversion = \"0.1.0\"\nkind = \"reward\"\nlanguage = \"c\"\nsummary = \"S.\"\nlicense = \
         \"MIT\"\n[build]\ncommand = [\"cargo\", \"--version\"]\noutput = {module:?}\n"
    );
    fs::write(dir.path().join("plugin.toml"), manifest).expect("writable");
    let output = rewarden().args(["plugin", "build"]).arg(dir.path()).output().expect("the binary runs");
    (dir, output)
}

/// The guest of tests/guests/std as a core module that imports `wasi_snapshot_preview1`; None where Rust cannot make one,
/// which is said.
fn rust_std(features: &[&str]) -> Option<PathBuf> {
    const TARGET: &str = "wasm32-wasip1";
    let libraries =
        Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output().expect("runs");
    if !Path::new(String::from_utf8_lossy(&libraries.stdout).trim()).is_dir() {
        skip(&format!("standard Rust needs `rustup target add {TARGET}`"));
        return None;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("wasip1{}", features.concat()));
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root()).args(["build", "--lib", "--profile", "guest", "--target", TARGET]);
    command.args(["--package", "std-guest"]).args(features).arg("--target-dir").arg(&folder);
    succeeds(command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS").output().expect("cargo runs"));
    Some(folder.join(TARGET).join("guest/std_guest.wasm"))
}

#[test]
fn standard_rust_becomes_a_sealed_component() {
    let Some(module) = rust_std(&["--no-default-features"]) else { return };
    let (_dir, output) = built(&module);
    let component = PathBuf::from(succeeds(output).lines().next().expect("the path comes first"));
    let plugin = wait(runtime().load(&PluginSpec::path(component))).expect("loads");
    assert!(plugin.sealed() && plugin.no_snapshot().is_none(), "{:?}, {:?}", plugin.imports(), plugin.no_snapshot());
    let note = |extra| {
        let reward = plugin.reward().expect("a reward");
        wait(reward.score_batch(vec![answer("", "", extra)])).remove(0).map(|score| score.note)
    };
    let first = note("{}").expect("a score");
    // A second since 1970; no time passes between two looks but the tick; no arguments, no variables.
    assert!(first.ends_with(" Ok(1) 2\u{b5}s 0 not asked"), "{first}");
    assert_eq!(note("{}").expect("a score"), first, "the order of a hash map is the same in every instance");
    assert!(note("flood").is_ok(), "printing goes nowhere");
    for ends in ["exit", "sleep"] {
        assert_eq!(note(ends).expect_err("a fault").kind(), "trap");
    }
}

#[test]
fn what_needs_files_is_refused_by_name() {
    let Some(module) = rust_std(&[]) else { return };
    let (_dir, output) = built(&module);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for part in ["does not become a plugin", "a sandbox does not have", "path_open", "fd_readdir", "sockets are not"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
}
