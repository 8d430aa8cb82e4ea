//! `group_reward!`: the samples of a group judged against one another.

use crate::plugin::{Slot, with};
use crate::{Fault, Sample, Score};

/// Exports a function as a group reward: `group_reward!(score_group, Settings)`.
///
/// `score_group` is `fn(&[Sample], &Settings) -> Result<Vec<Score>, Fault>`: one score per member, in their order; a
/// [`Fault`] judges none of them. Use it once per crate.
///
/// ```
/// use rewarden_sdk::{Fault, Sample, Score, group_reward};
///
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Settings {}
///
/// /// Pays for saying it in fewer words than the others: 1 for the shortest, 0 for the longest.
/// fn score_group(group: &[Sample], _: &Settings) -> Result<Vec<Score>, Fault> {
///     let lengths: Vec<usize> = group.iter().map(|sample| sample.response().len()).collect();
///     let longer_than = |length: usize| lengths.iter().filter(|&&other| other > length).count() as f64;
///     let others = group.len().saturating_sub(1).max(1) as f64;
///     Ok(lengths.iter().map(|&length| Score::of(longer_than(length) / others)).collect())
/// }
///
/// group_reward!(score_group, Settings);
/// # fn main() {
/// let scores = score_group(&[Sample::new("long", ""), Sample::new("s", "")], &Settings {}).unwrap();
/// assert_eq!(scores, [Score::of(0.0), Score::of(1.0)]);
/// # }
/// ```
#[macro_export]
macro_rules! group_reward {
    ($score_group:path, $settings:ty $(,)?) => {
        $crate::group_reward!($score_group, $settings, schema = "");
    };
    ($score_group:path, $settings:ty, schema = $schema:expr $(,)?) => {
        const _: () = {
            $crate::__plugin!($settings, $schema);

            impl $crate::bindings::group_reward::exports::rewarden::plugin::group_reward::Guest for Plugin {
                fn score_group(
                    group: ::std::vec::Vec<$crate::Sample>,
                ) -> ::std::result::Result<::std::vec::Vec<$crate::Score>, $crate::Fault> {
                    $crate::generated::score_group(&SETTINGS, &group, $score_group)
                }
            }

            #[cfg(not(target_family = "wasm"))]
            const _: fn(
                ::std::vec::Vec<$crate::Sample>,
            ) -> ::std::result::Result<::std::vec::Vec<$crate::Score>, $crate::Fault> =
                <Plugin as $crate::bindings::group_reward::exports::rewarden::plugin::group_reward::Guest>::score_group;

            #[cfg(target_family = "wasm")]
    $crate::bindings::group_reward::export_group_reward!(Plugin with_types_in $crate::bindings::group_reward);
        };
    };
}

/// One score per member of the group, or none.
pub fn score_group<S>(
    slot: &'static Slot<S>,
    group: &[Sample],
    score_group: impl Fn(&[Sample], &S) -> Result<Vec<Score>, Fault>,
) -> Result<Vec<Score>, Fault> {
    with(slot, |settings| score_group(group, settings))
}
