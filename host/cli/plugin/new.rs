//! `rewarden plugin new`: the folder of a new plugin, from the templates in the binary. What was not said on the command
//! line is asked for, where there is somebody to ask.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use dialoguer::{Input, Select};

use crate::args::NewArgs;
use crate::plugin::lang::{self, Language, Source};
use crate::plugin::manifest::{Id, Kind, Manifest};
use crate::plugin::sdk::{self, Files};

/// What git shall not keep: ours first, then what compilers and package managers leave.
const IGNORED: &str = ".rewarden/\ntarget/\nnode_modules/\n__pycache__/\n";

pub(crate) fn run(args: NewArgs) -> Result<ExitCode> {
    let (id, kind, language) = asked(&args)?;
    let dir = args.dir.unwrap_or_else(|| PathBuf::from(id.name()));
    let files = template(&id, kind, language)?;
    refuse_to_overwrite(&dir)?;
    for (name, bytes) in &files {
        let path = dir.join(name);
        sdk::write_if_different(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let dir = fs::canonicalize(&dir)?;
    let manifest = Manifest::read(&dir)?.ok_or_else(|| anyhow!("the template has no plugin.toml"))?;
    lang::prepare(&Source { dir: &dir, manifest: &manifest, debug: false })?;
    print_next(&shown(&dir), &files);
    Ok(ExitCode::SUCCESS)
}

/// The three answers, from the command line or from the person at the terminal.
fn asked(args: &NewArgs) -> Result<(Id, Kind, Language)> {
    let missing: Vec<&str> =
        [("NAME", args.name.is_none()), ("--kind", args.kind.is_none()), ("--lang", args.lang.is_none())]
            .iter()
            .filter_map(|&(name, missing)| missing.then_some(name))
            .collect();
    if !missing.is_empty() && (!io::stdin().is_terminal() || !io::stderr().is_terminal()) {
        bail!(
            "a new plugin needs {}; there is no terminal to ask at; for example:\n  \
             rewarden plugin new final-answer --kind reward --lang python",
            missing.join(" and ")
        );
    }
    let id = match &args.name {
        Some(name) => id(name)?,
        None => Input::new()
            .with_prompt("Name")
            .validate_with(|name: &String| id(name).map(drop))
            .interact_text()
            .map_err(interrupted)
            .and_then(|name| id(&name))?,
    };
    Ok((id, choose("Kind", args.kind)?, choose("Language", args.lang)?))
}

fn id(name: &str) -> Result<Id> {
    Id::try_from(name.to_owned()).map_err(|error| anyhow!(error))
}

/// What was given, or what is picked from the list of all.
fn choose<T: ValueEnum>(what: &str, given: Option<T>) -> Result<T> {
    if let Some(value) = given {
        return Ok(value);
    }
    let words = |value: &T| {
        let value = value.to_possible_value().expect("none is hidden");
        format!("{:<13} {}", value.get_name(), value.get_help().map(ToString::to_string).unwrap_or_default())
    };
    let items: Vec<String> = T::value_variants().iter().map(words).collect();
    let index = Select::new().with_prompt(what).items(&items).default(0).interact().map_err(interrupted)?;
    Ok(T::value_variants()[index].clone())
}

fn interrupted(error: dialoguer::Error) -> anyhow::Error {
    anyhow!(error).context("no answer, nothing was written")
}

/// The template's files for this plugin, with their placeholders filled.
fn template(id: &Id, kind: Kind, language: Language) -> Result<Files> {
    let files = sdk::embedded(&format!("host/cli/templates/{language}/{kind}"));
    if files.is_empty() {
        let others = Kind::value_variants().iter().filter(|kind| has_template(**kind, language));
        let others: Vec<String> = others.map(ToString::to_string).collect();
        bail!("there is no template of kind `{kind}` in {language}; there is: {}", others.join(", "));
    }
    let mut filled: Files = files
        .into_iter()
        .map(|(name, bytes)| Ok((fill(&name, id), fill(&String::from_utf8(bytes)?, id).into_bytes())))
        .collect::<Result<_>>()?;
    filled.insert(".gitignore".into(), IGNORED.into());
    Ok(filled)
}

fn has_template(kind: Kind, language: Language) -> bool {
    !sdk::embedded(&format!("host/cli/templates/{language}/{kind}")).is_empty()
}

/// `{{id}}` as in plugin.toml, `{{name}}` without the owner, `{{ident}}` as an identifier.
fn fill(text: &str, id: &Id) -> String {
    text.replace("{{id}}", &id.to_string())
        .replace("{{name}}", id.name())
        .replace("{{ident}}", &id.name().replace('-', "_"))
}

/// A folder may be there if it is empty, or holds nothing but what git has.
fn refuse_to_overwrite(dir: &Path) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    if !dir.is_dir() {
        bail!("{} is a file; name another folder with --dir", dir.display());
    }
    let entries = fs::read_dir(dir).with_context(|| format!("cannot look into {}", dir.display()))?;
    match entries.flatten().find(|entry| entry.file_name() != ".git") {
        None => Ok(()),
        Some(entry) => bail!(
            "{} is not empty (it holds {}), and nothing is overwritten; name another folder with --dir",
            dir.display(),
            entry.file_name().display()
        ),
    }
}

/// The folder as a person here would type it.
fn shown(dir: &Path) -> PathBuf {
    let here = std::env::current_dir().and_then(fs::canonicalize);
    here.ok()
        .and_then(|here| dir.strip_prefix(here).ok())
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(dir)
        .to_owned()
}

fn print_next(dir: &Path, files: &Files) {
    let dir = dir.display();
    outln!("wrote {dir}: {}", files.keys().cloned().collect::<Vec<_>>().join(", "));
    outln!("next:\n  rewarden plugin build {dir}\n  rewarden plugin check {dir}\n  rewarden plugin test {dir}");
}
