//! Values of TRL's arguments that need more than a word or a number each.

use serde_json::Value;

use super::super::source::{Source, word};
use super::super::table::{Outcome, float, number, quotient};

/// Newer transformers take a share of all steps here too.
pub(super) fn warmup(_: &Source, value: &Value) -> Outcome {
    match number(value)? {
        steps if steps.fract() == 0.0 && steps >= 0.0 => Ok(Some(toml::Value::Integer(steps as i64))),
        _ => Err("value not supported; a share of all steps is warmup_ratio here".to_owned()),
    }
}

/// Steps, where they are set, are TRL's whole measure.
pub(super) fn epochs(source: &Source, value: &Value) -> Outcome {
    match number(value)? {
        _ if source.number("max_steps").is_some_and(|steps| steps > 0.0) => Ok(None),
        epochs if epochs.fract() == 0.0 && epochs >= 1.0 => Ok(Some(toml::Value::Integer(epochs as i64))),
        _ => Err("value not supported; it must be a whole number".to_owned()),
    }
}

pub(super) fn adam(_: &Source, value: &Value) -> Outcome {
    match word(value).starts_with("adamw") {
        true => Ok(None),
        false => Err("the optimizer is AdamW".to_owned()),
    }
}

/// Rows, or answers, that one device learns from in an update.
fn update(source: &Source) -> f64 {
    source.number("per_device_train_batch_size").unwrap_or(8.0)
        * source.number("gradient_accumulation_steps").unwrap_or(1.0)
}

pub(super) fn batch(source: &Source, _: &Value) -> Outcome {
    quotient(update(source), 1.0, "the batch")
}

pub(super) fn both(_: &Source, value: &Value) -> Outcome {
    quotient(2.0 * number(value)?, 1.0, "the batch")
}

/// Answers that are sampled before TRL learns from them.
fn sampled(source: &Source) -> f64 {
    let steps = source.number("steps_per_generation");
    let device = source.number("per_device_train_batch_size").unwrap_or(8.0);
    let together = steps.map_or_else(|| update(source), |steps| device * steps);
    source.number("generation_batch_size").unwrap_or(together)
}

pub(super) fn groups(source: &Source, _: &Value) -> Outcome {
    quotient(sampled(source), source.number("num_generations").unwrap_or(8.0), "the number of groups in a batch")
}

pub(super) fn substeps(source: &Source, _: &Value) -> Outcome {
    quotient(sampled(source), update(source), "the number of updates")
}

/// The largest ratio. Of CISPO it is the bound itself, of all others its distance from 1.
pub(super) fn high(source: &Source, value: &Value) -> Outcome {
    let is_bound = source.get("loss_type").is_some_and(is_cispo);
    number(value).map(|n| Some(float(if is_bound { n } else { 1.0 + n })))
}

/// CISPO without `epsilon_high` takes `epsilon` for it, a bound far below 1.
pub(super) fn high_of_cispo(source: &Source, value: &Value) -> Outcome {
    Ok(is_cispo(value).then(|| float(source.number("epsilon").unwrap_or(0.2))))
}

pub(super) fn no_least(_: &Source, value: &Value) -> Outcome {
    Ok(is_cispo(value).then(|| float(0.0)))
}

fn is_cispo(loss: &Value) -> bool {
    word(loss) == "cispo"
}

pub(super) fn attn(_: &Source, value: &Value) -> Outcome {
    place(value, &["q_proj", "k_proj", "v_proj", "o_proj"], true)
}

pub(super) fn mlp(_: &Source, value: &Value) -> Outcome {
    place(value, &["gate_proj", "up_proj", "down_proj"], true)
}

pub(super) fn unembed(_: &Source, value: &Value) -> Outcome {
    place(value, &["lm_head"], false)
}

/// Whether all these matrices get adapters; `all-linear` means those `inside` of the layers.
fn place(value: &Value, matrices: &[&str], inside: bool) -> Outcome {
    let one = std::slice::from_ref(value);
    let named: Vec<String> = value.as_array().map_or(one, |names| names).iter().map(word).collect();
    let count = matrices.iter().filter(|matrix| named.iter().any(|name| name == *matrix)).count();
    let all = (named == ["all-linear"] && inside) || count == matrices.len();
    match all || count == 0 {
        true => Ok(Some(toml::Value::Boolean(all))),
        false => Err(format!("value not supported; adapters are on all of {} or on none", matrices.join(", "))),
    }
}
