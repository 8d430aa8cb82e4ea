//! A model as an engine sees it: its sizes, and where in the flat weights each matrix lies.
//!
//! Matrices that read the same input lie side by side (query, key and value; gate and up), so that one product computes
//! them all. No numbers are here; the same spec serves every device.

use std::ops::Range;

use crate::model::{EMBEDDING, Head, ModelConfig};

/// Which of a policy's two sets of weights something belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// The model's own.
    Model,
    /// What lies beside a frozen model: adapters, and the whole head of a reward model.
    Adapter,
}

/// Numbers in a row, somewhere in the weights.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span {
    pub(crate) store: Store,
    pub(crate) range: Range<usize>,
}

/// y = x W^T (+ b) (+ s x A^T B^T on some columns).
#[derive(Clone, Debug)]
pub(crate) struct Projection {
    /// W (out, width), by rows.
    pub(crate) weight: Span,
    pub(crate) bias: Option<Span>,
    pub(crate) out: usize,
    pub(crate) width: usize,
    pub(crate) adapters: Vec<LowRank>,
}

/// The adapter of a matrix (Hu et al. 2021, LoRA), both parts in [`Store::Adapter`].
#[derive(Clone, Debug)]
pub(crate) struct LowRank {
    /// A (rank, width).
    pub(crate) a: Range<usize>,
    /// B (columns, rank).
    pub(crate) b: Range<usize>,
    /// The columns of the projection that are its matrix's.
    pub(crate) columns: Range<usize>,
    pub(crate) rank: usize,
    pub(crate) scale: f32,
}

/// One layer.
#[derive(Clone, Debug)]
pub(crate) struct LayerSpec {
    pub(crate) input_norm: Span,
    /// Queries, keys and values of all heads.
    pub(crate) qkv: Projection,
    /// Of a query's and of a key's head, where the family has them.
    pub(crate) head_norms: Option<[Span; 2]>,
    pub(crate) output: Projection,
    pub(crate) post_norm: Span,
    pub(crate) gate_up: Projection,
    pub(crate) down: Projection,
}

/// A whole model.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// Width of the residual stream.
    pub(crate) hidden: usize,
    /// Width inside the gated MLP.
    pub(crate) inner: usize,
    /// Query heads.
    pub(crate) heads: usize,
    /// Key and value heads.
    pub(crate) key_heads: usize,
    /// Width of a head.
    pub(crate) head_dim: usize,
    pub(crate) eps: f32,
    /// Angle per position of each rotated pair (head_dim / 2).
    pub(crate) frequencies: Vec<f32>,
    /// (tokens, hidden).
    pub(crate) embedding: Span,
    pub(crate) layers: Vec<LayerSpec>,
    pub(crate) norm: Span,
    pub(crate) head: Projection,
    /// What the head says.
    pub(crate) says: Head,
    /// The set that is trained; the other is frozen.
    pub(crate) trained: Store,
}

/// Where the adapter of a module lies.
#[derive(Clone, Debug)]
pub(crate) struct LowRankPlace {
    pub(crate) a: Range<usize>,
    pub(crate) b: Range<usize>,
    pub(crate) rank: usize,
    pub(crate) scale: f32,
}

/// Finds a tensor by its Hugging Face name.
type Find<'a> = &'a dyn Fn(&str) -> Option<Range<usize>>;

/// Where tensors lie.
pub(crate) struct Places<'a> {
    /// In the model.
    pub(crate) model: Find<'a>,
    /// In what lies beside it, if anything does.
    pub(crate) adapter: Option<Find<'a>>,
    /// The adapter of a module.
    pub(crate) low_rank: &'a dyn Fn(&str) -> Option<LowRankPlace>,
}

