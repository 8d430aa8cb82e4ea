//! C: every `.c` file below `src/` and the SDK, by one call of `zig cc`, or of a clang that has a libc for WebAssembly.

use std::fmt::Write;
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use wasm_encoder::RawSection;
use wasmparser::{Parser, Payload};

use crate::plugin::lang::program::{self, Program, Way};
use crate::plugin::lang::{Built, Source};
use crate::plugin::manifest::Kind;
use crate::plugin::{sdk, sources};

const ZIG: Program = Program {
    name: "a C compiler for WebAssembly",
    ways: &[Way::Path("zig"), Way::Path("python-zig"), Way::Python("ziglang")],
    package: "the PyPI package ziglang, or with Debian's clang, lld, wasi-libc and libclang-rt-dev-wasm32",
    install: "python3 -m pip install ziglang",
};

const CLANG: Program = Program {
    name: "clang",
    ways: &[Way::Path("clang")],
    package: "Debian's clang, lld, wasi-libc and libclang-rt-dev-wasm32",
    install: "apt-get install clang lld wasi-libc libclang-rt-dev-wasm32",
};

/// Debian's headers lie under this name; zig has it too.
const TARGET: &str = "wasm32-wasi";

/// Stack of an instance. It comes before everything else in memory, so running out of it is a fault and nothing worse.
const STACK_BYTES: usize = 256 << 10;

/// Writes `.rewarden/sdk`.
pub(crate) fn prepare(source: &Source<'_>) -> Result<()> {
    let mut files = sdk::embedded("host/sdk/c");
    files.insert("rewarden_plugin.h".into(), description(source).into_bytes());
    sdk::write(&source.rewarden().join("sdk"), &files)
}

/// What plugin.toml says, for the preprocessor.
fn description(source: &Source<'_>) -> String {
    let manifest = source.manifest;
    let mut text = String::from("// What plugin.toml says; written by `rewarden plugin build`.\n");
    for (number, kind) in [Kind::Reward, Kind::GroupReward, Kind::Environment, Kind::Tool].into_iter().enumerate() {
        let name = constant(&kind.to_string());
        let _ = writeln!(text, "#define RW_KIND_{name} {}", number + 1);
    }
    let _ = writeln!(text, "#define RW_KIND RW_KIND_{}", constant(&manifest.kind.to_string()));
    for capability in &manifest.capabilities {
        let _ = writeln!(text, "#define RW_{} 1", constant(&capability.to_string()));
    }
    let said = [
        ("NAME", manifest.id.to_string()),
        ("VERSION", manifest.version.to_string()),
        ("SUMMARY", manifest.summary.clone()),
        ("SETTINGS_SCHEMA", manifest.schema_text()),
    ];
    for (name, value) in said {
        let _ = writeln!(text, "#define RW_{name} {}", literal(&value));
    }
    text
}

/// `host-log` is `HOST_LOG`.
fn constant(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

/// A string of C. Everything but plain letters is an octal escape, which needs no thought about encodings and trigraphs.
fn literal(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" .,:;-_()[]{}#/".contains(&byte);
    let escaped =
        text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("\\{byte:03o}") });
    format!("\"{}\"", escaped.collect::<String>())
}

pub(crate) fn build(source: &Source<'_>) -> Result<Built> {
    let files = c_files(source)?;
    let folder = tempfile::tempdir()?;
    let module = folder.path().join("plugin.wasm");
    let mut command = compiler(source)?;
    command.args(["-std=gnu17", "-mexec-model=reactor", "-g", "-Wall", "-Wextra", "-Werror=date-time", "-UNDEBUG"]);
    command.arg("-target").arg(TARGET).arg(format!("-Wl,-z,stack-size={STACK_BYTES}"));
    match source.debug {
        // What C does not define is a fault then.
        true => command.args(["-O0", "-fsanitize=undefined", "-fsanitize-trap=undefined"]),
        false => command.args(["-O2", "-fno-sanitize=undefined"]),
    };
    command.arg("-I.rewarden/sdk").arg("-o").arg(&module).args(files);
    let output = program::output(command, source.manifest.id.name()).context("cannot run the C compiler")?;
    if !output.status.success() {
        bail!("{} does not compile:\n{}", source.dir.display(), program::said(&output));
    }
    let warnings = program::said(&output);
    if !warnings.is_empty() {
        // They are half of what a C compiler is for.
        eprintln!("{warnings}");
    }
    let core = fs::read(&module).context("the C compiler made no file")?;
    Ok(Built::Module(without_debugging(&core)?))
}

