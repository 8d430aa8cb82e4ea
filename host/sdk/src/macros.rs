//! `reward!`: from a function and a settings type to a component's exports.
//!
//! The exports exist on WebAssembly only; natively the same crate is an ordinary library that tests call.

use serde::de::DeserializeOwned;

use crate::Fault;

/// Exports a function as a reward plugin: `reward!(score, Settings)`, or `reward!(score, Settings, schema = "..")`.
///
/// `score` is `fn(&Sample, &Settings) -> Result<Score, Fault>`, `Settings` is `Deserialize`. With a `schema` (JSON
/// Schema of the settings) `rewarden plugin inspect` can show what may be set. Use it once per crate.
#[macro_export]
macro_rules! reward {
    ($score:path, $settings:ty $(,)?) => {
        $crate::reward!($score, $settings, schema = "");
    };
    ($score:path, $settings:ty, schema = $schema:expr $(,)?) => {
        const _: () = {
            struct Plugin;

            // Natively nothing is exported: this keeps what the exports would use from looking unused.
            #[cfg(not(target_family = "wasm"))]
            const _: (
                fn() -> $crate::Manifest,
                fn(
                    ::std::vec::Vec<$crate::Sample>,
                ) -> ::std::vec::Vec<::std::result::Result<$crate::Score, $crate::Fault>>,
            ) = (
                <Plugin as $crate::bindings::exports::rewarden::plugin::plugin::Guest>::describe,
                <Plugin as $crate::bindings::exports::rewarden::plugin::reward::Guest>::score_batch,
            );

            ::std::thread_local! {
                // An instance has one thread; this is how safe Rust spells a static there.
                static SETTINGS: ::std::cell::RefCell<::std::option::Option<$settings>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }

            impl $crate::bindings::exports::rewarden::plugin::plugin::Guest for Plugin {
                fn describe() -> $crate::Manifest {
                    // `rewarden plugin build` says what plugin.toml has; without that file it is the package's.
                    $crate::Manifest {
                        name: ::std::option_env!("REWARDEN_PLUGIN_NAME")
                            .unwrap_or(::std::env!("CARGO_PKG_NAME"))
                            .into(),
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
                    let settings = $crate::settings_from(&settings)?;
                    SETTINGS.with(|slot| *slot.borrow_mut() = ::std::option::Option::Some(settings));
                    ::std::result::Result::Ok(())
                }
            }

            impl $crate::bindings::exports::rewarden::plugin::reward::Guest for Plugin {
                fn score_batch(
                    samples: ::std::vec::Vec<$crate::Sample>,
                ) -> ::std::vec::Vec<::std::result::Result<$crate::Score, $crate::Fault>> {
                    SETTINGS.with(|slot| match &*slot.borrow() {
                        ::std::option::Option::Some(settings) => {
                            samples.iter().map(|sample| $score(sample, settings)).collect()
                        }
                        ::std::option::Option::None => samples
                            .iter()
                            .map(|_| {
                                ::std::result::Result::Err($crate::Fault::misconfigured("configure was not called"))
                            })
                            .collect(),
                    })
                }
            }

            #[cfg(target_family = "wasm")]
    $crate::bindings::export!(Plugin with_types_in $crate::bindings);
        };
    };
}

/// The author's settings from the JSON a run gives; the fault carries serde's message, which names the key.
pub fn settings_from<S: DeserializeOwned>(json: &str) -> Result<S, Fault> {
    serde_json::from_str(json).map_err(|error| Fault::misconfigured(error.to_string()))
}
