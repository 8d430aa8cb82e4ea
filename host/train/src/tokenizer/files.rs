//! What lies beside `tokenizer.json` in a model folder and says how the tokens are used: which end a message, how a
//! conversation is written. Carried along byte for byte, so that whoever loads what we trained finds it there.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::model::TokenIds;
use crate::model::files::read_bounded;

/// The tokenizer itself.
pub(crate) const TOKENIZER: &str = "tokenizer.json";
const CONFIG: &str = "tokenizer_config.json";
const CHAT_TEMPLATE: &str = "chat_template.jinja";
const GENERATION: &str = "generation_config.json";
const NAMES: [&str; 10] = [
    TOKENIZER,
    CONFIG,
    CHAT_TEMPLATE,
    GENERATION,
    "chat_template.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
];

/// Files of a tokenizer, by name.
#[derive(Clone)]
pub(crate) struct TokenizerFiles {
    folder: PathBuf,
    bytes: BTreeMap<&'static str, Vec<u8>>,
}

/// `tokenizer_config.json`.
#[derive(Default, Deserialize)]
struct TokenizerConfig {
    #[serde(default)]
    chat_template: Option<Templates>,
    /// Among much else, the special tokens by role.
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// A template, or several by name.
#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Many(Vec<Named>),
}

#[derive(Deserialize)]
struct Named {
    name: String,
    template: String,
}

#[derive(Default, Deserialize)]
struct GenerationConfig {
    #[serde(default)]
    eos_token_id: Option<TokenIds>,
}

impl TokenizerFiles {
    /// Reads what there is; `tokenizer.json` there must be.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let mut bytes = BTreeMap::new();
        for name in NAMES {
            let file = folder.join(name);
            if name == TOKENIZER || file.is_file() {
                bytes.insert(name, read_bounded(&file)?);
            }
        }
        Ok(Self { folder: folder.to_owned(), bytes })
    }

    /// Writes all of them into an existing folder.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        for (name, bytes) in &self.bytes {
            let file = folder.join(name);
            std::fs::write(&file, bytes).map_err(Error::io("write", &file))?;
        }
        Ok(())
    }

    pub(super) fn tokenizer(&self) -> &[u8] {
        self.bytes.get(TOKENIZER).map_or(&[], Vec::as_slice)
    }

    /// Tokens that end a generation.
    pub(super) fn stops(&self) -> Result<Vec<u32>> {
        let generation: GenerationConfig = self.parsed(GENERATION)?;
        Ok(generation.eos_token_id.iter().flat_map(TokenIds::ids).copied().collect())
    }

    /// Special tokens by their role in chat templates, such as `bos_token`.
    pub(crate) fn roles(&self) -> Result<BTreeMap<String, String>> {
        let config: TokenizerConfig = self.parsed(CONFIG)?;
        let token = |value: &Value| value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned);
        let role = |(role, value): (String, Value)| Some((role, token(&value)?));
        Ok(config.more.into_iter().filter(|(key, _)| key.ends_with("_token")).filter_map(role).collect())
    }

    /// The chat template: the file of its own, or else the one in the config.
    pub(crate) fn chat_template(&self) -> Result<Option<String>> {
        if let Some(bytes) = self.bytes.get(CHAT_TEMPLATE) {
            let text = String::from_utf8(bytes.clone());
            return text.map(Some).map_err(|_| Error::model(self.folder.join(CHAT_TEMPLATE), "is not UTF-8 text"));
        }
        let config: TokenizerConfig = self.parsed(CONFIG)?;
        Ok(match config.chat_template {
            Some(Templates::One(template)) => Some(template),
            Some(Templates::Many(all)) => all.into_iter().find(|one| one.name == "default").map(|one| one.template),
            None => None,
        })
    }

    fn parsed<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T> {
        let Some(bytes) = self.bytes.get(name) else { return Ok(T::default()) };
        serde_json::from_slice(bytes).map_err(|e| Error::model(self.folder.join(name), e.to_string()))
    }
}
