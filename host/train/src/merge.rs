//! An adapter and the model it belongs to, added up into a model of its own that any tool reads.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::model::Policy;
use crate::model::lora::{self, ADAPTER_CONFIG};
use crate::reward_model::About;
use crate::tokenizer::{TOKENIZER, Tokenizer};

/// The name or path of the model that the adapter in `folder`, ours or PEFT's, belongs to.
pub fn base_of(folder: &Path) -> Result<String> {
    match folder.join(ADAPTER_CONFIG).is_file() {
        true => lora::base_of(folder),
        false => Err(Error::model(
            folder,
            format!("holds no {ADAPTER_CONFIG}: it is no adapter; a model without one needs no merging"),
        )),
    }
}

/// Writes the model in `base` with the adapter in `adapter` added to its weights as the Hugging Face folder `out`, which
/// must not exist. It appears whole or not at all.
pub fn merge(adapter: &Path, base: &Path, out: &Path) -> Result<()> {
    refuse(out)?;
    if base.join(ADAPTER_CONFIG).is_file() {
        return Err(Error::model(base, "is an adapter itself; merge that one first"));
    }
    let policy = Policy::read(base)?.with_adapter(adapter)?.merged();
    // PEFT leaves the tokenizer with the model, runs of ours save it with the adapter too.
    let tokenizer = Tokenizer::read(if adapter.join(TOKENIZER).is_file() { adapter } else { base })?;
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".writing");
    let parts = out.with_file_name(name);
    fs::create_dir_all(&parts).map_err(Error::io("create", &parts))?;
    let write = || {
        policy.write(&parts)?;
        tokenizer.write(&parts)?;
        About::copy(adapter, &parts)?;
        refuse(out)
    };
    let renamed = write().and_then(|()| fs::rename(&parts, out).map_err(Error::io("rename", out)));
    renamed.inspect_err(|_| drop(fs::remove_dir_all(&parts)))
}

fn refuse(out: &Path) -> Result<()> {
    match out.exists() {
        true => Err(Error::model(out, "exists already; choose a place where nothing is")),
        false => Ok(()),
    }
}
