//! `plugin.toml` as authors write it, right and wrong; and the custom section.

use std::fs;

use super::*;

const WHOLE: &str = r#"
id = "me/final-answer"
version = "0.1.0"
kind = "reward"
language = "python"
summary = "Pays for the reference answer."
license = "Apache-2.0"
source = "https://example.org/me/final-answer"
capabilities = ["host-model", "host-log"]
settings_schema = "settings.schema.json"

[build]
command = ["make", "plugin.wasm"]
output = "plugin.wasm"
"#;

fn read(text: &str) -> Result<Option<Manifest>> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILE), text).unwrap();
    fs::write(dir.path().join("settings.schema.json"), "{\"type\": \"object\"}\n").unwrap();
    fs::write(dir.path().join("list.json"), "[]").unwrap();
    fs::write(dir.path().join("broken.json"), "{\n\n").unwrap();
    Manifest::read(dir.path())
}

/// One line of the whole file replaced by another, and what is said about it.
#[track_caller]
fn check(line: &str, replacement: &str, said: &[&str]) {
    assert!(WHOLE.contains(line), "{line} is no line of the file");
    let error = read(&WHOLE.replace(line, replacement)).unwrap_err();
    let error = format!("{error:#}");
    for part in said.iter().chain(&[FILE]) {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
}

#[test]
fn mistakes_are_named_with_line_key_and_the_nearest_name() {
    check("kind = \"reward\"", "kind = \"rewad\"", &["4 | kind = \"rewad\"", "did you mean `reward`?"]);
    check("kind = \"reward\"", "kinds = \"reward\"", &["4 | kinds", "unknown field", "did you mean `kind`?"]);
    check("kind = \"reward\"\n", "", &["missing field `kind`"]);
    check("language = \"python\"", "language = \"pyton\"", &["5 | language", "did you mean `python`?"]);
    check("language = \"python\"", "language = \"cobol\"", &["5 | language", "expected one of `rust`, `python`"]);
    check("\"host-log\"]", "\"host-lgo\"]", &["9 | capabilities", "did you mean `host-log`?"]);
    check("\"me/final-answer\"", "\"Final Answer\"", &["2 | id", "`Final Answer` is no id"]);
    check("\"me/final-answer\"", "\"a/b/c\"", &["`a/b/c` is no id"]);
    check("\"me/final-answer\"", "\"../x\"", &["`../x` is no id"]);
    check("\"me/final-answer\"", "\"1st\"", &["`1st` is no id"]);
    check("\"me/final-answer\"", "\"a--b\"", &["`a--b` is no id"]);
    check("version = \"0.1.0\"", "version = \"1\"", &["3 | version", "`1` is no version such as `0.1.0`"]);
    check("version = \"0.1.0\"", "version = 1", &["3 | version = 1"]);
    check("\"Pays for the reference answer.\"", "\" \"", &["`summary` must be one line"]);
    check("\"Apache-2.0\"", "\"\"", &["`license` must be one line"]);
    check("output = \"plugin.wasm\"", "outptu = \"x\"", &["did you mean `output`?"]);
    check("[\"make\", \"plugin.wasm\"]", "[]", &["`build.command` must name a program"]);
    check("settings.schema.json", "missing.json", &["settings_schema", "missing.json cannot be read"]);
    check("settings.schema.json", "list.json", &["must be an object"]);
    check("settings.schema.json", "broken.json", &["broken.json is no JSON", "line 3"]);
    check("id = ", "id = = ", &["2 | id = = "]);
}

#[test]
fn the_component_carries_the_manifest() {
    let manifest = read(WHOLE).unwrap().unwrap();
    assert_eq!((manifest.id.name(), manifest.id.to_string().as_str()), ("final-answer", "me/final-answer"));
    let component = manifest.embed(wasm_encoder::Component::new().finish()).unwrap();
    let found = Manifest::of_component(&component).unwrap().unwrap();
    assert_eq!(found, Manifest { build: None, ..manifest.clone() });
    assert!(manifest.embed(component).unwrap_err().to_string().contains("already"));
    assert_eq!(Manifest::of_component(&wasm_encoder::Component::new().finish()).unwrap(), None);
}

#[test]
fn only_the_outermost_component_speaks() {
    let manifest = read(WHOLE).unwrap().unwrap();
    let inner = manifest.embed(wasm_encoder::Component::new().finish()).unwrap();
    let mut outer = wasm_encoder::Component::new();
    outer.section(&wasm_encoder::RawSection { id: wasm_encoder::ComponentSectionId::Component as u8, data: &inner });
    assert_eq!(Manifest::of_component(&outer.finish()).unwrap(), None);
}

#[test]
fn two_manifests_are_none() {
    let json = serde_json::to_vec(&read(WHOLE).unwrap().unwrap()).unwrap();
    let mut component = wasm_encoder::Component::new();
    for _ in 0..2 {
        component.section(&CustomSection { name: SECTION.into(), data: json.as_slice().into() });
    }
    assert!(Manifest::of_component(&component.finish()).unwrap_err().to_string().contains("two sections"));
}

#[test]
fn a_folder_without_the_file_has_no_manifest() {
    assert_eq!(Manifest::read(tempfile::tempdir().unwrap().path()).unwrap(), None);
}
