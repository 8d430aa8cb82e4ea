//! The policy as a sampler runs it on the GPU: prompts packed, then steps of one token per row over a slot cache, each a
//! recorded graph; tokens are drawn on the device.
//!
//! A step's inputs are uploaded into one buffer and its results downloaded from another; in between the graph of its bucket -
//! the next power of two rows, the rest place holders - is queued by one call. Adapters are added to a copy of the weights
//! once, when the decoder is made.

mod buffers;
mod merged;

use std::collections::HashMap;
use std::sync::Arc;

use half::bf16;

use super::launch::{Launch, Ptr};
use super::machine::{Machine, Matrix, Memory, Recording, Target, read};
use super::numbers::Numbers;
use super::ops::{self, Cache, Draws, Logits, Packed, Rows, Tiles};
use super::project::{Into, Projector};
use crate::batch::Segment;
use crate::engine::{LayerSpec, Span, Spec};
use crate::error::Result;
use buffers::{Buffers, heads, stride};
use merged::Weights;

/// How one token is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draw {
    pub(crate) temperature: f32,
    /// 0: all.
    pub(crate) top_k: u32,
    pub(crate) top_p: f32,
    /// In [0, 1).
    pub(crate) uniform: f64,
}

/// A drawn token, and its log-probability under the model itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Drawn {
    pub(crate) token: u32,
    pub(crate) log_prob: f32,
}

/// A token that a slot is fed at a position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fed {
    pub(crate) token: u32,
    pub(crate) slot: usize,
    pub(crate) position: usize,
    pub(crate) draw: Draw,
}

/// Slots, and how long a sequence may get in one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) slots: usize,
    pub(crate) max_length: usize,
    /// Rows of a step at most.
    pub(crate) rows: usize,
}

/// A model to sample from, and its slots.
pub(crate) struct Decoder<'a> {
    machine: Arc<dyn Machine>,
    spec: Spec,
    weights: Weights<'a>,
    size: Size,
    keys: Memory,
    values: Memory,
    frequencies: Memory,
    inputs: Memory,
    outputs: Memory,
    /// Logits after a prompt, until its samples have begun.
    prompt_logits: Memory,
    step: Buffers,
    prefill: Buffers,
    lists: Lists,
    graphs: HashMap<usize, Recording>,
}

/// What a prompt is laid out by.
#[derive(Default)]
struct Lists {
    ids: Memory,
    slots: Memory,
    positions: Memory,
    tiles: Memory,
    copies: [Memory; 3],
}

/// Where each input of a step of so many rows lies.
struct Inputs {
    ids: Ptr<i32>,
    slots: Ptr<i32>,
    positions: Ptr<i32>,
    lengths: Ptr<i32>,
    draws: Draws,
}

/// 8-byte words of a row's inputs: the uniform number, then seven of 4 bytes.
const INPUT_WORDS: usize = 5;

/// How rows attend: a prompt to itself, or new tokens to what their slots have seen.
enum Attention<'a> {
    Prompt(&'a Packed),
    Slots { lengths: Ptr<i32>, splits: usize },
}

impl<'a> Decoder<'a> {
    /// A decoder with empty slots.
    pub(crate) fn new(machine: &Arc<dyn Machine>, spec: &Spec, weights: &'a Numbers, size: Size) -> Result<Self> {
        let mut spec = spec.clone();
        let weights = Weights::new(machine, &mut spec, weights)?;
        let mut decoder = Self {
            machine: machine.clone(),
            weights,
            size,
            keys: Memory::default(),
            values: Memory::default(),
            frequencies: Memory::of(machine, &spec.frequencies)?,
            inputs: Memory::default(),
            outputs: Memory::default(),
            prompt_logits: Memory::default(),
            step: Buffers::default(),
            prefill: Buffers::default(),
            lists: Lists::default(),
            graphs: HashMap::new(),
            spec,
        };
        let numbers = decoder.cache().layer_len() * decoder.spec.layers.len();
        decoder.keys.sized::<bf16>(machine, numbers)?;
        decoder.values.sized::<bf16>(machine, numbers)?;
        // At their full size once: recorded graphs hold their addresses.
        let rows = size.rows.next_power_of_two();
        decoder.inputs.sized::<f64>(machine, rows * INPUT_WORDS)?;
        decoder.outputs.sized::<i32>(machine, rows * 2)?;
        let Self { spec, step, .. } = &mut decoder;
        step.reserve(machine, spec, rows, true)?;
        Ok(decoder)
    }

