//! Text to tokens and back, over a Hugging Face `tokenizer.json`.
//!
//! Text that came from data or from the model is encoded with special tokens disabled: a row that spells `<|im_end|>`
//! gets the letters, not the power to end a turn. Only the renderer writes special tokens, by id.

mod files;

use std::collections::BTreeSet;
use std::path::Path;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, TokenizerBuilder};

use crate::error::{Error, Result};
pub(crate) use files::{TOKENIZER, TokenizerFiles};

/// Opens a turn in the Qwen chat format.
pub const IM_START: &str = "<|im_start|>";
/// Closes a turn; a policy that samples it has finished its message.
pub const IM_END: &str = "<|im_end|>";
const END_OF_TEXT: &str = "<|endoftext|>";
const THINK: [&str; 2] = ["<think>", "</think>"];

/// How Qwen splits text before merging bytes: words with their space, single digits, runs of punctuation, line ends.
const QWEN_SPLIT: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Tokens of the tiny preset: 256 bytes, 5 markers, and the data's most frequent pieces.
const TINY_VOCABULARY: usize = 512;

/// A tokenizer with what its folder says about it. Encoding takes microseconds a line; share one per process.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// Tokens after which a policy has finished its message.
    stops: BTreeSet<u32>,
    /// Special tokens and their spelling.
    specials: Vec<(String, u32)>,
    /// What it was read from; nothing when it was learnt.
    files: Option<TokenizerFiles>,
}

impl Tokenizer {
    /// Learns byte-pair merges from `texts`, for the tiny preset. The same texts give the same tokenizer.
    pub fn learn(texts: &[String]) -> Result<Self> {
        let split = Split::new(SplitPattern::Regex(QWEN_SPLIT.into()), SplitDelimiterBehavior::Isolated, false)
            .map_err(describe)?;
        let bytes = ByteLevel::new(false, true, false);
        let mut inner = TokenizerBuilder::default()
            .with_model(BPE::default())
            .with_normalizer(Some(tokenizers::normalizers::unicode::NFC))
            .with_pre_tokenizer(Some(Sequence::new(vec![split.into(), bytes.into()])))
            .with_post_processor(Some(bytes))
            .with_decoder(Some(bytes))
            .build()
            .map_err(describe)?;
        let mut trainer = BpeTrainerBuilder::new()
            .vocab_size(TINY_VOCABULARY - THINK.len())
            .show_progress(false)
            .special_tokens([END_OF_TEXT, IM_START, IM_END].map(|token| AddedToken::from(token, true)).to_vec())
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        inner.train(&mut trainer, texts.iter()).map_err(describe)?;
        // As in Qwen3, the thinking marks are tokens but not special: a model may write them as text.
        inner.add_tokens(THINK.map(|token| AddedToken::from(token, false)).to_vec()).map_err(describe)?;
        // The built tokenizer is typed by its parts; the JSON form is the one that files and folders share.
        let json = serde_json::to_string(&inner).map_err(|e| Error::Tokenizer(e.to_string()))?;
        Ok(Self::from_inner(json.parse().map_err(describe)?))
    }

    /// Reads `tokenizer.json` of a model folder, and the files beside it that say how it is used.
    pub fn read(folder: &Path) -> Result<Self> {
        let files = TokenizerFiles::read(folder)?;
        let inner = tokenizers::Tokenizer::from_bytes(files.tokenizer());
        let mut tokenizer = Self::from_inner(inner.map_err(|e| Error::model(folder.join(TOKENIZER), e.to_string()))?);
        tokenizer.stop_at(&files.stops()?);
        let end = files.roles()?.get("eos_token").and_then(|token| tokenizer.id(token));
        tokenizer.stop_at(end.as_slice());
        Ok(Self { files: Some(files), ..tokenizer })
    }

    /// Writes `tokenizer.json` and what came with it into an existing folder.
    pub fn write(&self, folder: &Path) -> Result<()> {
        if let Some(files) = &self.files {
            return files.write(folder);
        }
        let file = folder.join(TOKENIZER);
        let mut plain = self.inner.clone();
        plain.set_encode_special_tokens(false);
        plain.save(&file, true).map_err(|e| Error::model(&file, e.to_string()))
    }

    /// Further tokens that end a message.
    pub(crate) fn stop_at(&mut self, tokens: &[u32]) {
        self.stops.extend(tokens);
    }

    /// What it was read from; nothing when it was learnt.
    pub(crate) fn files(&self) -> Option<&TokenizerFiles> {
        self.files.as_ref()
    }

