//! What a plugin shows when it runs: that it starts, says of itself what its manifest says, takes its settings, keeps its
//! cases' promises.

use anyhow::Result;
use rewarden_runtime::{Error, Fault};
use serde_json::{Map, Value, json};

use super::{Checked, Finding, counted, repeats};
use crate::plugin::cases::Case;
use crate::plugin::manifest::FILE;
use crate::plugin::ran::Ran;
use crate::plugin::subject::{self, Question, Subject};
use crate::plugin::test::failed;
use crate::runtime;

/// What a plugin that was loaded is asked again and again.
pub(super) struct Asked {
    pub(super) questions: Vec<Question>,
    /// Where they are from.
    pub(super) from: String,
}

/// No plugin has a setting of this name.
const UNKNOWN: &str = "rewarden-no-such-setting";

/// Questions that are asked repeatedly. More would find no more.
const QUESTIONS_MAX: usize = 100;

/// `tick` hears what is being done.
pub(super) async fn findings(checked: &Checked, tick: &impl Fn(&'static str)) -> Result<Vec<Finding>> {
    tick("loading");
    let runtime = runtime::start(checked.jobs)?;
    let models = checked.cases.as_ref().map_or(&[][..], |cases| &cases.models);
    let spec = subject::spec(&checked.file.path, checked.file.manifest(), models)?;
    let mut subject = match Subject::load(&runtime, &spec).await {
        Ok(subject) => subject,
        Err(error) => {
            return Ok(vec![Finding::fail("loads", error.to_string(), "it cannot run before this is mended")]);
        }
    };
    let mut findings = vec![loads(&subject), describe(checked, &subject)];
    tick("settings");
    findings.push(settings(&subject).await);
    tick("golden cases");
    let asked = match &checked.cases {
        Some(cases) if cases.check_world(subject.plugin().world()).is_ok() => {
            let ran = subject.ask(&cases.cases.iter().map(Case::question).collect::<Vec<_>>()).await?;
            findings.push(golden(&cases.cases, &ran));
            let judged = cases.cases.iter().take(QUESTIONS_MAX).map(Case::question);
            Asked { questions: judged.collect(), from: "the cases".into() }
        }
        cases => {
            findings.push(no_cases(checked, cases.is_some()));
            let neutral = subject.neutral().await?;
            let ran = subject.ask(std::slice::from_ref(&neutral)).await?;
            findings.extend(ran[0].fault.as_ref().map(neutral_fault));
            Asked { questions: vec![neutral], from: "one neutral question".into() }
        }
    };
    tick("equal results on repeated calls");
    findings.push(repeats::finding(checked.jobs, &spec, &asked).await?);
    Ok(findings)
}

fn loads(subject: &Subject) -> Finding {
    match subject.plugin().no_snapshot() {
        None => Finding::ok("loads", "yes; instances start configured, from a snapshot"),
        Some(reason) => Finding::ok("loads", format!("yes; every instance runs configure, because {reason}")),
    }
}

/// describe() against the manifest inside.
fn describe(checked: &Checked, subject: &Subject) -> Finding {
    const NAME: &str = "describe";
    let said = subject.plugin().manifest();
    let Some(manifest) = checked.file.manifest() else {
        return Finding::ok(NAME, format!("{} {}", said.name, said.version));
    };
    let (id, version) = (manifest.id.to_string(), manifest.version.to_string());
    let differing = [
        // A crate's name cannot have an owner in front.
        ("id", said.name != id && said.name != manifest.id.name(), &said.name, &id),
        ("version", said.version != version, &said.version, &version),
        ("summary", said.summary != manifest.summary, &said.summary, &manifest.summary),
    ];
    if let Some((key, _, said, written)) = differing.into_iter().find(|(_, differs, ..)| *differs) {
        return Finding::fail(
            NAME,
            format!("describe() says \"{said}\" where {FILE} says {key} = \"{written}\""),
            "make both say the same; in Rust, describe() says what Cargo.toml says",
        );
    }
    let schema = |text: &str| serde_json::from_str::<Value>(text).ok();
    if schema(&said.settings_schema) != manifest.settings_schema {
        return Finding::fail(
            NAME,
            format!("describe() has another settings schema than {FILE}"),
            "let both take it from the file that `settings_schema` names",
        );
    }
    Finding::ok(NAME, format!("{id} {version}, as {FILE} says"))
}

/// The schema, and whether configure agrees with it.
async fn settings(subject: &Subject) -> Finding {
    const NAME: &str = "settings";
    let text = &subject.plugin().manifest().settings_schema;
    let schema = match text.as_str() {
        "" => None,
        text => match serde_json::from_str::<Value>(text).map_err(|error| error.to_string()).and_then(checked_schema) {
            Ok(schema) => Some(schema),
            Err(reason) => {
                return Finding::fail(NAME, format!("the schema is no JSON Schema: {reason}"), "correct the schema");
            }
        },
    };
    let defaults = defaults(schema.as_ref());
    if let Some(fault) = refusal(subject, defaults.clone()).await {
        return Finding::fail(
            NAME,
            format!("the schema's own defaults, {defaults}, are refused: {fault}"),
            "make schema and configure agree",
        );
    }
    let accepts_unknown = refusal(subject, json!({ UNKNOWN: true })).await.is_none();
    let named = match &schema {
        None => "no schema; {} is accepted".to_owned(),
        Some(schema) => {
            let names: Vec<&str> = properties(schema).map(|(name, _)| name.as_str()).collect();
            format!(
                "{}; {{}} and the defaults are accepted",
                if names.is_empty() { "none".into() } else { names.join(", ") }
            )
        }
    };
    match (accepts_unknown, &schema) {
        (true, Some(_)) => Finding::warn(
            NAME,
            format!("{named}, and so is a setting that does not exist"),
            "refuse unknown settings with `misconfigured`, so that a misspelt one is not a silent default",
        ),
        _ => Finding::ok(NAME, named),
    }
}

/// The fault that configure answers these settings with.
async fn refusal(subject: &Subject, settings: Value) -> Option<Fault> {
    match subject.plugin().configured(settings, 0).await {
        Err(Error::Configure { fault, .. }) => Some(fault),
        Err(error) => Some(Fault::Internal(error.to_string())),
        Ok(_) => None,
    }
}

/// The schema of an object, or why it is none.
fn checked_schema(schema: Value) -> Result<Value, String> {
    let Value::Object(object) = &schema else { return Err("it is no object".into()) };
    if let Some(other) = object.get("type").filter(|kind| *kind != "object") {
        return Err(format!("settings are an object, and its `type` is {other}"));
    }
    let properties = match object.get("properties") {
        None => &Map::new(),
        Some(Value::Object(properties)) => properties,
        Some(_) => return Err("`properties` is no object".into()),
    };
    if let Some((name, _)) = properties.iter().find(|(_, schema)| !schema.is_object() && !schema.is_boolean()) {
        return Err(format!("`properties.{name}` is no schema"));
    }
    let required: Vec<&str> = match object.get("required") {
        None => vec![],
        Some(Value::Array(names)) => names.iter().map(|name| name.as_str().unwrap_or_default()).collect(),
        Some(_) => return Err("`required` is no list of names".into()),
    };
    match required.iter().find(|name| !properties.contains_key(**name)) {
        Some(name) => Err(format!("`required` names {name:?}, which is not in `properties`")),
        None => Ok(schema),
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

/// The settings that the schema's defaults make.
fn defaults(schema: Option<&Value>) -> Value {
    let default = |(name, schema): (&String, &Value)| Some((name.clone(), schema.get("default")?.clone()));
    Value::Object(schema.into_iter().flat_map(properties).filter_map(default).collect())
}

fn golden(cases: &[Case], ran: &[Ran]) -> Finding {
    const NAME: &str = "golden";
    let failed = failed(cases, ran);
    if let Some(first) = failed.first() {
        let detail =
            format!("{} of {} cases fail, the first in line {}: {}", failed.len(), cases.len(), first.line, first.name);
        return Finding::fail(NAME, detail, "`rewarden plugin test` shows what came out instead");
    }
    let paid = ran.iter().flat_map(|ran| &ran.pay).fold(0.0, |most: f64, pay| most.max(*pay));
    let faults = ran.iter().filter(|ran| ran.fault.is_some()).count();
    let detail =
        format!("{} as promised, {faults} of them faults; the best answer earns {paid}", counted(cases.len(), "case"));
    // What a tool gives is its text.
    let needs_pay = cases.iter().any(|case| case.input.key() != "call");
    match needs_pay && paid <= 0.0 {
        true => Finding::warn(NAME, detail, "add the right answer to a task: a reward that never pays teaches nothing"),
        false => Finding::ok(NAME, detail),
    }
}

fn no_cases(checked: &Checked, are_others: bool) -> Finding {
    let path = checked.cases_path.display();
    match are_others {
        true => Finding::fail(
            "golden",
            format!("{path} holds cases for another kind of plugin"),
            "`rewarden plugin test` names the lines",
        ),
        false => Finding::warn(
            "golden",
            format!("there is no {path}"),
            "write some golden cases; `rewarden plugin test --help` shows the format",
        ),
    }
}

fn neutral_fault(fault: &Fault) -> Finding {
    let detail = format!("a neutral question ends in {}: {fault}", fault.kind());
    Finding::warn("faults", detail, "golden cases would say whether that is how it should be")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a schema.
    #[track_caller]
    fn check(schema: Value, expected: Option<&str>) {
        let reason = checked_schema(schema).err();
        assert_eq!(reason.is_some(), expected.is_some(), "{reason:?}");
        assert!(reason.unwrap_or_default().contains(expected.unwrap_or_default()));
    }

    #[test]
    fn what_is_no_schema_says_why() {
        check(json!({}), None);
        check(json!({"type": "object", "properties": {"a": {"default": 1}, "b": true}, "required": ["b"]}), None);
        check(json!([]), Some("no object"));
        check(json!({"type": "string"}), Some("`type` is \"string\""));
        check(json!({"properties": []}), Some("`properties` is no object"));
        check(json!({"properties": {"a": 1}}), Some("`properties.a`"));
        check(json!({"properties": {}, "required": ["a"]}), Some("\"a\""));
        check(json!({"required": "a"}), Some("no list"));
    }

    #[test]
    fn defaults_are_settings() {
        let schema = json!({"properties": {"a": {"default": 1}, "b": {}, "c": {"default": null}}});
        assert_eq!(defaults(Some(&schema)), json!({"a": 1, "c": null}));
        assert_eq!(defaults(None), json!({}));
    }
}