    /// Bytes that one slot takes.
    pub(crate) fn slot_bytes(spec: &Spec, max_length: usize) -> usize {
        2 * spec.layers.len() * spec.keys() * max_length * size_of::<bf16>()
    }

    /// Bytes of the weights that it will have for itself.
    pub(crate) fn copy_bytes(spec: &Spec, numbers: &Numbers) -> usize {
        merged::copy_bytes(spec, numbers)
    }

    fn cache(&self) -> Cache {
        let Size { slots, max_length, .. } = self.size;
        Cache { keys: self.keys.ptr(), values: self.values.ptr(), slots, max_length, heads: heads(&self.spec) }
    }

    /// Runs a prompt through the model into a slot, and keeps the logits after it.
    pub(crate) fn prefill(&mut self, slot: usize, prompt: &[u32]) -> Result<()> {
        let (machine, tokens) = (self.machine.clone(), prompt.len());
        let lists = &mut self.lists;
        let ids = lists.ids.fill(&machine, &super::batch::signed(prompt))?;
        let slots = lists.slots.fill(&machine, &vec![slot as i32; tokens])?;
        let positions = lists.positions.fill(&machine, &(0..tokens as i32).collect::<Vec<_>>())?;
        let tiles = Tiles::new(&[Segment::alone(0..tokens)]);
        let query_tiles = lists.tiles.fill(&machine, &tiles.queries)?;
        let packed =
            Packed { query_tiles, key_tiles: Ptr::NULL, tiles: tiles.count(), tokens, heads: heads(&self.spec) };
        let mut buffers = std::mem::take(&mut self.prefill);
        buffers.reserve(&machine, &self.spec, tokens, false)?;
        let run =
            self.trunk(&mut buffers, [ids, slots, positions], tokens, &Attention::Prompt(&packed)).and_then(|()| {
                let last = Matrix::new(buffers.x.ptr(), self.spec.hidden).below(tokens - 1);
                let logits = self.prompt_logits.sized(&machine, stride(&self.spec))?;
                self.logits(&mut buffers, last, 1, logits).map(drop)
            });
        self.prefill = buffers;
        run
    }

    /// Lets slots go on from where `from` stands, `length` tokens into its sequence.
    pub(crate) fn copy(&mut self, from: usize, to: &[usize], length: usize) -> Result<()> {
        let (machine, cache) = (self.machine.clone(), self.cache());
        let to: Vec<i32> = to.iter().map(|&slot| slot as i32).collect();
        let lists = [vec![from as i32; to.len()], to.clone(), vec![length as i32; to.len()]];
        let mut pointers = [Ptr::NULL; 3];
        for ((memory, list), pointer) in self.lists.copies.iter_mut().zip(&lists).zip(&mut pointers) {
            *pointer = memory.fill(&machine, list)?;
        }
        machine.launch(&ops::kv_copy(&cache, pointers, to.len(), self.spec.layers.len()))
    }

    /// Draws the first token of each sample after the prompt that was prefilled last.
    pub(crate) fn begin(&mut self, draws: &[Draw]) -> Result<Vec<Drawn>> {
        let rows: Vec<Fed> = draws.iter().map(|&draw| Fed { token: 0, slot: 0, position: 0, draw }).collect();
        let inputs = self.upload(&rows, rows.len())?;
        // All rows read the same logits.
        let logits =
            Logits { start: self.prompt_logits.ptr(), rows: rows.len(), vocabulary: self.spec.head.out, stride: 0 };
        let [tokens, log_probs] = self.results(rows.len());
        self.launch(&ops::sample(tokens, log_probs.cast(), &logits, &inputs.draws))?;
        self.download(rows.len(), rows.len())
    }

    /// Feeds the model a token per row and draws the next of each. Rows of one slot must follow each other, in order of their
    /// positions; what is drawn after all but the last of them means nothing.
    pub(crate) fn step(&mut self, rows: &[Fed]) -> Result<Vec<Drawn>> {
        let bucket = rows.len().next_power_of_two();
        self.upload(rows, bucket)?;
        let mut buffers = std::mem::take(&mut self.step);
        let run = self.run_bucket(&mut buffers, bucket);
        self.step = buffers;
        run?;
        self.download(rows.len(), bucket)
    }

