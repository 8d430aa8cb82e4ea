//! `plugin test --watch`: builds and tests again whenever a file is saved, until it is interrupted.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use rewarden_runtime::Runtime;

use super::{cases_path, test};
use crate::args::TestArgs;
use crate::plugin::build::ensure_built;
use crate::plugin::cases::Cases;
use crate::watch::{Look, look};
use crate::{print_error, runtime};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// An editor that writes several files, or one in several goes, is done when so long nothing changed.
const SETTLED: Duration = Duration::from_millis(300);

/// What is watched, and the last component that could be built.
struct Loop<'a> {
    args: &'a TestArgs,
    cases: PathBuf,
    runtime: Runtime,
    good: Option<PathBuf>,
}

pub(super) fn run(args: &TestArgs) -> Result<ExitCode> {
    let cases = cases_path(&args.plugin, args.cases.as_deref());
    let mut watched = Loop { args, cases, runtime: runtime::start(args.jobs)?, good: None };
    let mut seen = watched.look();
    loop {
        if let Err(error) = watched.once() {
            print_error(&error);
        }
        eprintln!("watching {}; every save tests again", args.plugin.display());
        seen = watched.next_change(seen);
    }
}

impl Loop<'_> {
    fn look(&self) -> [Look; 2] {
        [look(&self.args.plugin), look(&self.cases)]
    }

    /// Waits until something else lies there, and lies still.
    fn next_change(&self, seen: [Look; 2]) -> [Look; 2] {
        let mut now = seen.clone();
        while now == seen {
            thread::sleep(LOOK_EVERY);
            now = self.look();
        }
        loop {
            thread::sleep(SETTLED);
            let later = self.look();
            if later == now {
                return now;
            }
            now = later;
        }
    }

    /// A component that does not build any more leaves the last one that did: changed cases are still judged by it.
    fn once(&mut self) -> Result<()> {
        let cases = Cases::read(&self.cases)?;
        match (ensure_built(&self.args.plugin), &self.good) {
            (Ok(component), _) => self.good = Some(component),
            (Err(error), None) => return Err(error),
            (Err(error), Some(_)) => {
                print_error(&error);
                eprintln!("testing the last build that was good:");
            }
        }
        let component = self.good.as_deref().expect("set above, or returned");
        test(&self.runtime, component, cases, self.args)?.print(self.args.json);
        Ok(())
    }
}
