//! What a test found, for people and as JSON.

use comfy_table::Table;
use rewarden_runtime::{Digest, Plugin, printable};
use serde::Serialize;
use serde_json::Value;

use super::probes::BROKEN_SETTINGS;
use super::probing::Probed;
use crate::plugin::cases::Cases;
use crate::plugin::cases::expect::Difference;

/// Of one value in the report.
const VALUE_BYTES_MAX: usize = 2000;

/// All of it.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) plugin: String,
    pub(crate) version: String,
    pub(crate) world: String,
    pub(crate) digest: Digest,
    pub(crate) file: String,
    pub(crate) cases: usize,
    pub(crate) failed: Vec<FailedCase>,
    /// Lines whose expectation was written anew.
    pub(crate) updated: Vec<usize>,
    pub(crate) probes: Vec<Probed>,
    pub(crate) passed: bool,
}

/// A case that came out differently.
#[derive(Serialize)]
pub(crate) struct FailedCase {
    pub(crate) line: usize,
    pub(crate) name: String,
    pub(crate) expected: Value,
    pub(crate) got: Value,
    #[serde(skip)]
    pub(crate) differences: Vec<Difference>,
}

impl Report {
    pub(crate) fn new(
        plugin: &Plugin,
        cases: &Cases,
        failed: Vec<FailedCase>,
        updated: Vec<usize>,
        probes: Vec<Probed>,
    ) -> Report {
        let passed = failed.len() == updated.len() && probes.iter().all(|probe| probe.failed == 0);
        Report {
            plugin: plugin.manifest().name.clone(),
            version: plugin.manifest().version.clone(),
            world: plugin.world().to_string(),
            digest: plugin.digest(),
            file: cases.path.display().to_string(),
            cases: cases.cases.len(),
            failed,
            updated,
            probes,
            passed,
        }
    }

    pub(crate) fn print(&self, json: bool) {
        match json {
            true => outln!("{}", serde_json::to_string(self).expect("plain data")),
            false => out!("{}", self.text()),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{} {} ({}) {}\n", self.plugin, self.version, self.world, self.digest);
        for case in &self.failed {
            let verdict = if self.updated.contains(&case.line) { "new " } else { "FAIL" };
            text += &format!("\n{verdict}  {}:{}  {}\n", self.file, case.line, printable(&case.name, 200));
            for difference in &case.differences {
                text += &shown_difference(difference, &case.got);
            }
        }
        if !self.failed.is_empty() {
            text.push('\n');
        }
        text += &format!("{}\n", self.summary_of_cases());
        if !self.probes.is_empty() {
            text += &format!("\n{}\n", self.table());
            for probe in self.probes.iter().filter(|probe| probe.failed > 0) {
                text += &self.shown_failures(probe);
            }
        }
        text += &format!("\n{}\n", if self.passed { "passed" } else { "FAILED" });
        text
    }

    fn summary_of_cases(&self) -> String {
        let failed = self.failed.len() - self.updated.len();
        let mut parts = vec![format!("{} of {} cases pass", self.cases - self.failed.len(), self.cases)];
        if !self.updated.is_empty() {
            parts.push(format!("{} written anew", self.updated.len()));
        }
        if failed > 0 && self.updated.is_empty() {
            parts.push("`--update` writes what the plugin gave".into());
        }
        format!("{}: {}", self.file, parts.join("; "))
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::ASCII_MARKDOWN);
        table.set_header(["probe", "what it is", "inputs", "faults", "earned at most", ""]);
        for probe in &self.probes {
            let most = probe.most.map_or("-".to_owned(), |most| most.to_string());
            let verdict = match (probe.inputs, probe.failed) {
                (0, _) => "no case to make it from".to_owned(),
                (_, 0) => "ok".to_owned(),
                (_, failed) => format!("FAIL {failed}"),
            };
            let (inputs, faults) = (probe.inputs.to_string(), probe.faults.to_string());
            table.add_row([probe.name, probe.about, &inputs, &faults, &most, &verdict]);
        }
        table
    }

    fn shown_failures(&self, probe: &Probed) -> String {
        let mut text = format!("\nFAIL  {}: {}\n", probe.name, probe.about);
        for failure in &probe.failures {
            let case = match failure.line {
                0 => String::new(),
                line => format!(", from {}:{line} {}", self.file, printable(&failure.case, 200)),
            };
            text += &format!(
                "  {}\n    answer \"{}\"{case}\n",
                printable(&failure.reason, VALUE_BYTES_MAX),
                failure.answer
            );
        }
        if probe.failed > probe.failures.len() {
            text += &format!("  and {} more\n", probe.failed - probe.failures.len());
        }
        text += &match probe.failures.iter().any(|failure| failure.is_fault) {
            true if probe.name == BROKEN_SETTINGS => String::new(),
            true => "  a policy may say anything: give it a score, or cut it short before judging it\n".to_owned(),
            false => format!(
                "  if that is how it should be, say so in {}: {{\"probe\": \"{}\", \"max\": .., \"why\": \"..\"}}\n",
                self.file, probe.name
            ),
        };
        text
    }
}

/// The two values below one another, and the note of a score that came out differently.
fn shown_difference(difference: &Difference, got: &Value) -> String {
    let place = if difference.place.is_empty() { String::new() } else { format!("{} ", difference.place) };
    let mut text = format!("  - {place}{}\n  + {place}{}\n", shown(&difference.expected), shown(&difference.got));
    let note = got["note"].as_str().unwrap_or_default();
    if difference.place == "score" && !note.is_empty() {
        text += &format!("    (its note: {})\n", printable(note, VALUE_BYTES_MAX));
    }
    text
}

fn shown(value: &Value) -> String {
    let text = match value.get("fault").and_then(Value::as_str) {
        Some(kind) => {
            let message = value["message"].as_str().map(|message| format!(": {message}"));
            format!("fault {kind}{}", message.unwrap_or_default())
        }
        None => value.to_string(),
    };
    printable(&text, VALUE_BYTES_MAX)
}
