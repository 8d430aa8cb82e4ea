//! Cargo, driven from outside: which crate a folder holds, and its compilation for the sandbox.
//!
//! The build must come out the same wherever it is started, also from inside another cargo: variables that would change
//! it are taken away, paths are mapped to fixed ones, and it has a target folder of its own, because the outer cargo
//! holds the lock on its own.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rewarden_runtime::Digest;
use serde_json::Value;

const TARGET: &str = "wasm32-unknown-unknown";

/// A build that takes longer than this says that it is going on.
const QUIET: Duration = Duration::from_secs(3);

/// The crate of a folder, as cargo sees it.
pub(crate) struct Crate {
    pub(crate) name: String,
    target_directory: PathBuf,
    dir: PathBuf,
    workspace_root: PathBuf,
    /// The library's name, which is the module's file name.
    library: String,
}

impl Crate {
    /// Asks `cargo metadata`.
    pub(crate) fn read(dir: &Path) -> Result<Crate> {
        let dir = fs::canonicalize(dir).with_context(|| format!("cannot open {}", dir.display()))?;
        let output = cargo(&dir).args(["metadata", "--no-deps", "--format-version", "1"]).output();
        let output = output.context("cannot run cargo: is Rust installed (https://rustup.rs)?")?;
        if !output.status.success() {
            bail!("cargo cannot read {}:\n{}", dir.join("Cargo.toml").display(), text(&output.stderr));
        }
        let metadata: Value = serde_json::from_slice(&output.stdout).context("`cargo metadata` printed no JSON")?;
        Crate::find(&metadata, &dir).ok_or_else(|| {
            anyhow!(
                "{} is no plugin: its Cargo.toml needs a package with `[lib] crate-type = [\"cdylib\", \"rlib\"]`",
                dir.display()
            )
        })
    }

    fn find(metadata: &Value, dir: &Path) -> Option<Crate> {
        let manifest = dir.join("Cargo.toml");
        let packages = metadata["packages"].as_array()?;
        let package =
            packages.iter().find(|package| package["manifest_path"].as_str().map(Path::new) == Some(&manifest))?;
        let is_cdylib =
            |target: &&Value| target["crate_types"].as_array().is_some_and(|t| t.contains(&"cdylib".into()));
        let library = package["targets"].as_array()?.iter().find(is_cdylib)?;
        Some(Crate {
            name: package["name"].as_str()?.to_owned(),
            target_directory: metadata["target_directory"].as_str()?.into(),
            dir: dir.to_owned(),
            workspace_root: metadata["workspace_root"].as_str()?.into(),
            library: library["name"].as_str()?.replace('-', "_"),
        })
    }

    /// Where this crate's builds lie below a folder of that name. A target folder outside the workspace may be shared
    /// (`CARGO_TARGET_DIR`), and two workspaces may each have a plugin of one name: there the path tells them apart.
    pub(crate) fn own_folder(&self, name: &str) -> PathBuf {
        let folder = self.target_directory.join(name);
        if self.target_directory.starts_with(&self.workspace_root) {
            return folder;
        }
        folder.join(&Digest::of(self.workspace_root.as_os_str().as_encoded_bytes()).hex()[..16])
    }

    /// `guest` where the workspace has that profile, `release` elsewhere; without optimisation `dev`.
    fn profile(&self, debug: bool) -> &'static str {
        if debug {
            return "dev";
        }
        let manifest = fs::read_to_string(self.workspace_root.join("Cargo.toml")).unwrap_or_default();
        let manifest: toml::Table = manifest.parse().unwrap_or_default();
        let has_guest = manifest.get("profile").and_then(|profiles| profiles.get("guest")).is_some();
        if has_guest { "guest" } else { "release" }
    }
}

/// Compiles the crate to a core module and returns where it lies. Quiet unless it takes long or fails.
pub(crate) fn compile(package: &Crate, debug: bool) -> Result<PathBuf> {
    ensure_target(&package.dir)?;
    let guests = package.own_folder("guests");
    let profile = package.profile(debug);
    let mut command = cargo(&package.dir);
    command
        .args(["build", "--lib", "--target", TARGET, "--profile", profile, "--package", &package.name])
        .arg("--target-dir")
        .arg(&guests)
        .env_remove("CARGO_TARGET_DIR")
        .env("CARGO_ENCODED_RUSTFLAGS", flags(package));
    let output = output_or_patience(command, &package.name)?;
    if !output.status.success() {
        bail!("{} does not compile:\n{}", package.dir.display(), text(&output.stderr));
    }
    let folder = if debug { "debug" } else { profile };
    Ok(guests.join(TARGET).join(folder).join(format!("{}.wasm", package.library)))
}

