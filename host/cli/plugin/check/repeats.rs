//! Equal input, equal result and equal fuel: the same questions asked again, on one thread and on all, one sample at a time
//! and many in one instance, forwards and backwards. Who keeps something from one sample to the next is found here.

use anyhow::Result;
use rewarden_runtime::{Isolation, PluginSpec, Runtime};

use super::Finding;
use super::alive::Asked;
use crate::plugin::cases::expect::{Difference, differences};
use crate::plugin::ran::Ran;
use crate::plugin::subject::{Question, Subject};
use crate::runtime;

/// How often the questions are put to the same threads under the same isolation.
const TIMES: usize = 3;

/// Questions are repeated until there are so many: more than one call's worth, so that a call has neighbours.
const QUESTIONS_MIN: usize = 40;

pub(super) async fn finding(jobs: usize, spec: &PluginSpec, asked: &Asked) -> Result<Finding> {
    const NAME: &str = "repeats";
    let times = QUESTIONS_MIN.div_ceil(asked.questions.len());
    let questions: Vec<Question> =
        asked.questions.iter().cycle().take(times * asked.questions.len()).cloned().collect();
    let [alone, all] = [runtime::start(1)?, runtime::start(jobs)?];
    let first = ask(&alone, spec, Isolation::Sample, &questions, 1).await?.remove(0);
    let mut total = 1;
    for (runtime, isolation) in [
        (&alone, Isolation::Sample),
        (&all, Isolation::Sample),
        (&all, Isolation::Batch),
        (&alone, Isolation::Worker),
        (&all, Isolation::Worker),
    ] {
        for ran in ask(runtime, spec, isolation, &questions, TIMES).await? {
            total += 1;
            if let Some(difference) = difference(&first, &ran, isolation) {
                return Ok(Finding::fail(NAME, difference, remedy(isolation)));
            }
        }
    }
    let threads = match all.jobs() {
        1 => "one thread".to_owned(),
        threads => format!("1 and {threads} threads"),
    };
    Ok(Finding::ok(
        NAME,
        format!("{}, {total} times over, on {threads}, under every isolation: equal results, equal fuel", asked.from),
    ))
}

/// The answers to the questions in their order, each time; every other time they are asked backwards.
async fn ask(
    runtime: &Runtime,
    spec: &PluginSpec,
    isolation: Isolation,
    questions: &[Question],
    times: usize,
) -> Result<Vec<Vec<Ran>>> {
    let spec = PluginSpec { isolation, ..spec.clone() };
    let mut subject = Subject::load(runtime, &spec).await?;
    let backwards: Vec<Question> = questions.iter().rev().cloned().collect();
    let mut answers = vec![];
    for time in 0..times {
        let is_backwards = time % 2 == 1;
        let mut ran = subject.ask(if is_backwards { &backwards } else { questions }).await?;
        if is_backwards {
            ran.reverse();
        }
        answers.push(ran);
    }
    Ok(answers)
}

/// The first question that was answered differently. Fuel is compared where no instance is shared: elsewhere it is an even
/// part of what a call took.
fn difference(first: &[Ran], again: &[Ran], isolation: Isolation) -> Option<String> {
    let place =
        |differs: &dyn Fn(&Ran, &Ran) -> bool| first.iter().zip(again).position(|(first, again)| differs(first, again));
    if let Some(place) = place(&|first, again| first.got != again.got) {
        let Difference { place: part, expected, got } =
            differences(&first[place].got, &again[place].got, 0.0).remove(0);
        let part = if part.is_empty() { "the answer".to_owned() } else { format!("`{part}`") };
        let isolation = format!("{isolation:?}").to_lowercase();
        return Some(format!(
            "under isolation `{isolation}`, {part} of question {} was {expected}, and then {got}",
            place + 1
        ));
    }
    let differs = |first: &Ran, again: &Ran| isolation == Isolation::Sample && first.fuel() != again.fuel();
    let place = place(&differs)?;
    let (first, again) = (first[place].fuel(), again[place].fuel());
    Some(format!("question {} took {first} fuel, then {again}", place + 1))
}

fn remedy(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::Sample => {
            "equal input must give equal results: look for a clock, randomness or addresses in the answer"
        }
        Isolation::Batch | Isolation::Worker => {
            "the plugin keeps something from one sample to the next (a static, a cache, a counter): an answer that others \
             can change can be forged"
        }
    }
}