/// The author's files and the SDK's, relative to the folder: what a failed assertion says does not depend on where it lies.
fn c_files(source: &Source<'_>) -> Result<Vec<String>> {
    let below = |folder: &str| -> Vec<String> {
        let files = sources::below(&source.dir.join(folder));
        let relative = files.iter().filter_map(|path| path.strip_prefix(source.dir).ok());
        let c = relative.filter(|path| path.extension().is_some_and(|extension| extension == "c"));
        c.map(|path| path.display().to_string()).collect()
    };
    let mut files = below("src");
    if files.is_empty() {
        bail!("{} holds no .c file: the plugin's source goes there", source.dir.join("src").display());
    }
    files.extend(below(".rewarden/sdk"));
    Ok(files)
}

/// `zig cc` where zig is there, else a clang that can make a WebAssembly program.
fn compiler(source: &Source<'_>) -> Result<Command> {
    let zig = ZIG.command(source.dir).map(|mut zig| {
        zig.arg("cc");
        zig
    });
    let mut command = match zig {
        Ok(zig) => zig,
        Err(absent) => {
            let mut clang = CLANG.command(source.dir).ok().filter(|_| links(source)).ok_or(absent)?;
            // zig does so by itself.
            clang.arg("-Wl,--stack-first");
            clang
        }
    };
    for variable in ["CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH", "COMPILER_PATH", "CCC_OVERRIDE_OPTIONS"] {
        command.env_remove(variable);
    }
    Ok(command)
}

/// Many clangs know the target and lack a linker or a libc for it.
fn links(source: &Source<'_>) -> bool {
    let Ok(folder) = tempfile::tempdir() else { return false };
    let probe = folder.path().join("probe.c");
    let Ok(mut clang) = CLANG.command(source.dir) else { return false };
    clang.args(["-mexec-model=reactor", "-target", TARGET, "-o"]).arg(folder.path().join("probe.wasm")).arg(&probe);
    let written = fs::write(&probe, "#include <stdlib.h>\nvoid *probe(void) { return malloc(1); }\n");
    let status = clang.stdout(Stdio::null()).stderr(Stdio::null()).status();
    written.is_ok() && status.is_ok_and(|status| status.success())
}

/// Compiled with debugging information, because without it zig leaves no names of functions, which the message of a trap
/// needs. All the rest of it is twenty times the code, and goes.
fn without_debugging(core: &[u8]) -> Result<Vec<u8>> {
    let mut module = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(core) {
        let payload = payload.context("the C compiler made no WebAssembly")?;
        if matches!(&payload, Payload::CustomSection(section) if section.name().starts_with(".debug_")) {
            continue;
        }
        if let Some((id, range)) = payload.as_section() {
            module.section(&RawSection { id, data: &core[range] });
        }
    }
    Ok(module.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(literal(text), expected);
    }

    #[test]
    fn every_text_is_a_string_of_c() {
        check("", r#""""#);
        check("one, two", r#""one, two""#);
        check("\"?\\\n", r#""\042\077\134\012""#);
        check("é1", r#""\303\2511""#);
    }

    #[test]
    fn only_debugging_information_goes() {
        let with = wat::parse_str(r#"(module (@custom ".debug_info" "x") (func $named nop) (@custom "other" "y"))"#);
        let without = without_debugging(&with.unwrap()).unwrap();
        let text = String::from_utf8_lossy(&without);
        assert!(text.contains("named") && text.contains("other") && !text.contains(".debug"), "{text:?}");
    }
}
