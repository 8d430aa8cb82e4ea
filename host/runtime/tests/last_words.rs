//! What a dead guest leaves for its author: last words, and the names of functions. Both are a stranger's text.

use rewarden_runtime::{Fault, Limits, PluginSpec, Runtime, RuntimeConfig};

use crate::component::{Core, SCORED, component, file, reward_of, sample, score_export, wait};

fn fault(bytes: &[u8]) -> Fault {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let runtime = Runtime::new(RuntimeConfig { jobs: 1, cache_dir: None }).expect("a runtime");
    let limits = Limits { fuel: 1_000_000, timeout_ms: 60_000, ..Limits::default() };
    let plugin = wait(runtime.load(&PluginSpec { limits, ..PluginSpec::path(file(&dir, bytes)) })).expect("loads");
    wait(plugin.reward().expect("a reward").score_batch(vec![sample()])).remove(0).expect_err("a fault")
}

const TRAP: &str = "wasm trap: wasm `unreachable` instruction executed";

/// What is said of a guest whose global of our name is this, with these bytes at 2048, and which then traps.
#[track_caller]
fn check(global: &str, bytes: &str, expected: &str) {
    let module = format!(r#"{SCORED} {global} (data (i32.const 2048) "{bytes}")"#);
    let fault = fault(&reward_of(&Core { module: &module, score: "unreachable", ..Core::default() }));
    assert_eq!(fault, Fault::Trap(expected.replace("TRAP", TRAP)));
}

fn at(address: i64) -> String {
    format!(r#"(global (export "rewarden_last_words") i32 (i32.const {address}))"#)
}

#[test]
fn last_words_are_read_and_believed_in_nothing() {
    check(&at(2048), r"\05\00\00\00hello!", "hello (TRAP, in score)");
    check(&at(2048), r"\0e\00\00\00\1b[31mtwo\nlines", r"\u{1b}[31mtwo\nlines (TRAP, in score)");
    check(&at(2048), r"\03\00\00\00a\ffb", "a\u{fffd}b (TRAP, in score)");
    // None: no length, no words, only spaces, no global, one of another type.
    for words in ["", r"\00\00\00\00hello", r"\02\00\00\00  "] {
        check(&at(2048), words, "TRAP, in score");
    }
    check("", r"\05\00\00\00hello", "TRAP, in score");
    check(r#"(global (export "rewarden_last_words") i64 (i64.const 2048))"#, r"\01\00\00\00x", "TRAP, in score");
    check(r#"(func (export "rewarden_last_words"))"#, r"\01\00\00\00x", "TRAP, in score");
    // Outside of the memory, at its end, longer than it.
    for address in [262_144, 262_143, 262_140, -1, -4] {
        check(&at(address), "", "TRAP, in score");
    }
    let fault = fault(&reward_of(&Core {
        module: &format!(r#"{SCORED} {} (data (i32.const 2048) "\ff\ff\ff\7fhello")"#, at(2048)),
        score: "(memory.fill (i32.const 2057) (i32.const 120) (i32.const 9000)) unreachable",
        ..Core::default()
    }));
    let said = fault.to_string();
    assert!(said.contains("helloxxxx") && said.contains("... (wasm trap") && said.len() < 2200, "{said}");
}

#[test]
fn a_component_without_a_memory_of_that_name_has_none() {
    let module = SCORED.replace(r#"(export "memory")"#, r#"(export "memory") (export "other")"#);
    let core = Core { module: &format!("{module} {}", at(1)), score: "unreachable", ..Core::default() };
    assert!(fault(&reward_of(&core)).to_string().contains(TRAP));
}

/// A reward whose score calls these functions, innermost last.
fn calling(functions: &str, score: &str) -> Vec<u8> {
    let core = Core { module: &format!("{SCORED} {functions}"), ..Core::default() };
    component("reward-plugin", "", &core, &score_export(score))
}

#[test]
fn a_fault_says_where_the_guest_was() {
    let trap = "(func $inner unreachable) (func $outer call $inner)";
    assert_eq!(
        fault(&calling(trap, "call $outer i32.const 1024")).to_string(),
        format!("the plugin trapped: {TRAP}, in inner < outer < score")
    );
    let endless = "(func $inner (loop (br 0))) (func $outer call $inner)";
    let fault_of_fuel = fault(&calling(endless, "call $outer i32.const 1024"));
    assert_eq!(fault_of_fuel, Fault::OutOfFuel { fuel: 1_000_000, at: "inner < outer < score".into() });
    // Rust's names, of both kinds, without their hashes; the machinery of a panic is left out.
    let rust = r#"(func $"_ZN4core9panicking5panic17h0123456789abcdefE" unreachable)
        (func $"_RNvCskwGfYPst2Cb_5guest5score" call $"_ZN4core9panicking5panic17h0123456789abcdefE")
        (func $"_ZN5guest4main17h0123456789abcdefE" call $"_RNvCskwGfYPst2Cb_5guest5score")"#;
    let said = fault(&calling(rust, r#"call $"_ZN5guest4main17h0123456789abcdefE" i32.const 1024"#)).to_string();
    assert!(said.ends_with("in guest::score < guest::main < score"), "{said}");
    // Names are the guest's to choose.
    let odd = format!(r#"(func $"\1b[2J{}" unreachable)"#, "x".repeat(5000));
    let said = fault(&calling(&odd, &format!(r#"call $"\1b[2J{}" i32.const 1024"#, "x".repeat(5000)))).to_string();
    assert!(said.contains(r"in \u{1b}[2Jxxx") && said.len() < 1200, "{said}");
}
