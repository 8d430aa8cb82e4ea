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

fn stop_at(stop: u32) -> impl Fn(&[u32]) -> Next + Sync {
    move |tokens| if tokens.last() == Some(&stop) { Next::Stop } else { Next::Draw }
}

fn sample(requests: &[Request], sampling: &Sampling, stop: u32) -> Vec<Sampled> {
    Sampler::new(&policy()).sample(requests, sampling, &stop_at(stop), |_| ()).unwrap()
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

/// To the last bit, alone and among others, more of them than there are slots, and on any number of cores.
#[test]
fn a_sample_depends_on_its_own_seed_only() {
    let many = |count: u64| -> Vec<Request> {
        let prompts = requests().into_iter().cycle().take(9).enumerate();
        let request = |(number, Request { prompt, .. }): (usize, Request)| {
            let seeds = (0..count).map(|seed| seed + 100 * number as u64).collect();
            Request { prompt, seeds }
        };
        prompts.map(request).collect()
    };
    let requests = many(40);
    let policy = policy();
    let on = |cores| {
        let sampler = Sampler { cores, ..Sampler::new(&policy) };
        sampler.sample(&requests, &PLAIN, &stop_at(7), |_| ()).unwrap()
    };
    let together = on(2);
    assert!(together.len() > 2 * ROWS_AT_ONCE);
    assert!([1, 7, 500].into_iter().all(|cores| on(cores) == together));
    let apart = requests.iter().flat_map(|request| {
        let alone = |&seed| sample(&[Request { prompt: request.prompt.clone(), seeds: vec![seed] }], &PLAIN, 7);
        request.seeds.iter().step_by(7).flat_map(alone).collect::<Vec<_>>()
    });
    let chosen = together.chunks(40).flat_map(|request| request.iter().step_by(7));
    assert!(chosen.eq(apart.collect::<Vec<_>>().iter()));
}

/// What a tool answers stands in the sample, is seen by what follows, and is not trained on.
#[test]
fn forced_tokens_are_seen_and_masked() {
    let force = |tokens: &[u32]| if tokens.len() == 3 { Next::Force(vec![30, 31]) } else { Next::Draw };
    let request = [Request { prompt: vec![5, 6, 7], seeds: vec![1] }];
    let sampled = Sampler::new(&policy()).sample(&request, &PLAIN, &force, |_| ()).unwrap().remove(0);
    assert_eq!(sampled.tokens[3..5], [30, 31]);
    let mask: Vec<bool> = (0..12).map(|at| at != 3 && at != 4).collect();
    assert_eq!((sampled.mask.clone(), sampled.end), (mask.clone(), End::MaxTokens));
    assert_eq!(sampled.log_probs[3..5], [0.0, 0.0]);
    let tokens: Vec<u32> = [5, 6, 7].iter().chain(&sampled.tokens).copied().collect();
    let trained = [false; 3].into_iter().chain(mask.clone()).collect();
    let trainer = log_probs(&policy(), &[Datum { tokens, trained }], 0).unwrap().concat();
    let said = sampled.log_probs.iter().zip(mask).filter(|(_, said)| *said).map(|(p, _)| p);
    assert!(trainer.iter().zip(said).all(|(a, b)| (a - b).abs() < 1e-5));
}

#[test]
fn forced_tokens_end_at_the_limit_too() {
    let force = |_: &[u32]| Next::Force(vec![30; 5]);
    let request = [Request { prompt: vec![5], seeds: vec![1] }];
    let sampled = Sampler::new(&policy()).sample(&request, &PLAIN, &force, |_| ()).unwrap().remove(0);
    assert_eq!(
        sampled.mask.iter().map(|&said| u8::from(said)).collect::<Vec<_>>(),
        [1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    );
}

#[test]
fn a_guide_cancels_what_is_not_done() {
    let cancel = |tokens: &[u32]| match tokens.len() {
        2 if tokens[1].is_multiple_of(2) => Next::Stop,
        4 => Next::Cancel,
        _ => Next::Draw,
    };
    let requests = vec![Request { prompt: vec![5], seeds: (0..300).collect() }];
    let policy = policy();
    for cores in [1, 2, 7, 500] {
        let sampler = Sampler { cores, ..Sampler::new(&policy) };
        let sampled = sampler.sample(&requests, &PLAIN, &cancel, |_| ()).unwrap();
        assert_eq!(sampled.len(), 300);
        // With slots for all of them none waits in the queue.
        let queued = sampled.iter().any(|sample| sample.end == End::Cancelled && sample.tokens.is_empty());
        assert!(queued || cores * 300_usize.div_ceil(cores).min(ROWS_AT_ONCE) >= 300);
        assert!(sampled.iter().all(|sample| match sample.end {
            End::Stopped => sample.tokens.len() == 2 && sample.tokens[1].is_multiple_of(2),
            End::Cancelled => sample.tokens.len() <= 4,
            End::MaxTokens => false,
        }));
        assert!(sampled.iter().any(|sample| sample.end == End::Cancelled));
    }
}

/// A request is handed over when its last sample is done, while others go on.
#[test]
fn requests_are_handed_over_as_they_are_done() {
    let stop = |tokens: &[u32]| if tokens[0] < 20 && tokens.len() > 1 { Next::Stop } else { Next::Draw };
    let requests: Vec<Request> =
        (0..40).map(|number| Request { prompt: vec![number], seeds: vec![7, 8, number.into()] }).collect();
    let mut heard = vec![None; requests.len()];
    let mut tokens = 0;
    let all = Sampler::new(&policy()).sample(&requests, &PLAIN, &stop, |happened| match happened {
        Progress::Tokens(count) => tokens = count,
        Progress::Done { request, samples } => assert!(heard[request].replace(samples.to_vec()).is_none()),
    });
    let all = all.unwrap();
    assert_eq!(heard.into_iter().flatten().flatten().collect::<Vec<_>>(), all);
    assert_eq!(tokens, all.iter().map(|sample| sample.tokens.len()).sum::<usize>());
}

/// Several prompts of one length, in a model whose heads share keys and whose projections have biases.
#[test]
fn adapters_and_biases_are_sampled_with() {
    use crate::model::Lora;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let policies = [
        Policy::read(&folder.join("qwen2")).unwrap().with_adapter(&folder.join("lora-qwen2")).unwrap(),
        Policy::read(&folder.join("llama-tied")).unwrap(),
        Policy::read(&folder.join("qwen3-untied"))
            .unwrap()
            .with_new_adapter(
                &Lora { rank: 2, alpha: 4.0, train_attn: true, train_mlp: true, train_unembed: true },
                "",
                1,
            )
            .unwrap(),
    ];
    for policy in policies {
        for (request, sampled) in requests().iter().zip([0, 3, 4]).map(|(request, at)| {
            (request, Sampler::new(&policy).sample(&requests(), &PLAIN, &stop_at(7), |_| ()).unwrap().remove(at))
        }) {
            let tokens: Vec<u32> = request.prompt.iter().chain(&sampled.tokens).copied().collect();
            let trained = (0..tokens.len()).map(|at| at >= request.prompt.len()).collect();
            let trainer = log_probs(&policy, &[Datum { tokens, trained }], 0).unwrap().concat();
            assert!(trainer.iter().zip(&sampled.log_probs).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }
}

#[test]
fn samples_end_at_the_stop_token_or_the_limit() {
    let sampled = sample(&requests(), &Sampling { max_tokens: 60, ..PLAIN }, 7);
    assert!(sampled.iter().any(|sample| sample.end == End::Stopped), "{sampled:?}");
    for sample in &sampled {
        assert_eq!(sample.tokens.len(), sample.log_probs.len());
        let first_stop = sample.tokens.iter().position(|&token| token == 7);
        match sample.end == End::Stopped {
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