    fn run_bucket(&mut self, buffers: &mut Buffers, bucket: usize) -> Result<()> {
        if let Some(graph) = self.graphs.get(&bucket) {
            return graph.replay();
        }
        // The first time as it is: kernels get compiled and buffers allocated, neither of which can be recorded.
        self.queue_step(buffers, bucket)?;
        let machine = self.machine.clone();
        let graph = machine.record(&mut || self.queue_step(buffers, bucket))?;
        self.graphs.insert(bucket, graph);
        Ok(())
    }

    fn queue_step(&self, buffers: &mut Buffers, rows: usize) -> Result<()> {
        let Inputs { ids, slots, positions, lengths, draws } = self.inputs(rows);
        let splits = ops::decode_splits(rows, heads(&self.spec), self.machine.processors());
        self.trunk(buffers, [ids, slots, positions], rows, &Attention::Slots { lengths, splits })?;
        let x = Matrix::new(buffers.x.ptr(), self.spec.hidden);
        let start = buffers.logits.ptr();
        let logits = self.logits(buffers, x, rows, start)?;
        let [tokens, log_probs] = self.results(rows);
        self.launch(&ops::sample(tokens, log_probs.cast(), &logits, &draws))
    }

    /// From ids to what leaves the last layer, in `buffers.x`; keys and values go into their slots.
    fn trunk(
        &self,
        buffers: &mut Buffers,
        [ids, slots, positions]: [Ptr<i32>; 3],
        rows: usize,
        attention: &Attention,
    ) -> Result<()> {
        let (hidden, shape) = (self.spec.hidden, (rows, self.spec.hidden));
        let (table, half) = (buffers.table.ptr(), self.spec.head_dim / 2);
        self.launch(&ops::rope_table(table, positions, self.frequencies.ptr(), (rows, half)))?;
        let x = Matrix::new(buffers.x.ptr(), hidden);
        self.launch(&ops::embedding_forward(x.start, self.weights.at(&self.spec.embedding), ids, shape))?;
        for (index, layer) in self.spec.layers.iter().enumerate() {
            let cache = self.cache().layer(index);
            self.attend(buffers, layer, &cache, [slots, positions], rows, attention)?;
            self.gate(buffers, layer, rows)?;
        }
        Ok(())
    }

    fn attend(
        &self,
        buffers: &mut Buffers,
        layer: &LayerSpec,
        cache: &Cache,
        [slots, positions]: [Ptr<i32>; 2],
        rows: usize,
        attention: &Attention,
    ) -> Result<()> {
        let (spec, project) = (&self.spec, self.projector());
        let (queries, keys) = (spec.queries(), spec.keys());
        let x = Matrix::new(buffers.x.ptr(), spec.hidden);
        let normed = self.norm(buffers, x, rows, &layer.input_norm)?;
        let qkv = Matrix::new(buffers.qkv.ptr(), layer.qkv.out);
        project.forward(Target::Bf16(qkv), Into::Fresh, normed, rows, &layer.qkv, &mut buffers.narrow)?;
        let all = Rows::new(qkv.start, qkv.stride);
        let norms = layer.head_norms.as_ref();
        let norms = norms.map_or([Ptr::NULL; 2], |norms| norms.each_ref().map(|norm| self.weights.at(norm)));
        let table = buffers.table.ptr();
        self.launch(&ops::head_norm_rope_forward(all, all, norms, table, rows, heads(spec), spec.eps))?;
        let [k, v] = [all.from(queries), all.from(queries + keys)];
        self.launch(&ops::kv_append(cache, [k, v], slots, positions, rows))?;
        let attended = Matrix::new(buffers.attended.ptr(), queries);
        match attention {
            Attention::Prompt(packed) => {
                let log_sums = buffers.log_sums.ptr();
                self.launch(&ops::attention_forward(attended.start, log_sums, [all, k, v], packed))?;
            }
            Attention::Slots { lengths, splits } => {
                let (o, partial) = (attended.start, buffers.partial.ptr());
                for launch in ops::attention_decode(o, partial, all, cache, [slots, *lengths], rows, *splits) {
                    self.launch(&launch)?;
                }
            }
        }
        project.forward(Target::Bf16(x), Into::Sum, attended, rows, &layer.output, &mut buffers.narrow)
    }

    fn gate(&self, buffers: &mut Buffers, layer: &LayerSpec, rows: usize) -> Result<()> {
        let (inner, project) = (self.spec.inner, self.projector());
        let x = Matrix::new(buffers.x.ptr(), self.spec.hidden);
        let normed = self.norm(buffers, x, rows, &layer.post_norm)?;
        let gate_up = Matrix::new(buffers.gate_up.ptr(), 2 * inner);
        project.forward(Target::Bf16(gate_up), Into::Fresh, normed, rows, &layer.gate_up, &mut buffers.narrow)?;
        let gated = Matrix::new(buffers.gated.ptr(), inner);
        self.launch(&ops::swiglu_forward(gated.start, gate_up.start, (rows, inner)))?;
        project.forward(Target::Bf16(x), Into::Sum, gated, rows, &layer.down, &mut buffers.narrow)
    }

