//! `reward!`: samples judged one by one.

use crate::plugin::{Slot, with};
use crate::{Fault, Sample, Score};

/// Exports a function as a reward plugin: `reward!(score, Settings)`.
///
/// `score` is `fn(&Sample, &Settings) -> Result<Score, Fault>`, `Settings` is `Deserialize`; both are yours. A wrong
/// answer is a score of 0, a [`Fault`] means that nobody could judge the sample. Use it once per crate.
///
/// `reward!(score, Settings, schema = "..")` adds a JSON Schema of the settings, for a crate that has no plugin.toml to
/// name one.
///
/// ```
/// use rewarden_sdk::{Fault, Sample, Score, reward};
///
/// #[derive(serde::Deserialize, Default)]
/// #[serde(deny_unknown_fields, default)]
/// struct Settings {
///     words_max: usize,
/// }
///
/// fn score(sample: &Sample, settings: &Settings) -> Result<Score, Fault> {
///     let words = sample.response().split_whitespace().count();
///     Ok(Score::of(if words <= settings.words_max { 1.0 } else { 0.0 }).metric("words", words as f64))
/// }
///
/// reward!(score, Settings);
/// # fn main() {
/// assert_eq!(score(&Sample::new("two words", ""), &Settings { words_max: 2 }).unwrap().value, Some(1.0));
/// # }
/// ```
#[macro_export]
macro_rules! reward {
    ($score:path, $settings:ty $(,)?) => {
        $crate::reward!($score, $settings, schema = "");
    };
    ($score:path, $settings:ty, schema = $schema:expr $(,)?) => {
        const _: () = {
            $crate::__plugin!($settings, $schema);

            impl $crate::bindings::reward::exports::rewarden::plugin::reward::Guest for Plugin {
                fn score_batch(
                    samples: ::std::vec::Vec<$crate::Sample>,
                ) -> ::std::vec::Vec<::std::result::Result<$crate::Score, $crate::Fault>> {
                    $crate::generated::score_batch(&SETTINGS, &samples, $score)
                }
            }

            #[cfg(not(target_family = "wasm"))]
            const _: fn(
                ::std::vec::Vec<$crate::Sample>,
            ) -> ::std::vec::Vec<::std::result::Result<$crate::Score, $crate::Fault>> =
                <Plugin as $crate::bindings::reward::exports::rewarden::plugin::reward::Guest>::score_batch;

            #[cfg(target_family = "wasm")]
    $crate::bindings::reward::export_reward!(Plugin with_types_in $crate::bindings::reward);
        };
    };
}

/// One result per sample.
pub fn score_batch<S>(
    slot: &'static Slot<S>,
    samples: &[Sample],
    score: impl Fn(&Sample, &S) -> Result<Score, Fault>,
) -> Vec<Result<Score, Fault>> {
    let all = with(slot, |settings| Ok(samples.iter().map(|sample| score(sample, settings)).collect()));
    all.unwrap_or_else(|fault| samples.iter().map(|_| Err(fault.clone())).collect())
}
