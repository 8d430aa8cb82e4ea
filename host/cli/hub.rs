//! A model by its name on the Hugging Face hub: taken from the cache that all of Hugging Face's tools share, or else
//! downloaded into it. Only the files that are read are asked for. A model that is in the cache is not looked up again.

use std::env;
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};
use serde_json::Value;

const ENDPOINT: &str = "https://huggingface.co";
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Far above any index.
const INDEX_BYTES_MAX: u64 = 64 << 20;

/// A download that breaks off is taken up again so often.
const RETRIES: usize = 3;

/// The folder of the model called `name`; none where that is a path, or a preset.
pub(crate) fn folder(name: &str) -> Result<Option<PathBuf>> {
    if Path::new(name).exists() || !is_hub_name(name) {
        return Ok(None);
    }
    let home = cache_dir().ok_or_else(|| anyhow!("no place to keep the model `{name}`: set HF_HOME to a folder"))?;
    let cache = Cache::new(home);
    if let Some(folder) = cached(&cache, name) {
        return Ok(Some(folder));
    }
    if is_set("HF_HUB_OFFLINE") {
        bail!(
            "the model `{name}` is not, or not whole, in the cache at {}, and HF_HUB_OFFLINE forbids to download it; unset \
             that once, or name a folder as `model_name`",
            cache.path().display()
        );
    }
    download(&cache, name).map(Some)
}

/// `owner/name`, with the letters the hub allows: what looks like a path is one.
fn is_hub_name(name: &str) -> bool {
    let is_word = |word: &str| {
        let plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        plain && word.starts_with(|first: char| first.is_ascii_alphanumeric()) && !word.contains("..")
    };
    name.split_once('/').is_some_and(|(owner, name)| is_word(owner) && is_word(name))
}

/// The folder of a model that is whole in the cache.
fn cached(cache: &Cache, name: &str) -> Option<PathBuf> {
    let folder = cache.model(name.to_owned()).get("config.json")?.parent()?.to_owned();
    let has = |file: &str| folder.join(file).is_file();
    let is_whole = has("tokenizer.json") && (has(SINGLE) || shards(&folder)?.iter().all(|shard| has(shard)));
    is_whole.then_some(folder)
}

/// The files an index names.
fn shards(folder: &Path) -> Option<Vec<String>> {
    let mut text = String::new();
    File::open(folder.join(INDEX)).ok()?.take(INDEX_BYTES_MAX).read_to_string(&mut text).ok()?;
    let index: Value = serde_json::from_str(&text).ok()?;
    let files = index["weight_map"].as_object()?.values();
    files.map(|file| file.as_str().map(str::to_owned)).collect()
}

fn download(cache: &Cache, name: &str) -> Result<PathBuf> {
    let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into());
    let endpoint = endpoint.trim_end_matches('/');
    let explain = |error: ApiError| explain(&error, endpoint, name);
    let api = api(cache, endpoint).map_err(explain)?;
    let info = api.model(name.to_owned()).info().map_err(explain)?;
    // It becomes the name of a folder.
    if info.sha.is_empty() || !info.sha.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!("{endpoint} answers with a commit {:?} of `{name}`; is it a Hugging Face hub?", info.sha);
    }
    let files: Vec<&str> = info.siblings.iter().map(|file| file.rfilename.as_str()).collect();
    if !files.contains(&"config.json") {
        bail!("`{name}` on {endpoint} holds no config.json: it is not a model in the Hugging Face layout");
    }
    // All files of one commit, whatever is pushed meanwhile.
    let repository = api.repo(Repo::with_revision(name.to_owned(), RepoType::Model, info.sha.clone()));
    for file in files.iter().filter(|file| is_read(file, files.contains(&SINGLE))) {
        repository.get(file).map_err(explain).with_context(|| format!("cannot download {file} of `{name}`"))?;
    }
    let model = cache.model(name.to_owned());
    model.create_ref(&info.sha).with_context(|| format!("cannot write to the cache at {}", cache.path().display()))?;
    Ok(model.pointer_path(&info.sha))
}

