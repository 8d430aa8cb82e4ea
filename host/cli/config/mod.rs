//! `rewarden config`: what a run's config may say.

pub(crate) mod docs;
