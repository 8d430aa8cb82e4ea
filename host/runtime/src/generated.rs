//! The contract as Rust types, generated from `wit/` and from nothing else.
//!
//! Owned records with serde derives, so that they travel through training code, logs and tests as plain data; nothing
//! here is written by hand and nothing outside this crate sees the calling code. One world holds every interface, so that
//! all plugins share one set of types; which interfaces a plugin really has is read from its bytes.

#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    dead_code,
    reason = "generated: documentation stands in the WIT"
)]

wasmtime::component::bindgen!({
    inline: "
        package rewarden:host;
        world every {
            import rewarden:plugin/host-log@0.1.0;
            import rewarden:plugin/host-model@0.1.0;
            import rewarden:plugin/host-tools@0.1.0;
            export rewarden:plugin/plugin@0.1.0;
            export rewarden:plugin/reward@0.1.0;
            export rewarden:plugin/group-reward@0.1.0;
            export rewarden:plugin/environment@0.1.0;
            export rewarden:plugin/tool@0.1.0;
        }
    ",
    path: "../../wit",
    imports: { default: trappable },
    exports: { default: async },
    additional_derives: [PartialEq, serde::Serialize, serde::Deserialize],
});