fn api(cache: &Cache, endpoint: &str) -> Result<Api, ApiError> {
    let builder = ApiBuilder::from_cache(cache.clone()).with_endpoint(endpoint.to_owned()).with_retries(RETRIES);
    let builder = builder.with_progress(std::io::stderr().is_terminal());
    match text("HF_TOKEN") {
        Some(token) => builder.with_token(Some(token)).build(),
        None => builder.build(),
    }
}

/// Whether a file of a repository is one of those that are read: its shape, its tokenizer, its weights once.
fn is_read(file: &str, in_one: bool) -> bool {
    let is_shard = file == INDEX || file.starts_with("model-") && file.ends_with(".safetensors");
    let is_text = |start: &str| file.starts_with(start) && !file.contains('/');
    match file {
        "config.json" | "generation_config.json" | "special_tokens_map.json" | "added_tokens.json" => true,
        "vocab.json" | "merges.txt" | SINGLE => true,
        _ if is_shard => !in_one && !file.contains('/'),
        _ => is_text("tokenizer") || is_text("chat_template."),
    }
}

/// What to do about an answer of the hub.
fn explain(error: &ApiError, endpoint: &str, name: &str) -> anyhow::Error {
    let status = match error {
        ApiError::RequestError(error) => match **error {
            ureq::Error::StatusCode(status) => Some(status),
            _ => None,
        },
        _ => None,
    };
    match status {
        Some(404) => anyhow!("there is no model `{name}` on {endpoint}, and no folder of that name here"),
        Some(status @ (401 | 403)) => anyhow!(
            "{endpoint} answers {status} for `{name}`: there is no such model, or it is gated or private; look at \
             {endpoint}/{name}, and set HF_TOKEN to a token that may read it"
        ),
        _ => anyhow!(
            "cannot get `{name}` from {endpoint}: {error}; try again, or name a folder with a copy of the model as \
             `model_name`"
        ),
    }
}

/// Where Hugging Face's own tools keep models.
fn cache_dir() -> Option<PathBuf> {
    let path = |name| text(name).map(PathBuf::from);
    let home = || {
        let cache = path("XDG_CACHE_HOME").or_else(|| Some(path("HOME")?.join(".cache")));
        path("HF_HOME").or_else(|| Some(cache?.join("huggingface")))
    };
    path("HF_HUB_CACHE").or_else(|| Some(home()?.join("hub")))
}

fn text(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// As Hugging Face's tools read a switch.
fn is_set(name: &str) -> bool {
    text(name).is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_are_told_apart() {
        for (name, expected) in [
            ("Qwen/Qwen3-0.6B", true),
            ("meta-llama/Llama-3.2-1B", true),
            ("tiny", false),
            ("models/qwen/small", false),
            ("./model", false),
            ("../model", false),
            ("/models/qwen", false),
            ("a/..", false),
            ("a/b..c", false),
            ("a/", false),
            ("a b/c", false),
        ] {
            assert_eq!(is_hub_name(name), expected, "{name}");
        }
    }

    #[test]
    fn only_what_is_read_is_asked_for() {
        for (file, in_one, expected) in [
            ("config.json", true, true),
            ("tokenizer.json", true, true),
            ("tokenizer_config.json", true, true),
            ("chat_template.jinja", true, true),
            ("model.safetensors", true, true),
            ("model-00001-of-00002.safetensors", true, false),
            ("model-00001-of-00002.safetensors", false, true),
            ("model.safetensors.index.json", false, true),
            ("model-x/../../evil.safetensors", false, false),
            ("tokenizer/../../evil", true, false),
            ("README.md", true, false),
            ("pytorch_model.bin", true, false),
            ("original/consolidated.00.pth", true, false),
            ("onnx/model.onnx", true, false),
        ] {
            assert_eq!(is_read(file, in_one), expected, "{file}");
        }
    }
}
