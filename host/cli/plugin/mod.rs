//! The author's verbs: `rewarden plugin new`, `rewarden plugin build`, `rewarden plugin inspect`.

mod adapter;
pub(crate) mod build;
mod component;
pub(crate) mod inspect;
pub(crate) mod lang;
pub(crate) mod manifest;
pub(crate) mod new;
mod sdk;
pub(crate) mod sources;
mod world;
