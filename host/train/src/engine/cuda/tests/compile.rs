//! NVRTC compiles every kernel for the oldest and the newest architecture that is meant. Skipped by name where there is no
//! NVRTC; not where `REWARDEN_TEST_CUDA` is `all`, as in `.ci/run`, which installs it from PyPI.

use std::collections::BTreeSet;

use super::skip;
use crate::engine::cuda::kernels::SOURCES;
use crate::engine::cuda::nvrtc;

/// Bytes that a kernel may keep in memory for want of registers: a loop's counter or two, not an accumulator.
const SPILLED_BYTES_MAX: u32 = 32;

/// Compute capabilities: A100, H100 and H200.
const ARCHITECTURES: [(u32, u32); 2] = [(8, 0), (9, 0)];

#[test]
fn every_kernel_compiles_without_spilling() {
    if !nvrtc::is_present() {
        return skip("kernels were not compiled: libnvrtc is absent (pip install nvidia-cuda-nvrtc, LD_LIBRARY_PATH)");
    }
    for source in SOURCES {
        for architecture in ARCHITECTURES {
            let cubin = nvrtc::compile(source, architecture, true).unwrap_or_else(|log| panic!("{log}"));
            assert!(cubin.image.starts_with(b"\x7fELF"), "{} gives no machine code", source.file);
            assert!(!cubin.log.contains("warning"), "{}: {}", source.file, cubin.log);
            let listed: BTreeSet<&str> = source.kernels.iter().copied().collect();
            let compiled: BTreeSet<&str> = between(&cubin.log, "Compiling entry function '", "'").collect();
            assert_eq!(compiled, listed, "the list of {} in kernels.rs", source.file);
            let spills: Vec<u32> =
                between(&cubin.log, "stack frame, ", " bytes spill stores").map(|n| n.parse().unwrap()).collect();
            assert_eq!(spills.len(), listed.len(), "{}", cubin.log);
            let worst = spills.into_iter().max().unwrap_or(0);
            assert!(worst <= SPILLED_BYTES_MAX, "{} spills {worst} bytes:\n{}", source.file, cubin.log);
        }
    }
}

#[test]
fn a_kernel_that_does_not_compile_is_named_with_its_line() {
    if !nvrtc::is_present() {
        return skip("the error of a bad kernel was not seen: libnvrtc is absent");
    }
    let Err(log) = nvrtc::compile(&SOURCES[0], (1, 0), false) else { panic!("there is no architecture 1.0") };
    assert!(log.starts_with("adamw.cu: "), "{log}");
}

/// What stands between each `start` and the next `end`.
fn between<'a>(text: &'a str, start: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(start).skip(1).filter_map(move |rest| rest.split(end).next())
}
