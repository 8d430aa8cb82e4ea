//! Seeded arithmetic word problems in GSM8K format, so that a run needs no download.
//!
//! The teacher whose solutions a supervised stage imitates is hasty: with probability `slip_rate` a result is off by a
//! little, and the solution goes on from there. References are always right. Imitation therefore learns to be wrong about as often as its teacher, and
//! whatever a policy gains beyond that it owes to the reward alone.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rewarden_runtime::{Message, Role};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

use super::{Chain, Dataset, Example, Pair, Task};
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
    /// Calculations that a problem takes, each a line of its solution.
    pub operations: usize,
    /// Share of the teacher's calculations with a wrong result. In labelled chains every second mistake is another: a
    /// number of the question misread, and the last line may repeat the result wrongly.
    pub slip_rate: f64,
}

impl Default for Arithmetic {
    fn default() -> Self {
        Self { train_size: 6000, test_size: 200, number_max: 20, operations: 1, slip_rate: 0.5 }
    }
}

/// One problem: a story, and what it takes to solve it.
struct Problem {
    question: String,
    start: u32,
    changes: Vec<Change>,
    thing: &'static str,
}

/// What happens to the number of things.
#[derive(Clone, Copy)]
struct Change {
    operator: char,
    number: u32,
}

/// A solution, line by line, and which of its lines follow from the question and the lines before.
struct Solution {
    lines: Vec<String>,
    is_right: Vec<bool>,
}

/// The mistakes a teacher makes.
#[derive(Clone, Copy, PartialEq)]
enum Teacher {
    /// Each result is wrong with this probability.
    Hasty(f64),
    /// The same, and as often a number of the question is misread or the result repeated wrongly.
    Careless(f64),
}

const NAMES: [&str; 16] =
    ["Tom", "Ann", "Sam", "Mia", "Ben", "Eva", "Max", "Lea", "Jon", "Ida", "Leo", "Zoe", "Kim", "Ravi", "Yuki", "Omar"];
const THINGS: [&str; 16] = [
    "apples", "pears", "books", "coins", "cards", "shells", "stamps", "marbles", "eggs", "pens", "plums", "stickers",
    "buttons", "keys", "cups", "nuts",
];
const GAINS: [&str; 4] = ["buys", "finds", "gets", "picks up"];
const LOSSES: [&str; 4] = ["loses", "sells", "gives away", "drops"];

/// Above this a solution is longer than what the tiny preset can read.
const OPERATIONS_MAX: usize = 8;

impl Arithmetic {
    /// Refuses what could not be generated; `key` is where it stands in the config.
    pub(crate) fn check(&self, key: &str) -> Result<()> {
        let refuse = |name: &str, message: &str| Err(Error::config(format!("{key}.{name}"), message));
        if self.number_max == 0 || self.number_max > 1_000_000 {
            return refuse("number_max", "must be between 1 and 1000000");
        }
        if !(0.0..=1.0).contains(&self.slip_rate) {
            return refuse("slip_rate", "must be between 0 and 1");
        }
        if self.operations == 0 || self.operations > OPERATIONS_MAX {
            return refuse("operations", &format!("must be between 1 and {OPERATIONS_MAX}"));
        }
        // Drawing distinct problems slows down as they run out; half of all there are is always quick.
        let stories = NAMES.len() * THINGS.len() * (GAINS.len() + LOSSES.len());
        let problems = stories * (self.number_max as usize).pow(2) / 4;
        match self.train_size + self.test_size > problems {
            true => Err(Error::config(key, format!("at most {problems} problems with this number_max"))),
            false => Ok(()),
        }
    }

    /// Problems with the solutions of a hasty teacher, and right references.
    pub fn generate(&self, seed: u64) -> Dataset {
        self.dataset(seed, |problem, id, rng| {
            let task = Task {
                id,
                data_source: "arithmetic".into(),
                prompt: problem.prompt(),
                tools: vec![],
                ground_truth: problem.result().to_string(),
                extra: "{}".into(),
            };
            let solution = problem.solve(Teacher::Hasty(self.slip_rate), rng);
            Example { task, answer: vec![message(Role::Assistant, solution.lines.join("\n"))], trainable: vec![] }
        })
    }

