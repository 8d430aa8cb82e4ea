//! A reward that asks: `sample.extra` says whom, `sample.ground_truth` what. The answer is the score, or stands in the
//! note; a service's refusal becomes this plugin's own fault, word for word.

use rewarden_sdk::{Fault, Sample, Score, ToolCall, model, reward, tools};

/// None.
#[derive(serde::Deserialize)]
pub struct Settings {}

/// Asks, and says what it was told.
pub fn ask(sample: &Sample, _: &Settings) -> Result<Score, Fault> {
    let asked = std::slice::from_ref(&sample.completion);
    match sample.extra.as_str() {
        "score" => Ok(Score::of(model::score("judge", asked)?[0])),
        "score-twice" => Ok(Score::of(model::score("judge", &[asked, asked].concat())?[0])),
        "score-often" => {
            let mut sum = 0.0;
            for _ in 0..200 {
                sum += model::score("judge", asked)?[0];
            }
            Ok(Score::of(sum))
        }
        "generate" => Ok(Score::of(1.0).note(&model::generate("judge", asked, 7)?[0])),
        "stranger" => Ok(Score::of(model::score("stranger", asked)?[0])),
        function => {
            let call = ToolCall { id: "1".into(), name: function.into(), arguments: sample.ground_truth.clone() };
            Ok(Score::of(1.0).note(tools::call(&call)?))
        }
    }
}

reward!(ask, Settings);
