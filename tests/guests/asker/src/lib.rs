//! A reward that asks: `sample.extra` says whom, `sample.ground_truth` what. The answer is the score, or stands in the
//! note; a service's refusal becomes this plugin's own fault, word for word.

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, reason = "generated from wit/")]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package rewarden:asker;
            world asker {
                include rewarden:plugin/model-reward-plugin@0.1.0;
                import rewarden:plugin/host-tools@0.1.0;
            }
        ",
        path: "../../../wit",
        generate_all,
    });
}

use bindings::exports::rewarden::plugin::plugin::{self, Manifest};
use bindings::exports::rewarden::plugin::reward::{self, Sample, Score};
use bindings::rewarden::plugin::types::{Fault, ToolCall};
use bindings::rewarden::plugin::{host_model, host_tools};

/// The plugin.
pub struct Asker;

impl plugin::Guest for Asker {
    fn describe() -> Manifest {
        Manifest {
            name: "asker".into(),
            version: "0.0.0".into(),
            summary: "Asks the host's models and tools".into(),
            settings_schema: String::new(),
        }
    }

    fn configure(_settings: String, _seed: u32) -> Result<(), Fault> {
        Ok(())
    }
}

impl reward::Guest for Asker {
    fn score_batch(samples: Vec<Sample>) -> Vec<Result<Score, Fault>> {
        samples.into_iter().map(ask).collect()
    }
}

fn ask(sample: Sample) -> Result<Score, Fault> {
    match sample.extra.as_str() {
        "score" => Ok(score(host_model::score("judge", &[sample.completion])?[0], "")),
        "score-often" => {
            let mut sum = 0.0;
            for _ in 0..200 {
                sum += host_model::score("judge", std::slice::from_ref(&sample.completion))?[0];
            }
            Ok(score(sum, ""))
        }
        "generate" => Ok(score(1.0, &host_model::generate("judge", &[sample.completion], 7)?[0])),
        "stranger" => Ok(score(host_model::score("stranger", &[sample.completion])?[0], "")),
        function => {
            let call = ToolCall { id: "1".into(), name: function.into(), arguments: sample.ground_truth };
            Ok(score(1.0, &host_tools::call(&call)?))
        }
    }
}

fn score(value: f64, note: &str) -> Score {
    Score { value: Some(value), steps: vec![], components: vec![], metrics: vec![], note: note.into() }
}

#[cfg(target_family = "wasm")]
bindings::export!(Asker with_types_in bindings);
