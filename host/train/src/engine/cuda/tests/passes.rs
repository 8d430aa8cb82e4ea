//! Whole passes in the emulator against the engine on the processor, which tests compare with PyTorch: what is said, and every
//! gradient, of each family, with adapters, with every head.

use std::cell::RefCell;

use half::bf16;

use crate::batch::{Datum, MicroBatch};
use crate::config::AdamConfig;
use crate::engine::cuda::batch::OnDevice;
use crate::engine::cuda::emulator::Emulated;
use crate::engine::cuda::machine::{Memory, read};
use crate::engine::cuda::numbers::Numbers;
use crate::engine::cuda::pass::{Pass, Room};
use crate::engine::{Said, Workspace};
use crate::gradient::{gradients, log_probs};
use crate::loss::nll;
use crate::model::{Family, Head, Lora, ModelConfig, Policy, Sum};
use crate::objective::Objective;
use crate::optim::Optimizer;
use crate::sampler::{Next, Request, Sampler, Sampling};

/// Every family, tied and untied, heads of both widths.
pub(super) fn configs() -> Vec<ModelConfig> {
    let tiny = ModelConfig {
        hidden_size: 64,
        intermediate_size: 96,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 64,
        initializer_range: 0.1,
        ..ModelConfig::tiny(43, 2)
    };
    vec![
        tiny.clone(),
        ModelConfig { model_type: Family::Qwen2, tie_word_embeddings: false, ..tiny.clone() },
        ModelConfig {
            model_type: Family::Llama,
            head_dim: 128,
            num_attention_heads: 2,
            num_key_value_heads: 1,
            ..tiny
        },
    ]
}

fn data() -> Vec<Datum> {
    let datum = |length: usize, seed: usize| Datum {
        tokens: (0..length).map(|at| ((at * 31 + seed * 17 + at * at) % 43) as u32).collect(),
        trained: (0..length).map(|at| !(at + seed).is_multiple_of(3)).collect(),
    };
    let again = |length: usize| {
        // Three that begin with the same 20 tokens, the last of which is asked.
        let Datum { mut tokens, .. } = datum(20, 5);
        tokens.extend(datum(length, length).tokens);
        Datum { trained: (0..tokens.len()).map(|at| at >= 20).collect(), tokens }
    };
    vec![datum(9, 0), datum(2, 1), datum(70, 2), datum(17, 4), again(3), again(60), again(8)]
}

#[test]
fn passes_equal_those_on_the_processor() {
    for config in configs() {
        check(rounded(Policy::random(config, 3).unwrap()), true);
    }
}

#[test]
fn passes_of_adapters_and_reward_models_equal_those_on_the_processor() {
    let base = || rounded(Policy::random(configs().remove(0), 3).unwrap());
    let lora = Lora { rank: 8, alpha: 16.0, train_attn: true, train_mlp: true, train_unembed: true };
    check(rounded(stirred(base().with_new_adapter(&lora, "base", 4).unwrap())), false);
    for head in [Head::Score, Head::Steps] {
        check(rounded(stirred(base().with_head(head))), false);
    }
}

/// The same with what is trained rounded to bf16: what is compared then is how it is computed.
pub(super) fn rounded(mut policy: Policy) -> Policy {
    let values = policy.trainable_mut().values_mut();
    values.iter_mut().for_each(|value| *value = bf16::from_f32(*value).to_f32());
    policy
}

/// The same with numbers where new adapters and heads have zeros.
pub(super) fn stirred(mut policy: Policy) -> Policy {
    let values = policy.trainable_mut().values_mut();
    values.iter_mut().enumerate().for_each(|(at, value)| *value += ((at * 7919 % 101) as f32 - 50.0) / 1000.0);
    policy
}

/// Compares with the same policy on the processor, in f32. What is left is the rounding of activations, some of which is in
/// every number, so that whole vectors are compared.
#[track_caller]
fn check(policy: Policy, entropies: bool) {
    let Some(machine) = Emulated::machine() else { return };
    let data = data();
    let batch = MicroBatch::new(&data, &[0, 1, 2, 3, 4, 5, 6], policy.config().head());
    let slopes = |said: &Said| Said {
        values: (0..said.values.len()).map(|at| ((at * 37 % 11) as f32 - 5.0) / 20.0).collect(),
        entropies: (0..said.entropies.len()).map(|at| ((at * 53 % 7) as f32 - 3.0) / 30.0).collect(),
    };
    let mut wanted = policy.sum().unwrap();
    let want = policy.learn(&batch, entropies, slopes, &mut wanted).unwrap();
    let Sum::Cpu(wanted) = wanted else { unreachable!("the policy is on the processor") };

    let weights = Numbers::new(&machine, policy.spec(), policy.numbers()).unwrap();
    for recompute in [false, true] {
        let (mut on_device, room) = (OnDevice::default(), RefCell::new(Room::default()));
        on_device.fill(&machine, policy.spec(), &batch, true).unwrap();
        let pass = Pass::new(&machine, policy.spec(), &weights, (&batch, &on_device), &room);
        let mut workspace = Workspace::<Memory>::default();
        let mut gradient = Memory::of(&machine, &vec![0.0_f32; wanted.len()]).unwrap();
        let said = workspace.forward(policy.spec(), &pass, entropies, recompute).unwrap();
        workspace.backward(policy.spec(), &pass, &slopes(&said), &mut gradient).unwrap();
        let got = read::<f32>(machine.as_ref(), gradient.ptr(), wanted.len()).unwrap();

        let name = format!("{:?} {:?}", policy.config().model_type, policy.config().head());
        let off = distance(&said.values, &want.values);
        // A score is a sum of few numbers, much of which cancels.
        assert!(off < 0.02, "{name}: what is said is {off} off");
        assert_eq!(said.entropies.len(), want.entropies.len());
        assert!(!entropies || distance(&said.entropies, &want.entropies) < 0.01, "{name}: entropies");
        let mut start = 0;
        for parameter in policy.trainable().iter() {
            let range = start..start + parameter.values.len();
            start = range.end;
            let off = distance(&got[range.clone()], &wanted[range]);
            assert!(off < 0.03, "{name}: the gradient of {} is {off} off", parameter.name);
        }
    }
}

