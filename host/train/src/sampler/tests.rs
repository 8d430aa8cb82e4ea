use super::*;
use crate::batch::Datum;
use crate::gradient::log_probs;
use crate::model::Policy;

fn policy() -> Policy {
    Policy::read(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/qwen3-tied")).unwrap()
}

const PLAIN: Sampling = Sampling { max_tokens: 12, temperature: 1.0, top_k: 0, top_p: 1.0 };

fn requests() -> Vec<Request> {
    vec![
        Request { prompt: vec![5, 6, 7, 8, 9], seeds: vec![1, 2, 3] },
        Request { prompt: vec![11], seeds: vec![4] },
        Request { prompt: vec![3, 1, 4], seeds: vec![5, 6] },
    ]
}

fn sample(requests: &[Request], sampling: &Sampling, stop: u32) -> Vec<Sampled> {
    Sampler::new(&policy()).sample(requests, sampling, |token| token == stop, |_| ()).unwrap()
}

#[test]
fn log_probs_equal_the_trainers() {
    let requests = requests();
    let owners = requests.iter().flat_map(|request| request.seeds.iter().map(|_| request.prompt.clone()));
    let policy = policy();
    for (prompt, sampled) in owners.zip(sample(&requests, &PLAIN, 7)) {
        let tokens: Vec<u32> = prompt.iter().chain(&sampled.tokens).copied().collect();
        let trained = (0..tokens.len()).map(|at| at >= prompt.len()).collect();
        let trainer = log_probs(&policy, &[Datum { tokens, trained }], 0).unwrap().concat();
        let close = trainer.iter().zip(&sampled.log_probs).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(close && trainer.len() == sampled.log_probs.len(), "{trainer:?} {:?}", sampled.log_probs);
    }
}

#[test]
fn a_sample_depends_on_its_own_seed_only() {
    let together = sample(&requests(), &PLAIN, 7);
    let apart: Vec<Sampled> = requests()
        .iter()
        .flat_map(|request| {
            request.seeds.iter().map(|&seed| Request { prompt: request.prompt.clone(), seeds: vec![seed] })
        })
        .flat_map(|request| sample(&[request], &PLAIN, 7))
        .collect();
    for (a, b) in together.iter().zip(&apart) {
        assert_eq!((&a.tokens, a.stopped), (&b.tokens, b.stopped));
    }
}

#[test]
fn samples_end_at_the_stop_token_or_the_limit() {
    let sampled = sample(&requests(), &Sampling { max_tokens: 60, ..PLAIN }, 7);
    assert!(sampled.iter().any(|sample| sample.stopped), "{sampled:?}");
    for sample in &sampled {
        assert_eq!(sample.tokens.len(), sample.log_probs.len());
        let first_stop = sample.tokens.iter().position(|&token| token == 7);
        match sample.stopped {
            true => assert_eq!(first_stop, Some(sample.tokens.len() - 1)),
            false => assert_eq!((first_stop, sample.tokens.len()), (None, 60)),
        }
    }
}

#[test]
fn greedy_samples_of_one_prompt_are_equal() {
    let sampled = sample(&requests(), &Sampling { temperature: 0.0, ..PLAIN }, 99);
    assert_eq!(sampled[0].tokens, sampled[1].tokens);
    assert_eq!(sampled[0].tokens, sampled[2].tokens);
    assert_eq!(sampled[4].tokens, sampled[5].tokens);
}

#[test]
fn nothing_asked_nothing_sampled() {
    assert_eq!(sample(&[], &PLAIN, 7), vec![]);
    assert_eq!(sample(&[Request { prompt: vec![1], seeds: vec![] }], &PLAIN, 7), vec![]);
}