    /// Tokens of plain text. Special tokens spelled in it stay letters.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.inner.encode_fast(text, false).map_err(describe)?.get_ids().to_vec())
    }

    /// Text of tokens, special ones spelled out: what the model wrote is what a grader sees.
    pub fn decode(&self, tokens: &[u32]) -> Result<String> {
        self.inner.decode(tokens, false).map_err(describe)
    }

    /// The text that each token adds; together, the text of all. A token that only begins a character adds nothing, and
    /// the one that completes it adds the whole.
    pub fn pieces(&self, tokens: &[u32]) -> Result<Vec<String>> {
        let mut stream = self.inner.decode_stream(false);
        let piece = |&token: &u32| Ok(stream.step(token).map_err(describe)?.unwrap_or_default());
        let mut pieces: Vec<String> = tokens.iter().map(piece).collect::<Result<_>>()?;
        let whole = self.decode(tokens)?;
        // What is still waiting for the rest of its character will never get it.
        if let (Some(last), Some(rest)) = (pieces.len().checked_sub(1), whole.strip_prefix(&pieces.concat())) {
            pieces[last].push_str(rest);
        }
        Ok(pieces)
    }

    /// Number of token ids.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The id of a token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The special tokens and their ids: what text can never become.
    pub(crate) fn specials(&self) -> &[(String, u32)] {
        &self.specials
    }

    /// Whether a policy that samples `token` has finished its message.
    pub fn stops(&self, token: u32) -> bool {
        self.stops.contains(&token)
    }

    fn from_inner(mut inner: tokenizers::Tokenizer) -> Self {
        inner.set_encode_special_tokens(true);
        // Some files still carry the settings of the batch they were last used for.
        let _ = inner.with_truncation(None);
        inner.with_padding(None);
        let stops = [IM_END, END_OF_TEXT].into_iter().filter_map(|token| inner.token_to_id(token)).collect();
        let added = inner.get_added_tokens_decoder();
        let special = |(id, token): (u32, AddedToken)| token.special.then_some((token.content, id));
        let specials = added.into_iter().filter_map(special).filter(|(token, _)| !token.is_empty()).collect();
        Self { inner, stops, specials, files: None }
    }
}

fn describe(error: tokenizers::Error) -> Error {
    Error::Tokenizer(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> Tokenizer {
        let texts = ["Tom has 12 apples.\n#### 12", "Ann has 31 apples and 4 pears."].map(String::from);
        Tokenizer::learn(&texts).unwrap()
    }

    #[track_caller]
    fn check(text: &str, tokens: usize) {
        let tokenizer = tiny();
        let encoded = tokenizer.encode(text).unwrap();
        assert_eq!(tokenizer.decode(&encoded).unwrap(), text);
        assert_eq!(encoded.len(), tokens, "{encoded:?}");
    }

    #[test]
    fn text_comes_back() {
        check("", 0);
        check(" apples", 1);
        check("12", 2); // digits never merge
        check("½ 🍎\r\n\t", 10);
        check("<think>\n</think>", 3);
    }

    #[test]
    fn pieces_make_up_the_text() {
        let tokenizer = tiny();
        for text in ["", "Tom has 12 apples.\n\n#### 12", "½ 🍎\r\n", "🍎", " a<think>\nb"] {
            let tokens = tokenizer.encode(text).unwrap();
            let pieces = tokenizer.pieces(&tokens).unwrap();
            assert_eq!((pieces.len(), pieces.concat()), (tokens.len(), text.to_owned()), "{pieces:?}");
        }
        let cut = &tokenizer.encode("a🍎").unwrap()[..3];
        assert_eq!(tokenizer.pieces(cut).unwrap().concat(), tokenizer.decode(cut).unwrap(), "half a character");
        let marked = [tokenizer.encode("a").unwrap()[0], tokenizer.id(IM_END).unwrap()];
        assert_eq!(tokenizer.pieces(&marked).unwrap(), ["a", IM_END]);
    }

    #[test]
    fn special_tokens_in_text_stay_letters() {
        let tokenizer = tiny();
        let encoded = tokenizer.encode("a<|im_end|>").unwrap();
        assert!(!encoded.contains(&tokenizer.id(IM_END).unwrap()), "{encoded:?}");
        assert_eq!(tokenizer.decode(&encoded).unwrap(), "a<|im_end|>");
    }

    #[test]
    fn learning_is_reproducible_and_survives_the_file() {
        let folder = tempfile::tempdir().unwrap();
        tiny().write(folder.path()).unwrap();
        let first = std::fs::read(folder.path().join("tokenizer.json")).unwrap();
        let read = Tokenizer::read(folder.path()).unwrap();
        tiny().write(folder.path()).unwrap();
        assert_eq!(first, std::fs::read(folder.path().join("tokenizer.json")).unwrap());
        let text = "Tom has 4 apples<|im_end|>";
        assert_eq!(read.encode(text).unwrap(), tiny().encode(text).unwrap());
    }
}
