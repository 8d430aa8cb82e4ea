//! What is generated from `wit/`: one world per exported interface, so that a plugin has exactly the component type of
//! what it exports; the sections of its worlds add up. Imports that nothing calls are dropped when the component is made.
//! Each interface's types exist once: later worlds take those of the earlier ones.

/// Types, and the host's interfaces.
pub mod host {
    wit_bindgen::generate!({
        inline: "
            package rewarden:sdk;
            world host {
                import rewarden:plugin/host-log@0.1.0;
                import rewarden:plugin/host-model@0.1.0;
                import rewarden:plugin/host-tools@0.1.0;
            }
        ",
        path: "../../wit",
        world: "rewarden:sdk/host",
        generate_all,
        runtime_path: "rewarden_sdk::wit_bindgen::rt",
        pub_export_macro: true,
        additional_derives: [PartialEq],
    });
}

/// `describe` and `configure`, which every plugin has.
pub mod plugin {
    wit_bindgen::generate!({
        inline: "package rewarden:sdk; world plugin { export rewarden:plugin/plugin@0.1.0; }",
        path: "../../wit",
        world: "rewarden:sdk/plugin",
        with: { "rewarden:plugin/types@0.1.0": crate::bindings::host::rewarden::plugin::types },
        runtime_path: "rewarden_sdk::wit_bindgen::rt",
        default_bindings_module: "rewarden_sdk::bindings::plugin",
        export_macro_name: "export_plugin",
        pub_export_macro: true,
        additional_derives: [PartialEq],
    });
}

/// A reward's export.
pub mod reward {
    wit_bindgen::generate!({
        inline: "package rewarden:sdk; world reward { export rewarden:plugin/reward@0.1.0; }",
        path: "../../wit",
        world: "rewarden:sdk/reward",
        with: { "rewarden:plugin/types@0.1.0": crate::bindings::host::rewarden::plugin::types },
        runtime_path: "rewarden_sdk::wit_bindgen::rt",
        default_bindings_module: "rewarden_sdk::bindings::reward",
        export_macro_name: "export_reward",
        pub_export_macro: true,
        additional_derives: [PartialEq],
    });
}

/// A group reward's export; its samples and scores are a reward's.
pub mod group_reward {
    wit_bindgen::generate!({
        inline: "package rewarden:sdk; world group-reward { export rewarden:plugin/group-reward@0.1.0; }",
        path: "../../wit",
        world: "rewarden:sdk/group-reward",
        with: {
            "rewarden:plugin/types@0.1.0": crate::bindings::host::rewarden::plugin::types,
            "rewarden:plugin/reward@0.1.0": crate::bindings::reward::exports::rewarden::plugin::reward,
        },
        runtime_path: "rewarden_sdk::wit_bindgen::rt",
        default_bindings_module: "rewarden_sdk::bindings::group_reward",
        export_macro_name: "export_group_reward",
        pub_export_macro: true,
        additional_derives: [PartialEq],
    });
}

/// An environment's export.
pub mod environment {
    wit_bindgen::generate!({
        inline: "package rewarden:sdk; world environment { export rewarden:plugin/environment@0.1.0; }",
        path: "../../wit",
        world: "rewarden:sdk/environment",
        with: { "rewarden:plugin/types@0.1.0": crate::bindings::host::rewarden::plugin::types },
        runtime_path: "rewarden_sdk::wit_bindgen::rt",
        default_bindings_module: "rewarden_sdk::bindings::environment",
        export_macro_name: "export_environment",
        pub_export_macro: true,
        additional_derives: [PartialEq],
    });
}

/// A tool plugin's export.
pub mod tool {
    wit_bindgen::generate!({
        inline: "package rewarden:sdk; world tool { export rewarden:plugin/tool@0.1.0; }",
        path: "../../wit",
        world: "rewarden:sdk/tool",
        with: { "rewarden:plugin/types@0.1.0": crate::bindings::host::rewarden::plugin::types },
        runtime_path: "rewarden_sdk::wit_bindgen::rt",
        default_bindings_module: "rewarden_sdk::bindings::tool",
        export_macro_name: "export_tool",
        pub_export_macro: true,
        additional_derives: [PartialEq],
    });
}