/// Relative L2 distance.
fn distance(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let square = |value: f32| f64::from(value).powi(2);
    let difference: f64 = got.iter().zip(want).map(|(g, w)| square(g - w)).sum();
    let size: f64 = want.iter().map(|&w| square(w)).sum();
    if size == 0.0 { difference.sqrt() } else { (difference / size).sqrt() }
}

/// Steps of AdamW and a whole stage of sampling, through the types that a run uses.
#[test]
fn a_policy_on_the_device_learns_and_samples_as_one_on_the_processor() {
    let Some(machine) = Emulated::machine() else { return };
    let policy = || rounded(Policy::random(configs().remove(0), 3).unwrap());
    let (mut here, mut there) = (policy(), policy().on(machine).unwrap());
    let data = data();
    let loss = nll(&data);
    let config = AdamConfig { weight_decay: 0.1, ..AdamConfig::default() };
    let mut optimizers = [&here, &there].map(|policy| Optimizer::new(policy, &config).unwrap());
    for _ in 0..3 {
        let [mine, theirs] = [&here, &there].map(|policy| gradients(policy, &data, 2, Objective::each(&loss)).unwrap());
        assert!((mine.loss - theirs.loss).abs() < 0.01, "{} and {}", mine.loss, theirs.loss);
        let norms = [optimizers[0].step(&mut here, &mine, 1e-3), optimizers[1].step(&mut there, &theirs, 1e-3)]
            .map(Result::unwrap);
        assert!((norms[0] / norms[1] - 1.0).abs() < 0.01, "{norms:?}");
    }

    // What is written is what was learnt there; the optimizer's state outlives a stop.
    let folder = tempfile::tempdir().unwrap();
    there.write(folder.path()).unwrap();
    optimizers[1].write(&there, &folder.path().join("optimizer")).unwrap();
    let read = Policy::read(folder.path()).unwrap();
    assert!(distance(read.trainable().values(), here.trainable().values()) < 0.01);
    assert_ne!(read.trainable().values(), there.trainable().values());
    let again = Optimizer::read(&there, &config, &folder.path().join("optimizer")).unwrap();
    again.write(&there, &folder.path().join("again")).unwrap();
    let bytes = ["optimizer", "again"].map(|name| std::fs::read(folder.path().join(name)).unwrap());
    assert_eq!(bytes[0].len(), bytes[1].len());

    let request =
        |seed: u64, prompt: &[u32]| Request { prompt: prompt.to_vec(), seeds: vec![seed, seed + 1, seed + 2] };
    let requests = [request(1, &[3, 1, 4]), request(9, &[1, 5, 9, 2, 6])];
    let sampling = Sampling { max_tokens: 6, temperature: 1.0, top_k: 0, top_p: 1.0 };
    let guide = |tokens: &[u32]| match tokens {
        [_, _] => Next::Force(vec![7, 8]),
        [.., last] if last % 5 == 0 => Next::Stop,
        _ => Next::Draw,
    };
    let samples = Sampler::new(&there).sample(&requests, &sampling, &guide, |_| ()).unwrap();
    assert_eq!(samples.len(), 6);
    for (at, sampled) in samples.iter().enumerate() {
        let prompt = &requests[at / 3].prompt;
        let tokens = [prompt, &sampled.tokens[..]].concat();
        let trained = (0..tokens.len()).map(|place| place >= prompt.len()).collect();
        let wanted = log_probs(&there, &[Datum { tokens, trained }], 0).unwrap().concat();
        for (place, (log_prob, wanted)) in sampled.log_probs.iter().zip(&wanted).enumerate() {
            let off = (log_prob - wanted).abs();
            assert!(!sampled.mask[place] || off < 0.03, "sample {at}, token {place}: {log_prob}, not {wanted}");
        }
        assert!(sampled.tokens.len() < 3 || sampled.tokens[2..4].iter().eq(&[7, 8]), "{:?}", sampled.tokens);
    }
}
