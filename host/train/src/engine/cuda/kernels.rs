//! The texts of the kernels. NVRTC compiles each file, with the common header in front, when one of its kernels is first
//! needed; nothing of CUDA is needed to build this crate.

/// One file of kernels.
pub(crate) struct Source {
    pub(crate) file: &'static str,
    text: &'static str,
    /// Whether it works on tiles of packed sequences (attention.cuh).
    has_tiles: bool,
    pub(crate) kernels: &'static [&'static str],
}

const COMMON: &str = include_str!("kernels/common.cuh");
const ATTENTION: &str = include_str!("kernels/attention.cuh");

macro_rules! source {
    ($file:literal, [$($kernel:literal),+ $(,)?]) => {
        source!($file, false, [$($kernel),+])
    };
    ($file:literal, $has_tiles:literal, [$($kernel:literal),+ $(,)?]) => {
        Source {
            file: $file,
            text: include_str!(concat!("kernels/", $file)),
            has_tiles: $has_tiles,
            kernels: &[$($kernel),+],
        }
    };
}

/// Every kernel file; a test compares the lists with what the compiler finds.
pub(crate) const SOURCES: &[Source] = &[
    source!("adamw.cu", ["adamw"]),
    source!(
        "attention_backward.cu",
        true,
        [
            "attention_delta_64",
            "attention_delta_128",
            "attention_backward_keys_64",
            "attention_backward_keys_128",
            "attention_backward_queries_64",
            "attention_backward_queries_128",
        ]
    ),
    source!(
        "attention_decode.cu",
        ["attention_decode_64", "attention_decode_128", "attention_decode_combine_64", "attention_decode_combine_128"]
    ),
    source!("attention_forward.cu", true, ["attention_forward_64", "attention_forward_128"]),
    source!("bias.cu", ["bias_add"]),
    source!("column_sums.cu", ["column_sums", "add_partials"]),
    source!("embedding.cu", ["embedding_forward", "embedding_backward"]),
    source!("gradient_norm.cu", ["sum_of_squares", "clip"]),
    source!("kv_cache.cu", ["kv_append", "kv_copy"]),
    source!("log_prob.cu", ["log_prob_forward", "log_prob_backward"]),
    source!("rms_norm.cu", ["rms_norm_forward", "rms_norm_backward"]),
    source!(
        "rope.cu",
        [
            "rope_table",
            "head_norm_rope_forward_64",
            "head_norm_rope_forward_128",
            "head_norm_rope_backward_64",
            "head_norm_rope_backward_128",
        ]
    ),
    source!("sample.cu", ["sample"]),
    source!("scatter_rows.cu", ["scatter_rows"]),
    source!("swiglu.cu", ["swiglu_forward", "swiglu_backward"]),
];

impl Source {
    /// The file that holds `kernel`.
    pub(crate) fn of(kernel: &str) -> &'static Self {
        let holds = |source: &&Self| source.kernels.contains(&kernel);
        SOURCES.iter().find(holds).unwrap_or_else(|| panic!("no file holds the kernel {kernel}"))
    }

    /// All of it, for a compiler.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", common(), self.own_text())
    }

    /// The file without what all have in common.
    pub(crate) fn own_text(&self) -> String {
        let tiles = if self.has_tiles { named("attention.cuh", ATTENTION) } else { String::new() };
        format!("{tiles}{}", named(self.file, self.text))
    }
}

/// What stands in front of every file.
pub(crate) fn common() -> String {
    named("common.cuh", COMMON)
}

/// A text whose errors the compiler reports by this file name and the text's own lines.
fn named(file: &str, text: &str) -> String {
    format!("#line 1 \"{file}\"\n{text}\n")
}