    /// Problems with a right solution and one of a hasty teacher with at least one wrong result.
    pub(super) fn pairs(&self, seed: u64) -> Dataset<Pair> {
        self.dataset(seed, |problem, id, rng| {
            let right = problem.solve(Teacher::Hasty(0.0), rng);
            let wrong = std::iter::repeat_with(|| problem.solve(Teacher::Hasty(self.slip_rate.max(0.25)), rng));
            let wrong = wrong.filter(|solution| solution.is_right.contains(&false)).take(1);
            let say = |solution: &Solution| vec![message(Role::Assistant, solution.lines.join("\n"))];
            let rejected = wrong.last().map_or(vec![], |wrong| say(&wrong));
            Pair { id, prompt: problem.prompt(), chosen: say(&right), rejected, margin: 0.0 }
        })
    }

    /// Problems with the solutions of a careless teacher, each line labelled.
    pub(super) fn chains(&self, seed: u64) -> Dataset<Chain> {
        self.dataset(seed, |problem, id, rng| {
            let Solution { lines, is_right } = problem.solve(Teacher::Careless(self.slip_rate), rng);
            let labels = is_right.into_iter().map(|right| Some(f64::from(right))).collect();
            Chain { id, prompt: problem.prompt(), steps: lines, labels }
        })
    }

    /// The data set of `seed`: test problems first, so that the training set's size never changes what is measured.
    fn dataset<T>(&self, seed: u64, row: impl Fn(&Problem, String, &mut ChaCha8Rng) -> T) -> Dataset<T> {
        let mut rng = seed::generator(seed, Purpose::Problems, &[]);
        let mut asked = HashSet::new();
        let mut take = |count: usize, split: &str| -> Vec<T> {
            let problems =
                std::iter::repeat_with(|| self.problem(&mut rng)).filter(|p| asked.insert(p.question.clone()));
            let problems: Vec<Problem> = problems.take(count).collect();
            problems.iter().enumerate().map(|(i, p)| row(p, format!("{split}-{i}"), &mut rng)).collect()
        };
        let test = take(self.test_size, "test");
        Dataset { train: take(self.train_size, "train"), test, skipped: vec![] }
    }

    fn problem(&self, rng: &mut ChaCha8Rng) -> Problem {
        let name = NAMES[rng.random_range(0..NAMES.len())];
        let thing = THINGS[rng.random_range(0..THINGS.len())];
        let verb = rng.random_range(0..GAINS.len());
        let (a, b) = (rng.random_range(1..=self.number_max), rng.random_range(1..=self.number_max));
        let is_gain = rng.random_bool(0.5);
        let start = if is_gain { a } else { a.max(b) };
        let mut changes = vec![Change::new(is_gain, if is_gain { b } else { a.min(b) })];
        let mut told = changes[0].told(verb);
        let mut left = changes[0].apply(start.into());
        while changes.len() < self.operations {
            let (verb, number) = (rng.random_range(0..GAINS.len()), rng.random_range(1..=self.number_max));
            let change = Change::new(rng.random_bool(0.5) || i64::from(number) > left, number);
            told = format!("{told} and {}", change.told(verb));
            left = change.apply(left);
            changes.push(change);
        }
        let question = format!("{name} has {start} {thing} and {told}. How many {thing} does {name} have now?");
        Problem { question, start, changes, thing }
    }
}

impl Change {
    fn new(is_gain: bool, number: u32) -> Self {
        Self { operator: if is_gain { '+' } else { '-' }, number }
    }

    fn told(self, verb: usize) -> String {
        let verbs = if self.operator == '+' { GAINS } else { LOSSES };
        format!("{} {}", verbs[verb], self.number)
    }

    fn apply(self, left: i64) -> i64 {
        let number = i64::from(self.number);
        if self.operator == '+' { left + number } else { left - number }
    }
}

