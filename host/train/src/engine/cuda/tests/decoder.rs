//! Sampling in the emulator against the trainer on the processor: the log-probability of every drawn token, for prompts copied
//! to several slots, rows that are fed several tokens at once, and recorded steps.

use super::passes::{configs, rounded, stirred};
use crate::batch::Datum;
use crate::engine::cuda::decode::{Decoder, Draw, Drawn, Fed, Size};
use crate::engine::cuda::emulator::Emulated;
use crate::engine::cuda::numbers::Numbers;
use crate::gradient::log_probs;
use crate::model::{Lora, Policy};

#[test]
fn what_is_drawn_has_the_trainers_log_probabilities() {
    for config in configs() {
        check(rounded(Policy::random(config, 3).unwrap()));
    }
    let lora = Lora { rank: 8, alpha: 16.0, train_attn: true, train_mlp: true, train_unembed: true };
    let base = rounded(Policy::random(configs().remove(0), 3).unwrap());
    check(rounded(stirred(base.with_new_adapter(&lora, "base", 4).unwrap())));
}

struct Sample {
    slot: usize,
    tokens: Vec<u32>,
    /// Of the tokens that were drawn, by place.
    drawn: Vec<(usize, f32)>,
}

#[track_caller]
fn check(policy: Policy) {
    let Some(machine) = Emulated::machine() else { return };
    let weights = Numbers::new(&machine, policy.spec(), policy.numbers()).unwrap();
    let size = Size { slots: 4, max_length: 24, rows: 5 };
    let mut decoder = Decoder::new(&machine, policy.spec(), &weights, size).unwrap();
    let draw = |sample: usize, step: usize| Draw {
        temperature: if sample == 0 { 0.0 } else { 1.0 },
        top_k: 0,
        top_p: if sample == 1 { 0.8 } else { 1.0 },
        uniform: ((sample * 37 + step * 61) % 100) as f64 / 100.0,
    };
    let prompt = [5, 17, 9, 30, 2, 8, 41];
    decoder.prefill(0, &prompt).unwrap();
    decoder.copy(0, &[1, 2, 3], prompt.len()).unwrap();
    let first = decoder.begin(&[0, 1, 2].map(|sample| draw(sample, 0))).unwrap();
    let mut samples: Vec<Sample> =
        (1..=3).map(|slot| Sample { slot, tokens: prompt.to_vec(), drawn: vec![] }).collect();
    samples.iter_mut().zip(first).for_each(|(sample, drawn)| sample.push(drawn));

    for step in 1..8 {
        // One of them is made to say two tokens, after which it is fed three.
        let forced: &[u32] = if step == 4 { &[11, 12] } else { &[] };
        let mut rows = vec![];
        for (number, sample) in samples.iter_mut().enumerate() {
            let fresh = if number == 2 { forced } else { &[] };
            let start = sample.tokens.len() - 1;
            sample.tokens.extend(fresh);
            rows.extend((start..sample.tokens.len()).map(|position| Fed {
                token: sample.tokens[position],
                slot: sample.slot,
                position,
                draw: draw(number, step),
            }));
        }
        let drawn = decoder.step(&rows).unwrap();
        assert_eq!(drawn.len(), rows.len());
        for sample in &mut samples {
            let last = rows.iter().rposition(|row| row.slot == sample.slot).unwrap();
            sample.push(drawn[last]);
        }
    }

    let datum = |sample: &Sample| Datum { tokens: sample.tokens.clone(), trained: vec![true; sample.tokens.len()] };
    let data: Vec<Datum> = samples.iter().map(datum).collect();
    let wanted = log_probs(&policy, &data, 0).unwrap();
    for (sample, wanted) in samples.iter().zip(wanted) {
        for &(place, log_prob) in &sample.drawn {
            let off = (log_prob - wanted[place - 1]).abs();
            // Two layers of bf16 move logits of about 1 by some 2^-8 each.
            assert!(off < 0.03, "slot {}, token {place}: {log_prob}, not {}", sample.slot, wanted[place - 1]);
        }
    }
}

impl Sample {
    fn push(&mut self, drawn: Drawn) {
        self.drawn.push((self.tokens.len(), drawn.log_prob));
        self.tokens.push(drawn.token);
    }
}