/// Panic messages hold source paths; mapped, they are the same on every machine.
#[allow(clippy::disallowed_methods, reason = "where cargo keeps its sources is known to the environment only")]
fn flags(package: &Crate) -> String {
    let home = |name: &str| env::var_os(name).map(PathBuf::from);
    let cargo_home = home("CARGO_HOME").or_else(|| Some(home("HOME")?.join(".cargo")));
    let mut maps = vec![(package.workspace_root.clone(), "/workspace")];
    maps.extend(cargo_home.map(|path| (path, "/cargo")));
    let maps = maps.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
    maps.chain([format!("-Clink-arg=--initial-heap={INITIAL_HEAP_BYTES}")]).collect::<Vec<_>>().join("\u{1f}")
}

/// Heap that an instance starts with. Most samples need no more, and growing is what costs: the host changes page
/// protections for it, twice a sample, under a lock that all threads share.
const INITIAL_HEAP_BYTES: usize = 256 << 10;

/// Cargo in a folder, without what an outer cargo, clippy or a wrapper left in the environment.
fn cargo(dir: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(dir).stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        if is_inherited(&name) {
            command.env_remove(&name);
        }
    }
    command
}

/// Whether a variable changes builds: everything of cargo's except where things lie and how they are fetched.
fn is_inherited(name: &OsStr) -> bool {
    const KEPT: [&str; 7] = [
        "CARGO_HOME",
        "CARGO_TARGET_DIR",
        "CARGO_NET_",
        "CARGO_HTTP_",
        "CARGO_REGISTR",
        "CARGO_TERM_",
        "CARGO_BUILD_JOBS",
    ];
    const DROPPED: [&str; 5] = ["RUSTFLAGS", "RUSTDOCFLAGS", "RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"];
    let name = name.to_string_lossy();
    DROPPED.contains(&name.as_ref())
        || name == "CARGO"
        || (name.starts_with("CARGO_") && !KEPT.iter().any(|kept| name.starts_with(kept)))
}

/// Adds the sandbox's target through rustup when the toolchain lacks it; one attempt, then the command to type.
fn ensure_target(dir: &Path) -> Result<()> {
    if has_target(dir) {
        return Ok(());
    }
    let add = format!("rustup target add {TARGET}");
    eprintln!("the toolchain has no target {TARGET}: running `{add}`");
    let added = Command::new("rustup").args(["target", "add", TARGET]).current_dir(dir).stdin(Stdio::null()).output();
    match added {
        Ok(output) if output.status.success() && has_target(dir) => Ok(()),
        Ok(output) => bail!(
            "plugins need the target {TARGET}, and `{add}` failed; run it in {}:\n{}",
            dir.display(),
            text(&output.stderr)
        ),
        Err(_) => bail!("plugins need the target {TARGET} of Rust: run `{add}`, or install it as your system does"),
    }
}

fn has_target(dir: &Path) -> bool {
    let printed =
        Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).current_dir(dir).output();
    printed.is_ok_and(|output| Path::new(text(&output.stdout).trim()).is_dir())
}

/// Runs a command, keeps what it says, and tells a waiting person what is going on.
fn output_or_patience(mut command: Command, name: &str) -> Result<Output> {
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.context("cannot run cargo: is Rust installed (https://rustup.rs)?")?;
    let mut pipe = child.stderr.take().expect("piped above");
    let (done, wait) = mpsc::channel::<()>();
    let notice = {
        let name = name.to_owned();
        thread::spawn(move || {
            if let Err(mpsc::RecvTimeoutError::Timeout) = wait.recv_timeout(QUIET) {
                eprintln!("building the plugin {name} ...");
            }
        })
    };
    let mut stderr = Vec::new();
    pipe.read_to_end(&mut stderr)?;
    let status = child.wait()?;
    drop(done);
    let _ = notice.join();
    Ok(Output { status, stdout: Vec::new(), stderr })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
