//! What the host offers to guests that were granted `host-model` or `host-tools`.

use std::collections::BTreeMap;
use std::fmt;

use crate::{Model, Tool};

/// Models and tools that granted plugins may use, by name.
///
/// Cheap to clone; `Send + Sync`; given to a plugin in its [`PluginSpec`](crate::PluginSpec). Empty by default: then a
/// granted plugin hears that nothing is bound.
#[derive(Clone, Default)]
pub struct Services {
    /// Models by the name guests ask for them.
    pub models: BTreeMap<String, Model>,
    /// Tool plugins; a call goes to the first that lists a function of its name.
    pub tools: Vec<Tool>,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tools: Vec<&str> = self.tools.iter().map(Tool::name).collect();
        f.debug_struct("Services").field("models", &self.models.keys()).field("tools", &tools).finish()
    }
}
