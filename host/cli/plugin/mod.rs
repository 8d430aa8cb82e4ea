//! The author's verbs, `rewarden plugin ...`: one file or folder each, and what they share.

mod adapter;
pub(crate) mod bench;
pub(crate) mod build;
pub(crate) mod cases;
pub(crate) mod check;
mod component;
mod component_file;
pub(crate) mod inspect;
pub(crate) mod lang;
pub(crate) mod manifest;
pub(crate) mod new;
mod parts;
mod ran;
mod sdk;
pub(crate) mod sources;
pub(crate) mod subject;
pub(crate) mod test;
mod world;
