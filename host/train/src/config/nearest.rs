//! "Did you mean": the known name that is closest to one that is not known.

/// Below this similarity (0 to 1) a guess is noise.
const SIMILARITY_MIN: f64 = 0.7;

/// The candidate most like the word, if any is like it.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let rated = candidates.into_iter().map(|candidate| (strsim::jaro_winkler(word, candidate), candidate));
    let best = rated.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (best.0 >= SIMILARITY_MIN).then_some(best.1)
}

/// The nearest name to what a message of serde calls unknown: "unknown field `sumary`, expected one of `id`, `summary`".
pub fn nearest_name(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("unknown ")?;
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    nearest(&unknown.to_lowercase(), quoted)
}

/// A message of serde with the name that was probably meant.
pub(super) fn with_hint(message: String) -> String {
    match nearest_name(&message) {
        Some(name) => format!("{}\ndid you mean `{name}`?", message.trim_end()),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, expected: Option<&str>) {
        assert_eq!(nearest_name(message), expected);
    }

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        check("unknown field `sumary`, expected one of `id`, `summary`, `source`", Some("summary"));
        check("line 2\nunknown variant `host_log`, expected one of `host-log`, `host-model`", Some("host-log"));
        check("unknown variant `rust!`, expected `rust`", Some("rust"));
        check("unknown variant `GRPO`, expected one of `ppo`, `grpo`, `dapo`", Some("grpo"));
        check("unknown field `group_sise`, expected one of `groups_per_batch`, `group_size`", Some("group_size"));
        check("unknown field `zzz`, expected one of `id`, `summary`", None);
        check("unknown field `zzz`, there are no fields", None);
        check("missing field `id`", None);
    }
}
