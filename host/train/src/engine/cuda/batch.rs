//! A batch on the device: its tokens, and the lists that kernels go by.

use std::sync::Arc;

use super::launch::Ptr;
use super::machine::{Machine, Memory};
use super::ops::{self, Heads, Occurrences, Packed, Tiles};
use crate::batch::MicroBatch;
use crate::engine::Spec;
use crate::error::Result;

/// What a pass knows of its batch. The buffers are used again for the next one.
#[derive(Default)]
pub(crate) struct OnDevice {
    ids: Memory,
    positions: Memory,
    frequencies: Memory,
    table: Memory,
    query_tiles: Memory,
    key_tiles: Memory,
    occurrences: [Memory; 3],
    places: Memory,
    place_of: Memory,
    targets: Memory,
    tiles: usize,
    distinct: usize,
    tokens: usize,
}

impl OnDevice {
    /// Lays a batch out. `learns` says whether the embedding's gradient will be wanted.
    pub(crate) fn fill(
        &mut self,
        machine: &Arc<dyn Machine>,
        spec: &Spec,
        batch: &MicroBatch,
        learns: bool,
    ) -> Result<()> {
        self.tokens = batch.ids.len();
        self.ids.fill(machine, &signed(&batch.ids))?;
        let positions = self.positions.fill(machine, &signed(&batch.positions))?;
        let frequencies = self.frequencies.fill(machine, &spec.frequencies)?;
        let table = self.table.sized::<f32>(machine, self.tokens * spec.head_dim)?;
        machine.launch(&ops::rope_table(table, positions, frequencies, (self.tokens, spec.head_dim / 2)))?;

        let tiles = Tiles::new(&batch.segments);
        self.tiles = tiles.count();
        self.query_tiles.fill(machine, &tiles.queries)?;
        self.key_tiles.fill(machine, &tiles.keys)?;

        let places: Vec<i32> = batch.places.iter().map(|&place| place as i32).collect();
        self.places.fill(machine, &places)?;
        self.targets.fill(machine, &signed(&batch.targets))?;
        if learns {
            let mut place_of = vec![-1; self.tokens];
            batch.places.iter().enumerate().for_each(|(at, &place)| place_of[place] = at as i32);
            self.place_of.fill(machine, &place_of)?;
            let Occurrences { distinct, starts, order } = Occurrences::new(&batch.ids);
            self.distinct = distinct.len();
            for (memory, list) in self.occurrences.iter_mut().zip([distinct, starts, order]) {
                memory.fill(machine, &list)?;
            }
        }
        Ok(())
    }

    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }

    pub(crate) fn ids(&self) -> Ptr<i32> {
        self.ids.ptr()
    }

    /// Cosines and sines of each token's position (T, D).
    pub(crate) fn table(&self) -> Ptr<f32> {
        self.table.ptr()
    }

    /// Where the model is asked (N), and the other way round, per token (T).
    pub(crate) fn places(&self) -> [Ptr<i32>; 2] {
        [self.places.ptr(), self.place_of.ptr()]
    }

    pub(crate) fn targets(&self) -> Ptr<i32> {
        self.targets.ptr()
    }

    /// The lists of [`Occurrences`], and how many ids there are.
    pub(crate) fn occurrences(&self) -> ([Ptr<i32>; 3], usize) {
        (self.occurrences.each_ref().map(Memory::ptr), self.distinct)
    }

    /// The sequences, for attention.
    pub(crate) fn packed(&self, heads: Heads) -> Packed {
        Packed {
            query_tiles: self.query_tiles.ptr(),
            key_tiles: self.key_tiles.ptr(),
            tiles: self.tiles,
            tokens: self.tokens,
            heads,
        }
    }
}

/// Ids, as kernels read them.
pub(crate) fn signed(ids: &[u32]) -> Vec<i32> {
    ids.iter().map(|&id| id as i32).collect()
}
