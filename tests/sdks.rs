//! The SDKs of other languages, tested in their own: quick, because nothing is compiled to WebAssembly.

use std::path::Path;
use std::process::Command;

use crate::guests::root;
use crate::languages::{python_tests, run};

#[test]
fn python() {
    python_tests(&root().join("host/sdk/python"), ".", &["discover", "--start-directory", "tests"]);
}

#[test]
fn ts() {
    const INSTALL: &str = "npm install --global esbuild@0.28.2";
    let bundle = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sdk-ts.test.mjs");
    let mut esbuild = Command::new("esbuild");
    esbuild.args(["host/sdk/ts/tests/guest.test.js", "--bundle", "--platform=node", "--format=esm"]);
    esbuild.arg("--log-level=warning").arg(format!("--outfile={}", bundle.display())).current_dir(root());
    // Bundled by an earlier run, it must not stand for today's.
    let _ = std::fs::remove_file(&bundle);
    run("esbuild", &mut esbuild, INSTALL);
    if bundle.is_file() {
        run("node", Command::new("node").arg("--test").arg(&bundle), "Node 20 or newer, from https://nodejs.org");
    }
}
