//! Seeded arithmetic word problems in GSM8K format, so that a run needs no download.
//!
//! The teacher whose solutions a supervised stage imitates is hasty: with probability `slip_rate` a result is off by a
//! little. References are always right. Imitation therefore learns to be wrong about as often as its teacher, and
//! whatever a policy gains beyond that it owes to the reward alone.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rewarden_runtime::Role;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

use super::{Dataset, Example, Task};
use crate::error::{Error, Result};
use crate::renderer::message;
use crate::seed::{self, Purpose};

/// How many problems, how hard, and how careful their teacher.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Arithmetic {
    /// Distinct training problems.
    pub train_size: usize,
    /// Distinct held-out problems, none of which is in the training set.
    pub test_size: usize,
    /// Largest number in a question.
    pub number_max: u32,
    /// Share of the teacher's solutions with a wrong result.
    pub slip_rate: f64,
}

impl Default for Arithmetic {
    fn default() -> Self {
        Self { train_size: 6000, test_size: 200, number_max: 20, slip_rate: 0.5 }
    }
}

/// One problem: a story, its calculation and the right result.
struct Problem {
    question: String,
    operator: char,
    left: u32,
    right: u32,
    thing: &'static str,
}

const NAMES: [&str; 16] =
    ["Tom", "Ann", "Sam", "Mia", "Ben", "Eva", "Max", "Lea", "Jon", "Ida", "Leo", "Zoe", "Kim", "Ravi", "Yuki", "Omar"];
const THINGS: [&str; 16] = [
    "apples", "pears", "books", "coins", "cards", "shells", "stamps", "marbles", "eggs", "pens", "plums", "stickers",
    "buttons", "keys", "cups", "nuts",
];
const GAINS: [&str; 4] = ["buys", "finds", "gets", "picks up"];
const LOSSES: [&str; 4] = ["loses", "sells", "gives away", "drops"];

impl Arithmetic {
    /// Refuses what could not be generated.
    pub(crate) fn check(&self) -> Result<()> {
        if self.number_max == 0 || self.number_max > 1_000_000 {
            return Err(Error::config("data.arithmetic.number_max", "must be between 1 and 1000000"));
        }
        if !(0.0..=1.0).contains(&self.slip_rate) {
            return Err(Error::config("data.arithmetic.slip_rate", "must be between 0 and 1"));
        }
        // Drawing distinct problems slows down as they run out; half of all there are is always quick.
        let stories = NAMES.len() * THINGS.len() * (GAINS.len() + LOSSES.len());
        let problems = stories * (self.number_max as usize).pow(2) / 4;
        match self.train_size + self.test_size > problems {
            true => Err(Error::config("data.arithmetic", format!("at most {problems} problems with this number_max"))),
            false => Ok(()),
        }
    }

    /// The data set of `seed`: test problems first, so that the training set's size never changes what is measured.
    pub fn generate(&self, seed: u64) -> Dataset {
        let mut rng = seed::generator(seed, Purpose::Problems, &[]);
        let mut asked = HashSet::new();
        let mut take = |count: usize, split: &str| -> Vec<Example> {
            let problems =
                std::iter::repeat_with(|| self.problem(&mut rng)).filter(|p| asked.insert(p.question.clone()));
            let problems: Vec<Problem> = problems.take(count).collect();
            problems.iter().enumerate().map(|(i, p)| self.example(p, format!("{split}-{i}"), &mut rng)).collect()
        };
        let test = take(self.test_size, "test");
        Dataset { train: take(self.train_size, "train"), test }
    }

    fn problem(&self, rng: &mut ChaCha8Rng) -> Problem {
        let name = NAMES[rng.random_range(0..NAMES.len())];
        let thing = THINGS[rng.random_range(0..THINGS.len())];
        let verb = rng.random_range(0..GAINS.len());
        let (a, b) = (rng.random_range(1..=self.number_max), rng.random_range(1..=self.number_max));
        let (operator, left, right, verb) =
            if rng.random_bool(0.5) { ('+', a, b, GAINS[verb]) } else { ('-', a.max(b), a.min(b), LOSSES[verb]) };
        let question = format!("{name} has {left} {thing} and {verb} {right}. How many {thing} does {name} have now?");
        Problem { question, operator, left, right, thing }
    }

    fn example(&self, problem: &Problem, id: String, rng: &mut ChaCha8Rng) -> Example {
        let Problem { question, operator, left, right, thing } = problem;
        let result = if *operator == '+' { left + right } else { left - right };
        let told = if rng.random_bool(self.slip_rate) { slip(result, rng) } else { result };
        let answer = format!("{left}{operator}{right}=<<{left}{operator}{right}={told}>>{told} {thing}.\n#### {told}");
        let task = Task {
            id,
            data_source: "arithmetic".into(),
            prompt: vec![message(Role::User, question.as_str())],
            ground_truth: result.to_string(),
            extra: "{}".into(),
        };
        Example { task, answer: vec![message(Role::Assistant, answer)] }
    }
}

/// A wrong result near the right one.
fn slip(result: u32, rng: &mut ChaCha8Rng) -> u32 {
    let offsets = [-10, -2, -1, 1, 2, 10];
    let wrong = std::iter::repeat_with(|| result as i64 + offsets[rng.random_range(0..offsets.len())]);
    wrong.filter(|&wrong| wrong >= 0).map(|wrong| wrong as u32).next().unwrap_or(result + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(example: &Example) -> &str {
        example.answer[0].content.rsplit_once("#### ").unwrap().1
    }

    #[test]
    fn problems_are_distinct_and_test_ones_unseen() {
        let data = Arithmetic::default().generate(1);
        let asked = |e: &Example| e.task.prompt[0].content.clone();
        let all: HashSet<String> = data.train.iter().chain(&data.test).map(asked).collect();
        assert_eq!((data.train.len(), data.test.len(), all.len()), (6000, 200, 6200));
    }

    #[test]
    fn the_teacher_slips_as_often_as_told_and_references_never_do() {
        for slip_rate in [0.0, 0.5] {
            let data = Arithmetic { slip_rate, ..Arithmetic::default() }.generate(3);
            let wrong = data.train.iter().filter(|e| told(e) != e.task.ground_truth).count() as f64;
            assert!((wrong / 6000.0 - slip_rate).abs() < 0.03, "{wrong}");
        }
    }

    #[test]
    fn a_seed_fixes_the_data() {
        let data = |seed| Arithmetic::default().generate(seed).train;
        assert_eq!(data(1), data(1));
        assert_ne!(data(1), data(2));
    }
}
