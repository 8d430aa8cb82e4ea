//! Tensors on disk as Hugging Face folders hold them: one safetensors file, or shards with an index that says which
//! tensor lies where. Read in f32 whatever they are stored in; written in f32, in shards where a file would grow too big.

use candle_core::safetensors::Load;
use candle_core::{DType, Device};
use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::data::BYTE_ORDER_MARK;
use crate::error::{Error, Result};

/// The file of a model that is not in shards.
pub(crate) const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Bytes of tensors in one file at most; transformers' figure.
const SHARD_BYTES_MAX: usize = 5_000_000_000;

/// Longest accepted text file of a model folder: far above any index, far below what exhausts memory.
const TEXT_BYTES_MAX: u64 = 64 << 20;

/// Numbers that are checked at a time.
const FINITE_CHUNK: usize = 4096;

/// A tensor that was read, by rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

/// `model.safetensors.index.json`.
#[derive(Serialize, Deserialize)]
struct Index {
    #[serde(default)]
    metadata: serde_json::Map<String, serde_json::Value>,
    /// Tensor to file.
    weight_map: BTreeMap<String, String>,
}

/// Reads a text file of a model folder.
pub(crate) fn read_text(file: &Path) -> Result<String> {
    let mut bytes = read_bounded(file)?;
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    String::from_utf8(bytes).map_err(|_| Error::model(file, "is not UTF-8 text"))
}

/// Reads a small file of a model folder.
pub(crate) fn read_bounded(file: &Path) -> Result<Vec<u8>> {
    let mut bytes = vec![];
    let opened = fs::File::open(file).map_err(Error::io("read", file))?;
    opened.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(Error::io("read", file))?;
    match bytes.len() as u64 > TEXT_BYTES_MAX {
        true => Err(Error::model(file, format!("is larger than {} MiB", TEXT_BYTES_MAX >> 20))),
        false => Ok(bytes),
    }
}

/// The tensors of a model folder, in f32.
pub(super) fn read_model(folder: &Path) -> Result<BTreeMap<String, Array>> {
    let mut tensors = BTreeMap::new();
    for file in weight_files(folder)? {
        tensors.extend(read(&file)?);
    }
    Ok(tensors)
}

