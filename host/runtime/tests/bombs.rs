//! Components that are small to send and take for ever to compile, or more memory than there is: each is refused with a
//! sentence before anything is compiled. Those that are merely large load.

use rewarden_runtime::{Error, Plugin, PluginSpec, Runtime, RuntimeConfig};

use crate::component::{file, reward, wait};

const LOAD: [u8; 5] = [0x41, 0, 0x28, 2, 0];
const LOOP: [u8; 2] = [0x03, 0x40];
const BLOCK: [u8; 2] = [0x02, 0x40];
const BREAK_IF: [u8; 2] = [0x0d, 0];
const END: u8 = 0x0b;

fn number(mut n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n > 127 {
        bytes.push(n as u8 | 128);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}

fn section(id: u8, body: &[u8]) -> Vec<u8> {
    [&[id], &number(body.len() as u64)[..], body].concat()
}

/// One section with as many equal items.
fn items(id: u8, count: u64, item: &[u8]) -> Vec<u8> {
    section(id, &[number(count), item.repeat(count as usize)].concat())
}

/// A reward with another core module in it, of so many functions with these locals and this code.
fn functions(count: u64, locals: u64, code: &[u8]) -> Vec<u8> {
    let locals = if locals == 0 { vec![0] } else { [&[1], &number(locals)[..], &[0x7f]].concat() };
    let body = [&locals[..], code, &[END]].concat();
    let sections = [
        items(1, 1, &[0x60, 0, 0]),
        items(3, count, &[0]),
        items(5, 1, &[0, 1]),
        items(10, count, &[number(body.len() as u64), body].concat()),
    ];
    module(&sections.concat())
}

fn module(sections: &[u8]) -> Vec<u8> {
    [reward(""), section(1, &[b"\0asm\x01\0\0\0", sections].concat())].concat()
}

/// Code that sets each local to something nobody knows.
fn set_all(locals: u64) -> Vec<u8> {
    (0..locals).flat_map(|local| [&LOAD[..], &[0x21], &number(local)].concat()).collect()
}

/// Code that stores each local.
fn use_all(locals: u64) -> Vec<u8> {
    (0..locals).flat_map(|local| [&[0x41, 0, 0x20], &number(local)[..], &[0x36, 2, 0]].concat()).collect()
}

/// So many loops within one another.
fn nested_loops(depth: usize) -> Vec<u8> {
    [LOOP.repeat(depth), [&LOAD[..], &BREAK_IF, &[END]].concat().repeat(depth)].concat()
}

/// Components that instantiate one another ten times each.
fn instances(levels: usize) -> Vec<u8> {
    let mut text = "(component $c (core module $m) (core instance (instantiate $m)))".to_owned();
    for _ in 0..levels {
        text = format!("(component $c {text} {})", "(instance (instantiate $c))".repeat(10));
    }
    // The two that wit-component makes come first.
    let bomb = wat::parse_str(text).expect("WebAssembly text");
    [reward(""), section(4, &bomb), items(5, 1, &[0, 2, 0])].concat()
}

/// A table of which every element is filled in.
fn elements(count: u64) -> Vec<u8> {
    let table = [&[1, 0x70, 0], &number(count)[..]].concat();
    let segment = [&[1, 0, 0x41, 0, END], &number(count)[..], &vec![0; count as usize]].concat();
    let sections = [
        items(1, 1, &[0x60, 0, 0]),
        items(3, 1, &[0]),
        section(4, &table),
        section(9, &segment),
        items(10, 1, &[2, 0, END]),
    ];
    module(&sections.concat())
}

fn load(bytes: &[u8]) -> Result<Plugin, Error> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let runtime = Runtime::new(RuntimeConfig { jobs: 2, cache_dir: None }).expect("a runtime");
    wait(runtime.load(&PluginSpec::path(file(&dir, bytes))))
}

#[track_caller]
fn refused(bytes: &[u8], said: &str) {
    let error = load(bytes).err().expect("an error").to_string();
    assert!(error.contains(said), "{said:?} is not in: {error}");
}

#[track_caller]
fn loads(bytes: &[u8]) {
    if let Err(error) = load(bytes) {
        panic!("{error}");
    }
}

#[test]
fn loops_within_loops() {
    loads(&functions(1, 0, &nested_loops(50)));
    refused(&functions(1, 0, &nested_loops(3_000)), "compiling it would take minutes");
    // None of them long by itself.
    refused(&functions(20_000, 0, &nested_loops(200)), "compiling it would take minutes");
}

#[test]
fn values_alive_across_many_blocks() {
    let over =
        |locals, blocks: &[u8]| functions(1, locals, &[set_all(locals), blocks.to_vec(), use_all(locals)].concat());
    let loops = [&LOOP[..], &LOAD, &BREAK_IF, &[END]].concat();
    loads(&over(100, &loops.repeat(50)));
    refused(&over(1_000, &loops.repeat(10_000)), "compiling it would take minutes");
    refused(&over(10_000, &loops.repeat(1_000)), "compiling it would take minutes");
}

#[test]
fn a_hundred_thousand_branches() {
    let breaks = [&LOAD[..], &BREAK_IF].concat();
    loads(&functions(1, 0, &[&BLOCK[..], &breaks.repeat(1_000), &[END]].concat()));
    refused(
        &functions(1, 0, &[&BLOCK[..], &breaks.repeat(100_000), &[END]].concat()),
        "compiling it would take minutes",
    );
    let table = [&BLOCK[..], &LOAD, &[0x0e], &number(60_000), &vec![0; 60_001], &[END]].concat();
    refused(&functions(1, 10, &table), "compiling it would take minutes");
}

#[test]
fn functions_without_number() {
    loads(&functions(1_000, 0, &[]));
    refused(&functions(1_000_000, 0, &[]), "functions, and 100000 are allowed");
}

#[test]
fn instances_without_number() {
    loads(&instances(1));
    refused(&instances(9), "instances");
    refused(&instances(90), "instances");
}

#[test]
fn tables_filled_by_hand() {
    loads(&elements(50_000));
    refused(&elements(9_000_000), "9000000 table elements");
}

#[test]
fn large_is_not_hostile() {
    let data = |bytes: u64| {
        let segment = [&[1, 0, 0x41, 0, END], &number(bytes)[..], &vec![1; bytes as usize]].concat();
        module(&[section(5, &[&[1, 0], &number(1_000)[..]].concat()), section(11, &segment)].concat())
    };
    loads(&data(20 << 20));
    // A type of lists, a hundred thousand times; a custom section, ten thousand times; five hundred modules.
    loads(&[reward(""), items(7, 100_000, &[0x70, 0x7d])].concat());
    loads(&[reward(""), section(0, b"\x01x....").repeat(10_000)].concat());
    loads(&[reward(""), section(1, b"\0asm\x01\0\0\0").repeat(500)].concat());
    // A type deeper than any that means something.
    let deep: Vec<u8> = (0..1_000_u64).flat_map(|i| [vec![0x70], number(i)].concat()).collect();
    let nested = [reward(""), section(7, &[number(1_000), deep].concat())].concat();
    refused(&nested, "not a valid WebAssembly component");
}
