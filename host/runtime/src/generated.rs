//! The contract as Rust types, generated from `wit/` and from nothing else.
//!
//! Owned records with serde derives, so that they travel through training code, logs and tests as plain data; nothing
//! here is written by hand and nothing outside this crate sees the calling code.

#![allow(missing_docs, unreachable_pub, unused_qualifications, reason = "generated: documentation stands in the WIT")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "reward-plugin",
    imports: { default: trappable },
    exports: { default: async },
    additional_derives: [PartialEq, serde::Serialize, serde::Deserialize],
});
