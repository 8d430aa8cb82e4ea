//! The author's verbs: `rewarden plugin build`, `rewarden plugin inspect`.

pub(crate) mod build;
mod cargo;
pub(crate) mod inspect;
