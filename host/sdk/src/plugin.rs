//! What every plugin exports: `describe` and `configure`; and where an instance keeps what it was configured with.

use std::cell::RefCell;
use std::thread::LocalKey;

use serde::de::DeserializeOwned;

use crate::Fault;
use crate::last_words::keep_last_words;

/// What an instance holds once it is configured. An instance has one thread; this is how safe Rust spells a static there.
pub type Slot<T> = LocalKey<RefCell<Option<T>>>;

/// The author's settings from the JSON a run gives; the fault carries serde's message, which names the key.
pub fn settings_from<S: DeserializeOwned>(json: &str) -> Result<S, Fault> {
    serde_json::from_str(json).map_err(|error| Fault::misconfigured(error.to_string()))
}

/// Reads the settings into the slot.
pub fn configure<S: DeserializeOwned>(slot: &'static Slot<S>, json: &str) -> Result<(), Fault> {
    keep_last_words();
    let settings = settings_from(json)?;
    slot.set(Some(settings));
    Ok(())
}

/// What the slot holds, for the length of a call.
pub(crate) fn with<S, R>(slot: &'static Slot<S>, call: impl FnOnce(&mut S) -> Result<R, Fault>) -> Result<R, Fault> {
    slot.with_borrow_mut(|held| match held {
        Some(held) => call(held),
        None => Err(Fault::misconfigured("configure was not called")),
    })
}

/// The part that all kinds share: a type `Plugin` that describes itself, and its `SETTINGS`.
///
/// The exports exist on WebAssembly only; natively the same crate is an ordinary library that tests call.
#[doc(hidden)]
#[macro_export]
macro_rules! __plugin {
    ($settings:ty, $schema:expr) => {
        struct Plugin;

        ::std::thread_local! {
            static SETTINGS: ::std::cell::RefCell<::std::option::Option<$settings>> =
                const { ::std::cell::RefCell::new(::std::option::Option::None) };
        }

        impl $crate::bindings::plugin::exports::rewarden::plugin::plugin::Guest for Plugin {
            // `rewarden plugin build` says what plugin.toml has; without that file it is the package's.
            fn describe() -> $crate::Manifest {
                $crate::Manifest {
                    name: ::std::option_env!("REWARDEN_PLUGIN_NAME").unwrap_or(::std::env!("CARGO_PKG_NAME")).into(),
                    version: ::std::option_env!("REWARDEN_PLUGIN_VERSION")
                        .unwrap_or(::std::env!("CARGO_PKG_VERSION"))
                        .into(),
                    summary: ::std::option_env!("REWARDEN_PLUGIN_SUMMARY")
                        .unwrap_or(::std::env!("CARGO_PKG_DESCRIPTION"))
                        .into(),
                    settings_schema: ::std::option_env!("REWARDEN_PLUGIN_SCHEMA").unwrap_or($schema).into(),
                }
            }

            fn configure(settings: ::std::string::String, _seed: u32) -> ::std::result::Result<(), $crate::Fault> {
                $crate::generated::configure(&SETTINGS, &settings)
            }
        }

        // Natively nothing is exported: this keeps what the exports would use from looking unused.
        #[cfg(not(target_family = "wasm"))]
        const _: fn() -> $crate::Manifest =
            <Plugin as $crate::bindings::plugin::exports::rewarden::plugin::plugin::Guest>::describe;

        #[cfg(target_family = "wasm")]
        $crate::bindings::plugin::export_plugin!(Plugin with_types_in $crate::bindings::plugin);
    };
}
