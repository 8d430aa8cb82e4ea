//! `rewarden plugin check`: whether a plugin is fit to be handed on. Each line is one promise, and whether it is kept.

mod alive;
mod repeats;
mod still;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use rewarden_runtime::{Digest, printable};
use serde::Serialize;
use serde_json::json;

use crate::args::CheckArgs;
use crate::plugin::build::ensure_built;
use crate::plugin::cases::Cases;
use crate::plugin::component_file::ComponentFile;
use crate::plugin::manifest::Manifest;
use crate::plugin::test::cases_path;
use crate::progress::spinner;
use crate::runtime;

/// Of a plugin's words in one line.
const LINE_BYTES_MAX: usize = 2000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Ok,
    /// Good enough to run, and worth a look.
    Warn,
    Fail,
}

/// One promise.
#[derive(Serialize)]
pub(crate) struct Finding {
    pub(crate) name: &'static str,
    pub(crate) verdict: Verdict,
    /// What is the case.
    pub(crate) detail: String,
    /// What to do about it; empty when nothing.
    pub(crate) remedy: String,
}

impl Finding {
    pub(crate) fn ok(name: &'static str, detail: impl Into<String>) -> Finding {
        Finding { name, verdict: Verdict::Ok, detail: detail.into(), remedy: String::new() }
    }

    pub(crate) fn warn(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { name, verdict: Verdict::Warn, detail: detail.into(), remedy: remedy.into() }
    }

    pub(crate) fn fail(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { name, verdict: Verdict::Fail, detail: detail.into(), remedy: remedy.into() }
    }
}

/// What is checked.
pub(crate) struct Checked {
    /// The folder's own plugin.toml, where a folder with one was named.
    pub(crate) written: Option<Manifest>,
    pub(crate) file: ComponentFile,
    /// None where there are no cases.
    pub(crate) cases: Option<Cases>,
    pub(crate) cases_path: PathBuf,
    pub(crate) jobs: usize,
}

pub(crate) fn run(args: CheckArgs) -> Result<ExitCode> {
    let cases_path = cases_path(&args.plugin, args.cases.as_deref());
    // Cases that were named must be there; those of a folder may be missing, which is one of the findings.
    let wanted = args.cases.is_some() || cases_path.is_file();
    let cases = wanted.then(|| Cases::read(&cases_path)).transpose()?;
    if let Some(cases) = &cases {
        cases.require_expectations()?;
    }
    let written = if args.plugin.is_dir() { Manifest::read(&args.plugin)? } else { None };
    let file = ComponentFile::read(&ensure_built(&args.plugin)?)?;
    let digest = file.digest;
    let checked = Checked { written, file, cases, cases_path, jobs: args.jobs };
    let mut findings = still::findings(&checked);
    let bar = spinner();
    findings.extend(runtime::block_on(alive::findings(&checked, &|step| bar.set_message(step)))??);
    bar.finish_and_clear();
    print(&args.plugin, digest, &findings, args.json);
    let is_fit = findings.iter().all(|finding| finding.verdict != Verdict::Fail);
    Ok(if is_fit { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(plugin: &Path, digest: Digest, findings: &[Finding], json: bool) {
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (failures, warnings) = (count(Verdict::Fail), count(Verdict::Warn));
    if json {
        let report = json!({
            "plugin": plugin.display().to_string(),
            "digest": digest,
            "fit": failures == 0,
            "findings": findings,
        });
        outln!("{report}");
        return;
    }
    outln!("{} {digest}\n", plugin.display());
    for finding in findings {
        let verdict = match finding.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        outln!("{verdict}  {:<9} {}", finding.name, printable(&finding.detail, LINE_BYTES_MAX));
        if !finding.remedy.is_empty() {
            outln!("                -> {}", printable(&finding.remedy, LINE_BYTES_MAX));
        }
    }
    let verdict = if failures == 0 { "fit" } else { "NOT FIT" };
    outln!("\n{verdict}: {}, {}", counted(failures, "failure"), counted(warnings, "warning"));
}

fn counted(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}
