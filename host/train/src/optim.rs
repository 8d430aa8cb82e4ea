//! AdamW (Loshchilov and Hutter 2019) with clipping by global norm, moments in f32.

use candle_core::{Device, Tensor};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use crate::config::AdamConfig;
use crate::engine::cpu::{AdamStep, adam, gradient_norm};
use crate::engine::cuda;
use crate::error::{Error, Result};
use crate::gradient::Gradients;
use crate::model::files::check_finite;
use crate::model::{Parameter, Policy, Sum};

/// The state of AdamW: two f32 moments per parameter, flat as the weights are, and where the policy is.
pub struct Optimizer {
    config: AdamConfig,
    moments: Moments,
    steps: u64,
}

enum Moments {
    Cpu { first: Vec<f32>, second: Vec<f32> },
    Gpu(cuda::Moments),
}

impl Optimizer {
    /// Zero moments for the parameters of `policy`.
    pub fn new(policy: &Policy, config: &AdamConfig) -> Result<Self> {
        let zeros = || vec![0.0; policy.trainable().count()];
        let moments = match policy.resident() {
            Some(resident) => Moments::Gpu(resident.moments()?),
            None => Moments::Cpu { first: zeros(), second: zeros() },
        };
        Ok(Self { config: config.clone(), moments, steps: 0 })
    }

    /// One update. Returns the gradient's norm before clipping; a gradient that is not finite changes nothing and is an
    /// error.
    pub fn step(&mut self, policy: &mut Policy, gradients: &Gradients, learning_rate: f64) -> Result<f64> {
        // Norm weights are one-dimensional; decaying them towards zero would switch features off.
        let parts: Vec<(usize, bool)> =
            policy.trainable().iter().map(|parameter| (parameter.values.len(), parameter.shape.len() > 1)).collect();
        let (config, number, max) = (&self.config, self.steps + 1, self.config.max_grad_norm);
        let constants = |clip: f32, decays: bool| constants(config, number, learning_rate, clip, decays);
        let norm = match (&mut self.moments, gradients.sum(), policy.resident()) {
            (Moments::Gpu(moments), Sum::Gpu(gradient), Some(resident)) => {
                resident.step(moments, gradient, &parts, |decays| constants(1.0, decays), max as f32)?
            }
            (Moments::Cpu { first, second }, Sum::Cpu(gradient), None) => {
                let norm = gradient_norm(gradient);
                if norm.is_finite() {
                    let clip = if max > 0.0 && norm > max { (max / norm) as f32 } else { 1.0 };
                    let (mut start, weights) = (0, policy.trainable_mut().values_mut());
                    for (count, decays) in parts {
                        let at = start..start + count;
                        let (first, second) = (&mut first[at.clone()], &mut second[at.clone()]);
                        adam(&mut weights[at.clone()], &gradient[at], first, second, constants(clip, decays));
                        start += count;
                    }
                }
                norm
            }
            _ => unreachable!("an optimizer or a gradient of another policy"),
        };
        if !norm.is_finite() {
            return Err(Error::Diverged(format!(
                "the gradient's norm is {norm}: lower the learning rate and `--resume` from the last checkpoint"
            )));
        }
        self.steps += 1;
        Ok(norm)
    }

    /// Writes the moments as safetensors.
    pub fn write(&self, policy: &Policy, file: &Path) -> Result<()> {
        let mut tensors = HashMap::from([("steps".to_owned(), Tensor::new(&[self.steps as i64], &Device::Cpu)?)]);
        let [first, second] = match &self.moments {
            Moments::Cpu { first, second } => [first, second].map(Cow::Borrowed),
            Moments::Gpu(moments) => moments.read()?.map(Cow::Owned),
        };
        let mut start = 0;
        for Parameter { name, shape, values } in policy.trainable().iter() {
            let at = start..start + values.len();
            for (kind, moments) in [("first", &first), ("second", &second)] {
                let tensor = Tensor::from_slice(&moments[at.clone()], shape, &Device::Cpu)?;
                tensors.insert(format!("{kind}.{name}"), tensor);
            }
            start = at.end;
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
            check_finite(file, &format!("{kind}.{name}"), &values)?;
            match values.len() == count {
                true => Ok(values),
                false => {
                    Err(Error::model(file, format!("tensor {kind}.{name} has {} values, not {count}", values.len())))
                }
            }
        };
        let all = |kind: &str| {
            let parameters = policy.trainable().iter();
            let moments = parameters.map(|parameter| moment(kind, parameter.name, parameter.values.len()));
            moments.collect::<Result<Vec<_>>>().map(|moments| moments.concat())
        };
        let steps = find("steps".into())?.to_vec1::<i64>()?.first().copied().unwrap_or(0) as u64;
        let (first, second) = (all("first")?, all("second")?);
        let moments = match policy.resident() {
            Some(resident) => {
                let mut moments = resident.moments()?;
                moments.write([&first, &second])?;
                Moments::Gpu(moments)
            }
            None => Moments::Cpu { first, second },
        };
        Ok(Self { config: config.clone(), moments, steps })
    }
}

/// The constants of step `number`, from 1.
fn constants(config: &AdamConfig, number: u64, learning_rate: f64, clip: f32, decays: bool) -> AdamStep {
    let AdamConfig { beta1, beta2, eps, weight_decay, .. } = *config;
    let correction = |beta: f64| (1.0 - beta.powf(number as f64)) as f32;
    let rate = learning_rate as f32;
    AdamStep {
        beta1: beta1 as f32,
        beta2: beta2 as f32,
        eps: eps as f32,
        rate,
        kept: if decays { 1.0 - rate * weight_decay as f32 } else { 1.0 },
        corrections: [correction(beta1), correction(beta2)],
        clip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelConfig;

    #[test]
    fn moments_that_are_no_numbers_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("optimizer.safetensors");
        let policy = Policy::random(ModelConfig::tiny(8, 0), 1).unwrap();
        let mut optimizer = Optimizer::new(&policy, &AdamConfig::default()).unwrap();
        if let Moments::Cpu { second, .. } = &mut optimizer.moments {
            second[8 * 64] = f32::NAN; // the first number after the embedding
        }
        optimizer.write(&policy, &file).unwrap();
        let error = Optimizer::read(&policy, &AdamConfig::default(), &file).err().unwrap().to_string();
        let expected = "optimizer.safetensors: tensor second.model.layers.0.input_layernorm.weight holds NaN at 0";
        assert!(error.contains(expected), "{error}");
    }

    /// Three steps against torch.optim.AdamW(lr=0.1, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1) of PyTorch 2.15.
    #[test]
    fn steps_equal_pytorch() {
        let config = AdamConfig { weight_decay: 0.1, ..AdamConfig::default() };
        let mut values = [1.0, -2.0, 0.5];
        let (mut first, mut second) = ([0.0; 3], [0.0; 3]);
        let expected = [
            ([0.5, -1.0, 0.0], [0.89, -1.88, 0.495]),
            ([0.1, 2.0, -0.3], [0.799_847_2, -1.897_537_4, 0.563546]),
            ([-0.4, 0.2, 0.7], [0.782_429_8, -1.912_617_4, 0.522585]),
        ];
        for (number, (gradient, want)) in (1..).zip(expected) {
            let step = constants(&config, number, 0.1, 1.0, true);
            adam(&mut values, &gradient, &mut first, &mut second, step);
            assert!(values.iter().zip(want).all(|(got, want): (&f32, f32)| (got - want).abs() < 1e-6), "{values:?}");
        }
    }
}
