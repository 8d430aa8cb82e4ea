//! Tools that behave and tools that do not: `echo` answers, `again` calls itself through the host as deep as it is let,
//! `forever` loops, `trap` traps.

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, reason = "generated from wit/")]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package rewarden:helper;
            world helper {
                include rewarden:plugin/tool-plugin@0.1.0;
                import rewarden:plugin/host-tools@0.1.0;
            }
        ",
        path: "../../../wit",
        generate_all,
    });
}

use bindings::exports::rewarden::plugin::plugin::{self, Manifest};
use bindings::exports::rewarden::plugin::tool::{self, Output, ToolSpec};
use bindings::rewarden::plugin::host_tools;
use bindings::rewarden::plugin::types::{Fault, ToolCall};

/// The plugin.
pub struct Helper;

impl plugin::Guest for Helper {
    fn describe() -> Manifest {
        Manifest {
            name: "helper".into(),
            version: "0.0.0".into(),
            summary: "Tools that behave and tools that do not".into(),
            settings_schema: String::new(),
        }
    }

    fn configure(_settings: String, _seed: u32) -> Result<(), Fault> {
        Ok(())
    }
}

impl tool::Guest for Helper {
    fn list_tools() -> Vec<ToolSpec> {
        let spec = |name: &str| ToolSpec { name: name.into(), description: String::new(), parameters: "{}".into() };
        ["echo", "again", "forever", "trap"].map(spec).into()
    }

    fn call(call: ToolCall) -> Result<Output, Fault> {
        let content = match call.name.as_str() {
            "echo" => call.arguments,
            // What stops it is said by the host, once, in the innermost call.
            "again" => match host_tools::call(&call) {
                Ok(content) => format!("{content} again"),
                Err(Fault::Unavailable(reason)) => reason,
                Err(other) => return Err(other),
            },
            "forever" => loop {
                std::hint::black_box(());
            },
            _ => panic!("as asked"),
        };
        Ok(Output { content, reward: 0.0, metrics: vec![] })
    }
}

#[cfg(target_family = "wasm")]
bindings::export!(Helper with_types_in bindings);
