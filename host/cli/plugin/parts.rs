//! What a component is made of, read without running or compiling anything: which tools made it, which features of
//! WebAssembly its code uses.

use std::collections::{BTreeMap, BTreeSet};

use rewarden_runtime::printable;
use wasmparser::{CustomSectionReader, FunctionBody, KnownCustom, MemoryType, Operator, Parser, Payload};

/// Of one name in a producers section.
const NAME_BYTES_MAX: usize = 200;

/// Names of one producers section that are read; compilers write a handful.
const NAMES_MAX: usize = 100;

/// What was found, over all modules and components inside.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// What the `producers` sections say, by field (`language`, `processed-by`, `sdk`): names, and versions where there are
    /// some.
    pub(crate) producers: BTreeMap<String, BTreeSet<String>>,
    /// Proposals beyond the first version of WebAssembly that code or memories use.
    pub(crate) features: BTreeSet<String>,
    /// Core modules inside.
    pub(crate) modules: usize,
}

impl Parts {
    pub(crate) fn read(bytes: &[u8]) -> wasmparser::Result<Parts> {
        let mut parts = Parts::default();
        // Memories of each module that is open, the innermost last.
        let mut memories = vec![];
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::ModuleSection { .. } => {
                    parts.modules += 1;
                    memories.push(0);
                }
                Payload::ComponentSection { .. } => memories.push(0),
                Payload::End(_) => _ = memories.pop(),
                Payload::MemorySection(section) => {
                    for memory in section {
                        parts.memory(&memory?);
                        if let Some(count) = memories.last_mut() {
                            *count += 1;
                            if *count > 1 {
                                parts.feature("multi_memory");
                            }
                        }
                    }
                }
                Payload::CodeSectionEntry(body) => parts.code(&body)?,
                Payload::CustomSection(section) => parts.custom(&section),
                _ => {}
            }
        }
        Ok(parts)
    }

    fn memory(&mut self, memory: &MemoryType) {
        if memory.memory64 {
            self.feature("memory64");
        }
        if memory.shared {
            self.feature("threads");
        }
    }

    fn feature(&mut self, proposal: &str) {
        self.features.insert(proposal.replace('_', "-"));
    }

    fn code(&mut self, body: &FunctionBody<'_>) -> wasmparser::Result<()> {
        // Instructions of one proposal come in rows.
        let mut last = "mvp";
        for operator in body.get_operators_reader()? {
            let proposal = proposal(&operator?);
            if proposal != "mvp" && proposal != last {
                self.feature(proposal);
                last = proposal;
            }
        }
        Ok(())
    }

    /// A section that cannot be read says nothing; it has no effect on what the component does.
    fn custom(&mut self, section: &CustomSectionReader<'_>) {
        let KnownCustom::Producers(fields) = section.as_known() else { return };
        for field in fields.into_iter().flatten().take(NAMES_MAX) {
            let names = self.producers.entry(printable(field.name, NAME_BYTES_MAX)).or_default();
            for value in field.values.into_iter().flatten().take(NAMES_MAX) {
                names.insert(printable(format!("{} {}", value.name, value.version).trim(), NAME_BYTES_MAX));
            }
        }
    }
}

/// The proposal that an instruction came with.
fn proposal(operator: &Operator<'_>) -> &'static str {
    macro_rules! name {
        ($( @$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
            match operator {
                $( Operator::$op { .. } => stringify!($proposal), )*
                _ => "unknown",
            }
        };
    }
    wasmparser::for_each_operator!(name)
}
