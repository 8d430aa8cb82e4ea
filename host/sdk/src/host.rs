//! The host's services, for plugins that ask for them. Natively, in unit tests, there is no host: lines go to standard
//! error, and what would answer is `unavailable`.

/// Lines for the run's log: capability `host-log`. Where a run does not grant it, they go nowhere.
pub mod log {
    pub use crate::bindings::host::rewarden::plugin::host_log::Level;

    /// Writes one line; over the caps it is cut or dropped.
    pub fn line(level: Level, message: &str) {
        #[cfg(target_family = "wasm")]
        crate::bindings::host::rewarden::plugin::host_log::log(level, message);
        #[cfg(not(target_family = "wasm"))]
        eprintln!("{level:?}: {message}");
    }

    /// For the plugin's author.
    pub fn debug(message: &str) {
        line(Level::Debug, message);
    }

    /// Worth a line in a log that is read.
    pub fn info(message: &str) {
        line(Level::Info, message);
    }

    /// Something the run's owner should look at.
    pub fn warn(message: &str) {
        line(Level::Warn, message);
    }

    /// Something that makes this plugin's answers doubtful.
    pub fn error(message: &str) {
        line(Level::Error, message);
    }
}

/// Models the run has bound by name: capability `host-model`.
pub mod model {
    use crate::{Fault, Message};

    /// One number per conversation, in their order; `unavailable` where the run does not grant it or binds no such model.
    pub fn score(binding: &str, conversations: &[Vec<Message>]) -> Result<Vec<f64>, Fault> {
        #[cfg(target_family = "wasm")]
        return crate::bindings::host::rewarden::plugin::host_model::score(binding, conversations);
        #[cfg(not(target_family = "wasm"))]
        Err(super::no_host(&format!("score {} conversations with the model {binding}", conversations.len())))
    }

    /// One continuation per conversation, in their order, each of at most `tokens_max` tokens.
    pub fn generate(binding: &str, conversations: &[Vec<Message>], tokens_max: u32) -> Result<Vec<String>, Fault> {
        #[cfg(target_family = "wasm")]
        return crate::bindings::host::rewarden::plugin::host_model::generate(binding, conversations, tokens_max);
        #[cfg(not(target_family = "wasm"))]
        Err(super::no_host(&format!(
            "continue {} conversations by {tokens_max} tokens with the model {binding}",
            conversations.len()
        )))
    }
}

/// Tools the run has granted: capability `host-tools`.
pub mod tools {
    use crate::{Fault, ToolCall};

    /// Runs one call and returns what the policy would see; `unavailable` where the run does not grant it or has no such
    /// tool.
    pub fn call(call: &ToolCall) -> Result<String, Fault> {
        #[cfg(target_family = "wasm")]
        return crate::bindings::host::rewarden::plugin::host_tools::call(call);
        #[cfg(not(target_family = "wasm"))]
        Err(super::no_host(&format!("call the tool {}", call.name)))
    }
}

#[cfg(not(target_family = "wasm"))]
fn no_host(wish: &str) -> crate::Fault {
    crate::Fault::Unavailable(format!("there is no host in a native test to {wish}"))
}
