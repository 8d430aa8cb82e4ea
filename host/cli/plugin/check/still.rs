//! What can be told of a plugin without running it: its world, its permissions, its size, its manifest.

use rewarden_runtime::{COMPONENT_BYTES_MAX, World};

use super::{Checked, Finding, counted};
use crate::plugin::manifest::{Capability, FILE, Kind, Manifest};

/// Above this a plugin is shared and compiled slowly, and only an interpreter inside explains it.
const SIZE_BYTES: u64 = COMPONENT_BYTES_MAX / 2;

/// Proposals that the default, deterministic engine leaves off.
const OFF: [&str; 2] = ["relaxed-simd", "threads"];

pub(super) fn findings(checked: &Checked) -> Vec<Finding> {
    vec![world(checked), imports(checked), sealed(checked), size(checked), features(checked), manifest(checked)]
}

/// The manifest that holds: the folder's, or the one inside.
fn promised(checked: &Checked) -> Option<&Manifest> {
    checked.written.as_ref().or_else(|| checked.file.manifest())
}

pub(super) fn kind_of(world: World) -> Option<Kind> {
    match world {
        World::RewardPlugin | World::ModelRewardPlugin => Some(Kind::Reward),
        World::GroupRewardPlugin => Some(Kind::GroupReward),
        World::EnvironmentPlugin => Some(Kind::Environment),
        World::ToolPlugin => Some(Kind::Tool),
        _ => None,
    }
}

fn world(checked: &Checked) -> Finding {
    const NAME: &str = "world";
    let Some(world) = checked.file.interfaces.world else {
        let exports = checked.file.interfaces.exports.join(", ");
        let found = if exports.is_empty() { "nothing" } else { &exports };
        return Finding::fail(
            NAME,
            format!("it is a component, but no plugin: it exports {found}"),
            "export rewarden:plugin/plugin@0.1.0 and one of reward, group-reward, environment, tool; see wit/",
        );
    };
    match promised(checked).map(|manifest| manifest.kind) {
        None => Finding::ok(NAME, world.to_string()),
        Some(kind) if kind_of(world) == Some(kind) => Finding::ok(NAME, format!("{world}, the kind {kind}")),
        Some(kind) => Finding::fail(
            NAME,
            format!("{world}, and {FILE} says kind = \"{kind}\""),
            format!("correct `kind` in {FILE}, or export {kind}"),
        ),
    }
}

/// The capability that importing this interface takes; none for an interface that is not ours.
fn capability(import: &str) -> Option<Capability> {
    let name = import.strip_prefix("rewarden:plugin/")?.split('@').next()?;
    [Capability::HostLog, Capability::HostModel, Capability::HostTools]
        .into_iter()
        .find(|known| known.to_string() == name)
}

