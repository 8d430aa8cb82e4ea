use rewarden_train::*;
use std::time::Instant;
fn main() {
    let what = std::env::args().nth(1).unwrap_or("train".into());
    let n: usize = std::env::args().nth(2).and_then(|s| s.parse().ok()).unwrap_or(5);
    let config = ModelConfig {
        hidden_size: 256,
        intermediate_size: 768,
        num_hidden_layers: 6,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 64,
        ..ModelConfig::tiny(512, 2)
    };
    let mut policy = Policy::random(config, 1).unwrap();
    let tok = |n: usize, s: usize| (0..n).map(|i| ((i * 31 + s * 17) % 512) as u32).collect::<Vec<u32>>();
    if what == "train" {
        let data: Vec<Datum> = (0..32).map(|s| Datum { tokens: tok(128, s), trained: vec![true; 128] }).collect();
        let mut o = Optimizer::new(&policy, &AdamConfig::default()).unwrap();
        let mut best = f64::MAX;
        for _ in 0..n {
            let t = Instant::now();
            let l = nll(&data);
            let g = gradients(&policy, &data, 0, Objective::each(&l)).unwrap();
            let tg = t.elapsed().as_secs_f64();
            o.step(&mut policy, &g, 1e-4).unwrap();
            let e = t.elapsed().as_secs_f64();
            best = best.min(e);
            println!("step {:.1} ms (grad {:.1}) {:.0} tok/s loss {}", e * 1e3, tg * 1e3, 4096. / e, g.loss);
        }
        println!("best {:.0} tok/s", 4096. / best);
    } else {
        let b: usize = what.parse().unwrap();
        let req: Vec<Request> = (0..b).map(|s| Request { prompt: tok(16, s), seeds: vec![s as u64] }).collect();
        let s = Sampling { max_tokens: 128, temperature: 1.0, top_k: 0, top_p: 1.0 };
        for _ in 0..n {
            let t = Instant::now();
            let out = Sampler::new(&policy).sample(&req, &s, &|_| Next::Draw, |_| ()).unwrap();
            let e = t.elapsed().as_secs_f64();
            println!("sample b={b}: {:.1} ms {:.0} tok/s {}", e * 1e3, (out.len() * 128) as f64 / e, out[0].tokens[5]);
        }
    }
    let s = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", s.lines().find(|l| l.starts_with("VmHWM")).unwrap());
}
