//! Every example and every vetted plugin passes its author's own verbs: `rewarden plugin check` and `rewarden plugin test`.

use std::fs;

use crate::guests::{rewarden, root};
use crate::languages::built;

#[track_caller]
fn check(folder: &str) {
    for entry in fs::read_dir(root().join(folder)).expect(folder).map(|entry| entry.expect("readable").path()) {
        // Those whose compiler is absent are skipped by name.
        if !entry.is_dir() || built(&entry).is_none() {
            continue;
        }
        for verb in ["check", "test"] {
            let output = rewarden().args(["plugin", verb]).arg(&entry).output().expect("the binary runs");
            let said = [output.stdout, output.stderr].concat();
            assert!(output.status.success(), "{verb} {}:\n{}", entry.display(), String::from_utf8_lossy(&said));
        }
    }
}

#[test]
fn guest_examples() {
    check("guest-examples");
}

#[test]
fn rewards() {
    check("rewards");
}
