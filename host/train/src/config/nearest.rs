//! A misspelt key or value, and the name that was probably meant.

/// Adds to serde's "unknown field `a`, expected one of `b`, `c`" the name that is nearest, when one is near.
pub(super) fn with_hint(message: String) -> String {
    match hint(&message) {
        Some(nearest) => format!("{}; did you mean `{nearest}`?", message.trim_end()),
        None => message,
    }
}

/// The known name that is nearest to the unknown one of a message.
fn hint(message: &str) -> Option<&str> {
    let unknown = ["unknown field `", "unknown variant `"].iter().find_map(|&start| message.split_once(start))?.1;
    let (given, rest) = unknown.split_once('`')?;
    // What follows is a list in backticks: every second piece is a name.
    let known = rest.lines().next()?.split('`').skip(1).step_by(2);
    let distance = |name: &str| strsim::damerau_levenshtein(&given.to_lowercase(), name);
    let nearest = known.min_by_key(|name| distance(name))?;
    (distance(nearest) <= (nearest.len() / 3).max(1)).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, expected: Option<&str>) {
        assert_eq!(hint(message), expected, "{message}");
    }

    #[test]
    fn near_names_are_offered() {
        check("unknown variant `ppoo`, expected one of `ppo`, `grpo`, `dapo`\nin `rl`\n", Some("ppo"));
        check("unknown variant `GRPO`, expected one of `ppo`, `grpo`, `dapo`", Some("grpo"));
        check("unknown field `group_sise`, expected `group_size` or `seed`", Some("group_size"));
        check("3 | lr = 4\nunknown field `learning-rate`, expected `learning_rate`", Some("learning_rate"));
        check("unknown variant `sft`, expected one of `ppo`, `grpo`, `dapo`", None);
        check("missing field `log_path`", None);
    }
}
