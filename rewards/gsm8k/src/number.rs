//! Numbers compared by their value, digit by digit: a float would make 0.1 + 0.2 and 9007199254740993 matters of luck.

/// A decimal number in its one shortest spelling, borrowed from the text it stood in where that is possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    /// Without leading zeros; empty for 0.
    whole: String,
    /// Without trailing zeros; empty for a whole number.
    fraction: String,
}

impl Decimal {
    /// Reads digits, commas and at most one point; commas count for nothing. None when there is no digit, or two points.
    pub(crate) fn parse(negative: bool, digits: &str) -> Option<Decimal> {
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if fraction.contains('.') || !digits.bytes().any(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let whole = whole.replace(',', "").trim_start_matches('0').to_owned();
        let fraction = fraction.replace(',', "").trim_end_matches('0').to_owned();
        // There is one zero.
        let negative = negative && !(whole.is_empty() && fraction.is_empty());
        Some(Decimal { negative, whole, fraction })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(a: &str, b: &str, same: bool) {
        let parse = |text: &str| Decimal::parse(text.starts_with('-'), text.trim_start_matches('-'));
        assert_eq!(parse(a).is_some() && parse(a) == parse(b), same, "{a} / {b}");
    }

    #[test]
    fn equal_by_value() {
        check("5", "5.00", true);
        check("1,000", "1000", true);
        check("0", "-0.0", true);
        check("007", "7", true);
        check(".5", "0.50", true);
        check("9007199254740993", "9007199254740992", false);
        check("5", "-5", false);
        check("50", "5", false);
        check("0.5", "0.05", false);
        check("1.2.3", "1.2.3", false);
        check(",", ",", false);
        check("", "", false);
    }
}
