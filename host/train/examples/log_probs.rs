//! Prints what a model thinks of sequences of tokens: the log-probability of every token but the first.
//!
//!     echo '[1, 2, 3]' | cargo run --workspace --example log_probs MODEL [ADAPTER]
//!
//! One JSON array of token ids a line in, one of numbers out. `fixtures/check_transformers.py` compares them with PyTorch's.

use std::io::BufRead;
use std::path::Path;

use rewarden_train::{Datum, Policy, log_probs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folders: Vec<String> = std::env::args().skip(1).collect();
    let policy = match folders.as_slice() {
        [model] => Policy::read(Path::new(model))?,
        [model, adapter] => Policy::read(Path::new(model))?.with_adapter(Path::new(adapter))?,
        _ => return Err("usage: log_probs MODEL [ADAPTER]".into()),
    };
    let mut data = vec![];
    for line in std::io::stdin().lock().lines() {
        let tokens: Vec<u32> = serde_json::from_str(&line?)?;
        data.push(Datum { trained: vec![true; tokens.len()], tokens });
    }
    for row in log_probs(&policy, &data, 8)? {
        println!("{}", serde_json::to_string(&row)?);
    }
    Ok(())
}