impl Problem {
    fn prompt(&self) -> Vec<Message> {
        vec![message(Role::User, self.question.as_str())]
    }

    fn result(&self) -> i64 {
        self.changes.iter().fold(i64::from(self.start), |left, change| change.apply(left))
    }

    /// The lines that `teacher` writes: a calculation each, going on from what was said before, then the result.
    fn solve(&self, teacher: Teacher, rng: &mut ChaCha8Rng) -> Solution {
        let (Teacher::Hasty(rate) | Teacher::Careless(rate)) = teacher;
        let is_careless = matches!(teacher, Teacher::Careless(_));
        let mut solution = Solution { lines: vec![], is_right: vec![] };
        let mut left = i64::from(self.start);
        for change in &self.changes {
            let slips = rng.random_bool(rate);
            let misreads = slips && is_careless && rng.random_bool(0.5);
            let number = if misreads { slip(change.number.into(), rng) as u32 } else { change.number };
            let read = Change { number, ..*change };
            let right = read.apply(left);
            let told = if slips && !misreads { slip(right, rng) } else { right };
            let calculation = format!("{left}{}{number}", change.operator);
            solution.lines.push(format!("{calculation}=<<{calculation}={told}>>{told} {}.", self.thing));
            solution.is_right.push(!slips);
            left = told;
        }
        let slips = is_careless && rng.random_bool(rate / 2.0);
        let told = if slips { slip(left, rng) } else { left };
        solution.lines.push(format!("#### {told}"));
        solution.is_right.push(!slips);
        solution
    }
}

/// A wrong number near the right one; negative only if that one is.
fn slip(right: i64, rng: &mut ChaCha8Rng) -> i64 {
    let offsets = [-10, -2, -1, 1, 2, 10];
    let wrong = std::iter::repeat_with(|| right + offsets[rng.random_range(0..offsets.len())]);
    wrong.filter(|&wrong| wrong >= 0 || right < 0).take(1).last().unwrap_or(right + 1)
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

    /// The lines of a solution, each after `+` if it is right and `-` if it is not.
    #[track_caller]
    fn check_solution(teacher: Teacher, seed: u64, expected: &[&str]) {
        let arithmetic = Arithmetic { operations: 2, number_max: 9, ..Arithmetic::default() };
        let mut rng = seed::generator(seed, Purpose::Problems, &[]);
        let problem = arithmetic.problem(&mut rng);
        let solution = problem.solve(teacher, &mut rng);
        let marks = solution.is_right.iter().map(|&right| if right { '+' } else { '-' });
        let lines: Vec<String> = marks.zip(&solution.lines).map(|(mark, line)| format!("{mark} {line}")).collect();
        assert_eq!(lines, expected, "{}", problem.question);
    }

    #[test]
    fn a_teacher_goes_on_from_what_he_said() {
        let right = ["+ 9-7=<<9-7=2>>2 cards.", "+ 2+6=<<2+6=8>>8 cards.", "+ #### 8"];
        check_solution(Teacher::Hasty(0.0), 1, &right);
        let wrong = ["- 9-7=<<9-7=1>>1 cards.", "- 1+6=<<1+6=6>>6 cards.", "+ #### 6"];
        check_solution(Teacher::Hasty(1.0), 1, &wrong);
        let misread = ["- 5+2=<<5+2=5>>5 nuts.", "- 5-7=<<5-7=-3>>-3 nuts.", "+ #### -3"];
        check_solution(Teacher::Careless(1.0), 3, &misread);
    }

    #[test]
    fn a_rejected_solution_is_wrong_and_a_chosen_one_is_not() {
        let pairs = Arithmetic { operations: 2, number_max: 10, ..Arithmetic::default() }.pairs(1);
        assert_eq!((pairs.train.len(), pairs.test.len()), (6000, 200));
        assert!(pairs.train.iter().all(|pair| pair.chosen != pair.rejected && !pair.rejected.is_empty()));
    }
}
