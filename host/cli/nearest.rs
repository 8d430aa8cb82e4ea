//! "Did you mean": the known name that is closest to one that is not known.

/// Below this similarity (0 to 1) a guess is noise.
const SIMILARITY_MIN: f64 = 0.7;

/// The candidate most like the word, if any is like it.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let rated = candidates.into_iter().map(|candidate| (strsim::jaro_winkler(word, candidate), candidate));
    let best = rated.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (best.0 >= SIMILARITY_MIN).then_some(best.1)
}

/// The nearest name to what a serde message calls unknown: "unknown field `sumary`, expected one of `id`, `summary`".
pub(crate) fn of_message(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("unknown ")?;
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    nearest(unknown, quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, expected: Option<&str>) {
        assert_eq!(of_message(message), expected);
    }

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        check("unknown field `sumary`, expected one of `id`, `summary`, `source`", Some("summary"));
        check("line 2\nunknown variant `host_log`, expected one of `host-log`, `host-model`", Some("host-log"));
        check("unknown variant `rust!`, expected `rust`", Some("rust"));
        check("unknown field `zzz`, expected one of `id`, `summary`", None);
        check("unknown field `zzz`, there are no fields", None);
        check("missing field `id`", None);
    }
}