/// The tensors of one safetensors file, in f32.
pub(super) fn read(file: &Path) -> Result<BTreeMap<String, Array>> {
    let damaged = |e: safetensors::SafeTensorError| {
        Error::model(file, format!("is not a whole safetensors file ({e}); copy or download it again"))
    };
    let bytes = fs::read(file).map_err(Error::io("read", file))?;
    let views = SafeTensors::deserialize(&bytes).map_err(damaged)?;
    let one = |(name, view): (&str, safetensors::tensor::TensorView)| {
        if !matches!(view.dtype(), Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            let message = format!("tensor {name} is stored as {:?}; f32, f16 and bf16 weights are read", view.dtype());
            return Err(Error::model(file, message));
        }
        let values = view.load(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        check_finite(file, name, &values)?;
        Ok((name.to_owned(), Array { shape: view.shape().to_vec(), values }))
    };
    views.iter().map(one).collect()
}

/// Refuses numbers that no model computes with: one of them makes every answer the same token, and training blame the
/// learning rate.
pub(crate) fn check_finite(file: &Path, name: &str, values: &[f32]) -> Result<()> {
    // Without a branch per number a chunk is compared as fast as it is read.
    let is_sound = |chunk: &[f32]| chunk.iter().fold(true, |sound, value| sound & value.is_finite());
    let Some(chunk) = values.chunks(FINITE_CHUNK).position(|chunk| !is_sound(chunk)) else { return Ok(()) };
    let start = chunk * FINITE_CHUNK;
    let at = start + values[start..].iter().position(|value| !value.is_finite()).unwrap_or_default();
    let message = format!(
        "tensor {name} holds {} at {at}, not a finite number: copy or download the file again, or go back to a \
         checkpoint before it",
        values[at]
    );
    Err(Error::model(file, message))
}

/// The files that hold a model's tensors.
fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let (single, index) = (folder.join(SINGLE), folder.join(INDEX));
    if single.is_file() {
        return Ok(vec![single]);
    }
    if !index.is_file() {
        let other =
            if folder.join("pytorch_model.bin").is_file() { "; convert pytorch_model.bin to safetensors" } else { "" };
        return Err(Error::model(folder, format!("holds neither {SINGLE} nor {INDEX}{other}")));
    }
    let parsed: Index = serde_json::from_str(&read_text(&index)?).map_err(|e| Error::model(&index, e.to_string()))?;
    let mut names: Vec<String> = parsed.weight_map.into_values().collect();
    names.sort();
    names.dedup();
    // A name is a file of this folder and nothing else's.
    if let Some(name) = names.iter().find(|name| Path::new(name).file_name().is_none_or(|file| file != name.as_str())) {
        return Err(Error::model(&index, format!("names a shard {name:?}, which is no file name")));
    }
    if let Some(missing) = names.iter().find(|name| !folder.join(name).is_file()) {
        let message =
            format!("shard {missing} is missing; {INDEX} names {} of them: copy or download it again", names.len());
        return Err(Error::model(folder, message));
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// Writes a model's tensors into an existing folder.
pub(super) fn write_model(folder: &Path, tensors: &BTreeMap<String, impl View + Copy>) -> Result<()> {
    write_shards(folder, tensors, SHARD_BYTES_MAX)
}

fn write_shards(folder: &Path, tensors: &BTreeMap<String, impl View + Copy>, bytes_max: usize) -> Result<()> {
    let shards = shards(tensors, bytes_max);
    if let [all] = shards.as_slice() {
        return write(&folder.join(SINGLE), all);
    }
    let mut weight_map = BTreeMap::new();
    for (index, shard) in shards.iter().enumerate() {
        let name = format!("model-{:05}-of-{:05}.safetensors", index + 1, shards.len());
        write(&folder.join(&name), shard)?;
        weight_map.extend(shard.keys().map(|tensor| (tensor.clone(), name.clone())));
    }
    let total: usize = tensors.values().map(View::data_len).sum();
    let index = Index { metadata: serde_json::Map::from_iter([("total_size".into(), total.into())]), weight_map };
    let file = folder.join(INDEX);
    let text = serde_json::to_string_pretty(&index).map_err(|e| Error::model(&file, e.to_string()))?;
    fs::write(&file, text + "\n").map_err(Error::io("write", &file))
}

/// Writes one safetensors file. Not atomic: callers write into a folder that is not yet in its place.
pub(crate) fn write(file: &Path, tensors: &BTreeMap<String, impl View + Copy>) -> Result<()> {
    // Older transformers refuse a file that does not say which framework's layout it has.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let tensors = tensors.iter().map(|(name, tensor)| (name, *tensor));
    safetensors::serialize_to_file(tensors, Some(metadata), file).map_err(|e| Error::model(file, e.to_string()))
}

/// Fills shards in the tensors' order.
fn shards<V: View + Copy>(tensors: &BTreeMap<String, V>, bytes_max: usize) -> Vec<BTreeMap<String, V>> {
    let mut shards = vec![BTreeMap::new()];
    let mut filled = 0;
    for (name, tensor) in tensors {
        if filled > 0 && filled + tensor.data_len() > bytes_max {
            shards.push(BTreeMap::new());
            filled = 0;
        }
        filled += tensor.data_len();
        if let Some(shard) = shards.last_mut() {
            shard.insert(name.clone(), *tensor);
        }
    }
    shards
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Weights;

    #[test]
    fn a_model_too_big_for_one_file_is_split_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let array = |index: usize| Array { shape: vec![10], values: vec![index as f32; 10] };
        let weights = Weights::of((0..5).map(|index| (format!("layer.{index}"), array(index))));
        let tensors = weights.by_name();
        write_shards(folder.path(), &tensors, 99).unwrap(); // 40 bytes each: two to a file
        let mut names: Vec<String> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names.len(), 4, "{names:?}");
        assert_eq!(names[0], "model-00001-of-00003.safetensors");
        let index: Index = serde_json::from_str(&read_text(&folder.path().join(INDEX)).unwrap()).unwrap();
        assert_eq!(index.metadata["total_size"], 200);
        let read = read_model(folder.path()).unwrap();
        assert_eq!(read.keys().collect::<Vec<_>>(), tensors.keys().collect::<Vec<_>>());
        assert_eq!(read["layer.4"], array(4));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_text() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        fs::write(&file, "\u{feff}{}\n").unwrap();
        assert_eq!(read_text(&file).unwrap(), "{}\n");
    }

    #[test]
    fn numbers_that_are_none_are_refused_with_file_and_tensor() {
        for (count, at, value) in [(1, 0, f32::NAN), (9000, 8999, f32::INFINITY), (5000, 4096, f32::NEG_INFINITY)] {
            let folder = tempfile::tempdir().unwrap();
            let mut values = vec![1.0; count];
            values[at] = value;
            let weights = Weights::of([("model.norm.weight".to_owned(), Array { shape: vec![count], values })]);
            write_model(folder.path(), &weights.by_name()).unwrap();
            let error = read_model(folder.path()).unwrap_err().to_string();
            let expected = format!("model.safetensors: tensor model.norm.weight holds {value} at {at}, not a finite");
            assert!(error.contains(&expected), "{error}");
        }
    }

    #[test]
    fn a_tensor_larger_than_a_shard_gets_one_of_its_own() {
        let weights = Weights::of([("a".to_owned(), Array { shape: vec![9], values: vec![1.0; 9] })]);
        assert_eq!(shards(&weights.by_name(), 1).len(), 1);
    }
}