impl Spec {
    /// The spec of a model whose tensors lie at `places`. Panics where one that the architecture has is missing: a bug.
    pub(crate) fn new(config: &ModelConfig, places: &Places) -> Self {
        let (hidden, inner, head_dim) = (config.hidden_size, config.intermediate_size, config.head_dim);
        let (heads, key_heads) = (config.num_attention_heads, config.num_key_value_heads);
        let (queries, keys) = (heads * head_dim, key_heads * head_dim);
        let family = config.model_type;
        let layer = |index: usize| {
            let at = |name: &str| format!("model.layers.{index}.{name}");
            let norm = |name: &str| places.span(&at(&format!("{name}.weight")));
            let join = |parts: &[(&str, usize)], width: usize, has_bias: bool| {
                let parts: Vec<(String, usize)> = parts.iter().map(|(name, out)| (at(name), *out)).collect();
                places.projection(&parts, width, has_bias)
            };
            let attention = [("self_attn.q_proj", queries), ("self_attn.k_proj", keys), ("self_attn.v_proj", keys)];
            let head_norms = || [norm("self_attn.q_norm"), norm("self_attn.k_norm")];
            LayerSpec {
                input_norm: norm("input_layernorm"),
                qkv: join(&attention, hidden, family.has_bias()),
                head_norms: family.normalises_heads().then(head_norms),
                output: join(&[("self_attn.o_proj", hidden)], queries, false),
                post_norm: norm("post_attention_layernorm"),
                gate_up: join(&[("mlp.gate_proj", inner), ("mlp.up_proj", inner)], hidden, false),
                down: join(&[("mlp.down_proj", hidden)], inner, false),
            }
        };
        let head = |name: &str, out, has_bias| places.projection(&[(name.to_owned(), out)], hidden, has_bias);
        let embedding = places.span(EMBEDDING);
        let head = match config.head() {
            Head::Tokens if config.tie_word_embeddings => {
                let (out, adapters) = (config.vocab_size, places.adapters("lm_head", 0..config.vocab_size));
                Projection { weight: embedding.clone(), bias: None, out, width: hidden, adapters }
            }
            Head::Tokens => head("lm_head", config.vocab_size, false),
            Head::Score => head("score", 1, false),
            Head::Steps => head("score", 2, true),
        };
        Self {
            hidden,
            inner,
            heads,
            key_heads,
            head_dim,
            eps: config.rms_norm_eps as f32,
            frequencies: config.frequencies(),
            embedding,
            layers: (0..config.num_hidden_layers).map(layer).collect(),
            norm: places.span("model.norm.weight"),
            head,
            says: config.head(),
            trained: if places.adapter.is_some() { Store::Adapter } else { Store::Model },
        }
    }

    /// Every projection: each layer's in its order, then the head.
    #[cfg(any(test, feature = "cuda"))]
    pub(crate) fn projections(&self) -> impl Iterator<Item = &Projection> {
        let of_layers = self.layers.iter().flat_map(|layer| [&layer.qkv, &layer.output, &layer.gate_up, &layer.down]);
        of_layers.chain([&self.head])
    }

    /// Width of all query heads.
    pub(crate) fn queries(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key heads, and of all value heads.
    pub(crate) fn keys(&self) -> usize {
        self.key_heads * self.head_dim
    }

    /// Where the gradient of a span belongs, if it is trained.
    pub(crate) fn trained(&self, span: &Span) -> Option<Range<usize>> {
        (span.store == self.trained).then(|| span.range.clone())
    }
}

impl Places<'_> {
    fn span(&self, name: &str) -> Span {
        let beside = self.adapter.and_then(|find| find(name)).map(|range| Span { store: Store::Adapter, range });
        let own = || (self.model)(name).map(|range| Span { store: Store::Model, range });
        beside.or_else(own).unwrap_or_else(|| panic!("no parameter {name}"))
    }

    /// Several modules with one input as one projection; `parts` are their names and widths.
    fn projection(&self, parts: &[(String, usize)], width: usize, has_bias: bool) -> Projection {
        let joined = |suffix: &str| {
            let spans: Vec<Span> = parts.iter().map(|(name, _)| self.span(&format!("{name}.{suffix}"))).collect();
            let together = spans.windows(2).all(|pair| pair[0].range.end == pair[1].range.start);
            assert!(together, "the {suffix}s of {} do not lie side by side", parts[0].0);
            Span { store: spans[0].store, range: spans[0].range.start..spans[spans.len() - 1].range.end }
        };
        let (mut out, mut adapters) = (0, vec![]);
        for (name, columns) in parts {
            adapters.extend(self.adapters(name, out..out + columns));
            out += columns;
        }
        Projection { weight: joined("weight"), bias: has_bias.then(|| joined("bias")), out, width, adapters }
    }

    fn adapters(&self, module: &str, columns: Range<usize>) -> Vec<LowRank> {
        let low = |LowRankPlace { a, b, rank, scale }| LowRank { a, b, columns, rank, scale };
        (self.low_rank)(module).map(low).into_iter().collect()
    }
}
