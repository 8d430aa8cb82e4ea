//! Process rewards: a grader's numbers for the steps of an answer, and the tokens they are about.

use super::EPSILON;

/// The return of every step of every trajectory of a group: its own reward and those of all later steps, each less the
/// mean over all steps of the group (process supervision in GRPO, arXiv 2402.03300, section 4.1.3), and divided by
/// their deviation if `divides`. A trajectory without steps has no part in it.
pub(crate) fn step_returns(group: &[Vec<f64>], divides: bool) -> Vec<Vec<f64>> {
    let all = || group.iter().flatten().copied();
    let mean = all().sum::<f64>() / all().count() as f64;
    let scale = if divides { 1.0 / (super::deviation(all()) + EPSILON) } else { 1.0 };
    let returns = |steps: &Vec<f64>| {
        let mut sum = 0.0;
        let mut backwards: Vec<f64> = steps.iter().rev().map(|reward| add(&mut sum, (reward - mean) * scale)).collect();
        backwards.reverse();
        backwards
    };
    group.iter().map(returns).collect()
}

fn add(sum: &mut f64, value: f64) -> f64 {
    *sum += value;
    *sum
}

/// Where each step of a text ends, in bytes. A step ends with `separator`; one of white space only is no step of its own
/// but belongs to the one before it (or, at the start, after it). A text of nothing else has none.
pub(crate) fn step_ends(text: &str, separator: &str) -> Vec<usize> {
    let mut ends = vec![];
    let (mut at, mut is_blank) = (0, true);
    for part in text.split_inclusive(separator) {
        at += part.len();
        let says_nothing = part.trim().is_empty();
        match ends.last_mut() {
            Some(end) if says_nothing || is_blank => *end = at,
            _ => ends.push(at),
        }
        is_blank = is_blank && says_nothing;
    }
    if is_blank { vec![] } else { ends }
}

/// The step that each token of an answer belongs to, and how many steps there are. `pieces` are the texts of the tokens.
/// A token belongs to the step in which it begins.
pub(crate) fn split_steps(pieces: &[String], separator: &str) -> (Vec<usize>, usize) {
    let ends = step_ends(&pieces.concat(), separator);
    let mut begins = 0;
    let step = |piece: &String| {
        let step = ends.partition_point(|&end| end <= begins);
        begins += piece.len();
        step.min(ends.len().saturating_sub(1))
    };
    (pieces.iter().map(step).collect(), ends.len())
}

/// The token with which each step is complete: the one that has its last letter, not counting white space, so that what is
/// said of a step never depends on what follows.
pub(crate) fn last_tokens(pieces: &[String], separator: &str) -> Vec<usize> {
    let text = pieces.concat();
    let token_ends: Vec<usize> = pieces
        .iter()
        .scan(0, |at, piece| {
            *at += piece.len();
            Some(*at)
        })
        .collect();
    let last_letter = |end: usize| text[..end].trim_end().len();
    let token = |end: usize| token_ends.partition_point(|&token_end| token_end < last_letter(end));
    step_ends(&text, separator).into_iter().map(token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_split(pieces: &[&str], separator: &str, steps: &[usize], count: usize) {
        let pieces: Vec<String> = pieces.iter().map(|&piece| piece.to_owned()).collect();
        assert_eq!(split_steps(&pieces, separator), (steps.to_vec(), count), "{pieces:?}");
    }

    #[test]
    fn tokens_belong_to_the_step_they_begin_in() {
        check_split(&["1+1", "=2", "\n", "2+2", "=4", "\n"], "\n", &[0, 0, 0, 1, 1, 1], 2);
        check_split(&["1+1", "=2\n", "2+2"], "\n", &[0, 0, 1], 2);
        check_split(&["1+1", "\n2", "+2"], "\n", &[0, 0, 1], 2);
        check_split(&["a", "\n", "\n", "b"], "\n", &[0, 0, 0, 1], 2);
        check_split(&["a\n", "\n\nb"], "\n\n", &[0, 0], 2);
        check_split(&["\n", "a", "\n", "b", "<|im_end|>"], "\n", &[0, 0, 0, 1, 1], 2);
        check_split(&["a", "\n", " ", "\n"], "\n", &[0, 0, 0, 0], 1);
        check_split(&["whole"], "\n", &[0], 1);
        check_split(&["\n", " "], "\n", &[0, 0], 0);
        check_split(&[], "\n", &[], 0);
    }

    #[track_caller]
    fn check_last(pieces: &[&str], separator: &str, expected: &[usize]) {
        let pieces: Vec<String> = pieces.iter().map(|&piece| piece.to_owned()).collect();
        assert_eq!(last_tokens(&pieces, separator), expected, "{pieces:?}");
    }

    #[test]
    fn a_step_is_complete_with_its_last_letter() {
        check_last(&["1+1", "=2", "\n", "2+2", "=4", "\n"], "\n", &[1, 4]);
        check_last(&["1+1", "=2\n", "2+2"], "\n", &[1, 2]);
        check_last(&["1+1", "=2", "\n2", "+2"], "\n", &[1, 3]);
        check_last(&["\n", "a", "\n", "\n", "b"], "\n", &[1, 4]);
        check_last(&["a", "", "b"], "\n", &[2]);
        check_last(&["\n"], "\n", &[]);
        check_last(&[], "\n", &[]);
    }

    #[test]
    fn a_step_is_paid_what_follows_from_it() {
        // Mean of all four: 0.5.
        let group = [vec![1.0, 0.0, 1.0], vec![0.0], vec![]];
        assert_eq!(step_returns(&group, false), [vec![0.5, 0.0, 0.5], vec![-0.5], vec![]]);
        let deviation = (1.0f64 / 3.0).sqrt();
        let divided = step_returns(&group, true);
        assert!((divided[1][0] + 0.5 / deviation).abs() < 1e-5, "{divided:?}");
        assert_eq!(step_returns(&[vec![0.5, 0.5], vec![0.5]], true), [vec![0.0, 0.0], vec![0.0]]);
    }
}
