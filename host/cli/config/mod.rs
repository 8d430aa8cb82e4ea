//! `rewarden config`: what a run's config may say, and what others say.

pub(crate) mod docs;
pub(crate) mod import;