    fn norm(&self, buffers: &Buffers, x: Matrix, rows: usize, weight: &Span) -> Result<Matrix> {
        let (normed, hidden) = (buffers.normed.ptr(), self.spec.hidden);
        let weight = self.weights.at(weight);
        self.launch(&ops::rms_norm_forward(normed, x.start, weight, (rows, hidden), self.spec.eps))?;
        Ok(Matrix::new(normed, hidden))
    }

    /// Logits of rows of x, at `start`.
    fn logits(&self, buffers: &mut Buffers, x: Matrix, rows: usize, start: Ptr<f32>) -> Result<Logits> {
        let (vocabulary, stride) = (self.spec.head.out, stride(&self.spec));
        let normed = self.norm(buffers, x, rows, &self.spec.norm)?;
        let target = Target::F32 { start, stride };
        self.projector().forward(target, Into::Fresh, normed, rows, &self.spec.head, &mut buffers.narrow)?;
        Ok(Logits { start, rows, vocabulary, stride })
    }

    fn projector(&self) -> Projector<'_> {
        Projector { machine: &self.machine, spec: &self.spec, weights: &self.weights }
    }

    fn launch(&self, launch: &Launch) -> Result<()> {
        self.machine.launch(launch)
    }

    fn inputs(&self, rows: usize) -> Inputs {
        let words = self.inputs.ptr::<f64>();
        let column = |number: usize| words.at(rows).cast::<i32>().at(number * rows);
        let draws =
            Draws { temperatures: column(4).cast(), top_k: column(5), top_p: column(6).cast(), uniforms: words };
        Inputs { ids: column(0), slots: column(1), positions: column(2), lengths: column(3), draws }
    }

    /// Inputs of `bucket` rows, of which those past the end are place holders.
    fn upload(&mut self, rows: &[Fed], bucket: usize) -> Result<Inputs> {
        let nobody = Draw { temperature: 1.0, top_k: 0, top_p: 1.0, uniform: 0.0 };
        let draws: Vec<Draw> = (0..bucket).map(|row| rows.get(row).map_or(nobody, |row| row.draw)).collect();
        let of_row = |absent: i32, value: &dyn Fn(&Fed) -> i32| {
            (0..bucket).map(|row| rows.get(row).map_or(absent, value)).collect::<Vec<i32>>()
        };
        let bits = |value: f32| value.to_bits() as i32;
        let columns = [
            of_row(0, &|row| row.token as i32),
            of_row(-1, &|row| row.slot as i32),
            of_row(0, &|row| row.position as i32),
            of_row(0, &|row| row.position as i32 + 1),
            draws.iter().map(|draw| bits(draw.temperature)).collect(),
            draws.iter().map(|draw| draw.top_k as i32).collect(),
            draws.iter().map(|draw| bits(draw.top_p)).collect(),
        ]
        .concat();
        let uniforms: Vec<f64> = draws.iter().map(|draw| draw.uniform).collect();
        let bytes = [bytemuck::cast_slice::<f64, u8>(&uniforms), bytemuck::cast_slice(&columns)].concat();
        // Never grows: graphs hold the address.
        assert!(bucket <= self.size.rows.next_power_of_two(), "{bucket} rows, {} have room", self.size.rows);
        self.machine.upload(self.inputs.ptr::<f64>().address, &bytes)?;
        Ok(self.inputs(bucket))
    }

    /// Where tokens and log-probabilities of so many rows are written.
    fn results(&self, rows: usize) -> [Ptr<i32>; 2] {
        let start = self.outputs.ptr();
        [start, start.at(rows)]
    }

    /// The first `count` of a bucket's results.
    fn download(&self, count: usize, bucket: usize) -> Result<Vec<Drawn>> {
        let all: Vec<i32> = read(self.machine.as_ref(), self.outputs.ptr(), 2 * bucket)?;
        let pairs = all[..count].iter().zip(&all[bucket..]);
        Ok(pairs.map(|(&token, &bits)| Drawn { token: token as u32, log_prob: f32::from_bits(bits as u32) }).collect())
    }
}