fn imports(checked: &Checked) -> Finding {
    const NAME: &str = "imports";
    let imports = &checked.file.interfaces.imports;
    if let Some(import) = imports.iter().find(|import| import.starts_with("wasi:")) {
        return Finding::fail(
            NAME,
            format!("{import}: a run refuses WASI, unless its config says `wasi = \"virtual\"`"),
            "build it with `rewarden plugin build`, and do without files, clocks, environment and ambient randomness",
        );
    }
    if let Some(import) = imports.iter().find(|import| capability(import).is_none()) {
        let remedy = "a host offers host-log, host-model and host-tools of rewarden:plugin@0.1.0, and nothing else";
        return Finding::fail(NAME, format!("{import}: no host has it"), remedy);
    }
    let used: Vec<Capability> = imports.iter().filter_map(|import| capability(import)).collect();
    let list = |of: &[Capability]| match of.is_empty() {
        true => "nothing".to_owned(),
        false => of.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let Some(manifest) = promised(checked) else { return Finding::ok(NAME, list(&used)) };
    let unasked: Vec<Capability> = used.iter().copied().filter(|used| !manifest.capabilities.contains(used)).collect();
    let unused: Vec<Capability> = manifest.capabilities.iter().copied().filter(|asked| !used.contains(asked)).collect();
    if !unasked.is_empty() {
        let named: Vec<String> = used.iter().map(ToString::to_string).collect();
        let remedy = format!("write `capabilities = {named:?}` in {FILE}, or do without");
        return Finding::fail(NAME, format!("{}, which {FILE} does not ask for", list(&unasked)), remedy);
    }
    match unused.is_empty() {
        true => Finding::ok(NAME, format!("{}, as {FILE} asks for", list(&used))),
        false => Finding::warn(
            NAME,
            format!("{FILE} asks for {}, which it does not import", list(&unused)),
            "ask for what you use: the import list is what a run's owner looks at",
        ),
    }
}

fn sealed(checked: &Checked) -> Finding {
    const NAME: &str = "sealed";
    let asks = checked.file.interfaces.imports.iter().any(|import| {
        matches!(capability(import), Some(Capability::HostModel | Capability::HostTools)) || import.starts_with("wasi:")
    });
    match asks {
        false => Finding::ok(NAME, checked.file.sealed()),
        true => Finding::warn(
            NAME,
            checked.file.sealed(),
            "what it asks of its host is part of its input: scores are not remembered, and repeat only with the same host",
        ),
    }
}

fn size(checked: &Checked) -> Finding {
    let bytes = checked.file.size_bytes;
    let detail = format!("{bytes} bytes, {}", counted(checked.file.parts.modules, "core module"));
    if bytes > COMPONENT_BYTES_MAX {
        return Finding::fail("size", detail, format!("a host loads at most {COMPONENT_BYTES_MAX} bytes"));
    }
    match bytes > SIZE_BYTES {
        true => {
            Finding::warn("size", detail, "strip debug information and unused libraries: it is compiled before it runs")
        }
        false => Finding::ok("size", detail),
    }
}

fn features(checked: &Checked) -> Finding {
    const NAME: &str = "features";
    let used: Vec<&str> = checked.file.parts.features.iter().map(String::as_str).collect();
    let detail = if used.is_empty() { "those of the first version only".to_owned() } else { used.join(", ") };
    match used.iter().find(|feature| OFF.contains(feature)) {
        None => Finding::ok(NAME, detail),
        Some(feature) => Finding::fail(
            NAME,
            detail,
            format!("compile without {feature}: it gives other results on other machines, and a host leaves it off"),
        ),
    }
}

fn manifest(checked: &Checked) -> Finding {
    const NAME: &str = "manifest";
    let embedded = match &checked.file.manifest {
        Err(reason) => return Finding::fail(NAME, reason.clone(), "build it again with `rewarden plugin build`"),
        Ok(embedded) => embedded.as_ref(),
    };
    match (&checked.written, embedded) {
        (None, None) => Finding::warn(
            NAME,
            "none: who gets the file cannot tell what it is without running it",
            format!("describe it in a {FILE} and build its folder; `rewarden plugin new` writes one"),
        ),
        (None, Some(manifest)) => Finding::ok(NAME, format!("{} {} inside", manifest.id, manifest.version)),
        (Some(_), None) => Finding::fail(
            NAME,
            format!("the component carries none, and the folder has a {FILE}"),
            "build it again with `rewarden plugin build`",
        ),
        (Some(written), Some(embedded)) => match difference(written, embedded) {
            None => Finding::ok(NAME, format!("{} {}, the same in {FILE} and inside", written.id, written.version)),
            Some(key) => Finding::fail(
                NAME,
                format!("`{key}` in {FILE} is not what the component carries"),
                "build it again with `rewarden plugin build`",
            ),
        },
    }
}

/// The first field that differs.
fn difference(written: &Manifest, embedded: &Manifest) -> Option<String> {
    let [written, embedded] = [written, embedded].map(|manifest| serde_json::to_value(manifest).expect("plain data"));
    let keys = written.as_object()?.keys().chain(embedded.as_object()?.keys());
    keys.clone().find(|key| written.get(key) != embedded.get(key)).cloned()
}
