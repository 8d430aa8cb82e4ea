//! AdamW (Loshchilov and Hutter 2019) with clipping by global norm, moments in f32.

use candle_core::{Device, Tensor};
use std::collections::HashMap;
use std::path::Path;

use crate::config::AdamConfig;
use crate::error::{Error, Result};
use crate::gradient::Gradients;
use crate::model::Policy;

/// The state of AdamW: two f32 moments per parameter.
pub struct Optimizer {
    config: AdamConfig,
    moments: Vec<Moments>,
    steps: u64,
}

struct Moments {
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Optimizer {
    /// Zero moments for the parameters of `policy`.
    pub fn new(policy: &Policy, config: &AdamConfig) -> Self {
        let zeros = |count: usize| Moments { first: vec![0.0; count], second: vec![0.0; count] };
        let moments = policy.trainable().iter().map(|(_, var)| zeros(var.elem_count())).collect();
        Self { config: config.clone(), moments, steps: 0 }
    }

    /// One update. Returns the gradient's norm before clipping; a gradient that is not finite changes nothing and is an
    /// error.
    pub fn step(&mut self, policy: &mut Policy, gradients: &Gradients, learning_rate: f64) -> Result<f64> {
        let norm = gradients.norm();
        if !norm.is_finite() {
            return Err(Error::Diverged(format!(
                "the gradient's norm is {norm}: lower the learning rate and `--resume` from the last checkpoint"
            )));
        }
        let max = self.config.max_grad_norm;
        let clip = if max > 0.0 && norm > max { (max / norm) as f32 } else { 1.0 };
        self.steps += 1;
        for (((_, var), gradient), moments) in policy.trainable().iter().zip(gradients.iter()).zip(&mut self.moments) {
            let mut values: Vec<f32> = var.flatten_all()?.to_vec1()?;
            // Norm weights are one-dimensional; decaying them towards zero would switch features off.
            let decays = var.dims().len() > 1;
            let step = Step { config: &self.config, number: self.steps, learning_rate, clip, decays };
            step.apply(&mut values, gradient, moments);
            var.set(&Tensor::from_vec(values, var.shape(), var.device())?)?;
        }
        Ok(norm)
    }

    /// Writes the moments as safetensors.
    pub fn write(&self, policy: &Policy, file: &Path) -> Result<()> {
        let mut tensors = HashMap::from([("steps".to_owned(), Tensor::new(&[self.steps as i64], &Device::Cpu)?)]);
        for ((name, var), moments) in policy.trainable().iter().zip(&self.moments) {
            tensors.insert(format!("first.{name}"), Tensor::from_slice(&moments.first, var.shape(), &Device::Cpu)?);
            tensors.insert(format!("second.{name}"), Tensor::from_slice(&moments.second, var.shape(), &Device::Cpu)?);
        }
        candle_core::safetensors::save(&tensors, file).map_err(|e| Error::model(file, e.to_string()))
    }

    /// Reads what [`Optimizer::write`] wrote for the same parameters.
    pub fn read(policy: &Policy, config: &AdamConfig, file: &Path) -> Result<Self> {
        let tensors =
            candle_core::safetensors::load(file, &Device::Cpu).map_err(|e| Error::model(file, e.to_string()))?;
        let find = |name: String| {
            tensors
                .get(&name)
                .ok_or_else(|| Error::model(file, format!("tensor {name} is missing; not this optimizer's state")))
        };
        let moment = |kind: &str, name: &str, count: usize| -> Result<Vec<f32>> {
            let values: Vec<f32> = find(format!("{kind}.{name}"))?.flatten_all()?.to_vec1()?;
            match values.len() == count {
                true => Ok(values),
                false => {
                    Err(Error::model(file, format!("tensor {kind}.{name} has {} values, not {count}", values.len())))
                }
            }
        };
        let steps = find("steps".into())?.to_vec1::<i64>()?.first().copied().unwrap_or(0) as u64;
        let moments = policy.trainable().iter().map(|(name, var)| {
            let count = var.elem_count();
            Ok(Moments { first: moment("first", name, count)?, second: moment("second", name, count)? })
        });
        Ok(Self { config: config.clone(), moments: moments.collect::<Result<_>>()?, steps })
    }
}

/// One AdamW step of one parameter.
struct Step<'a> {
    config: &'a AdamConfig,
    /// From 1.
    number: u64,
    learning_rate: f64,
    /// Factor on the gradient.
    clip: f32,
    decays: bool,
}

impl Step<'_> {
    fn apply(&self, values: &mut [f32], gradient: &[f32], moments: &mut Moments) {
        let AdamConfig { beta1, beta2, eps, weight_decay, .. } = *self.config;
        let correction = |beta: f64| (1.0 - beta.powf(self.number as f64)) as f32;
        let (correction1, correction2) = (correction(beta1), correction(beta2));
        let (beta1, beta2, eps, rate) = (beta1 as f32, beta2 as f32, eps as f32, self.learning_rate as f32);
        let kept = if self.decays { 1.0 - rate * weight_decay as f32 } else { 1.0 };
        let moments = moments.first.iter_mut().zip(&mut moments.second);
        for ((value, gradient), (first, second)) in values.iter_mut().zip(gradient).zip(moments) {
            let gradient = gradient * self.clip;
            *first = beta1 * *first + (1.0 - beta1) * gradient;
            *second = beta2 * *second + (1.0 - beta2) * gradient * gradient;
            *value = *value * kept - rate * (*first / correction1) / ((*second / correction2).sqrt() + eps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three steps against torch.optim.AdamW(lr=0.1, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1) of PyTorch 2.15.
    #[test]
    fn steps_equal_pytorch() {
        let config = AdamConfig { weight_decay: 0.1, ..AdamConfig::default() };
        let mut values = [1.0, -2.0, 0.5];
        let mut moments = Moments { first: vec![0.0; 3], second: vec![0.0; 3] };
        let expected = [
            ([0.5, -1.0, 0.0], [0.89, -1.88, 0.495]),
            ([0.1, 2.0, -0.3], [0.799_847_2, -1.897_537_4, 0.563546]),
            ([-0.4, 0.2, 0.7], [0.782_429_8, -1.912_617_4, 0.522585]),
        ];
        for (number, (gradient, want)) in (1..).zip(expected) {
            let step = Step { config: &config, number, learning_rate: 0.1, clip: 1.0, decays: true };
            step.apply(&mut values, &gradient, &mut moments);
            assert!(values.iter().zip(want).all(|(got, want): (&f32, f32)| (got - want).abs() < 1e-6), "{values:?}");
        }
    }
}
