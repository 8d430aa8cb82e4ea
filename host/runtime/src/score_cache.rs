//! Scores that were given before: for plugins that answer equal input with equal scores, judging again is looking up.
//!
//! The key is everything a score depends on: component, settings, seed, limits, engine profile and the sample. Only scores
//! are kept, never faults. In memory the cache is bounded and forgets; on disk it is an embedded database, private like the
//! native code beside it, and each entry is authenticated, because a forged one would be a forged reward.

use std::sync::{Arc, OnceLock};

use quick_cache::Weighter;
use quick_cache::sync::Cache as Memory;
use redb::{Database, Durability, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::{Digest, Sample, Score};

/// Memory for scores in a process.
const MEMORY_BYTES_MAX: u64 = 64 << 20;

/// Scores on disk; past this they are forgotten and gathered anew.
const STORED_MAX: u64 = 2_000_000;

const SCORES: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("scores");
const MAC_BYTES: usize = 32;

/// Whether a plugin's scores are remembered.
///
/// One byte, `Copy`. Written in a configuration as `cache = "memory"`. A plugin whose scores are remembered does not see
/// the sample's `id`, `group` and `step`, which differ between equal answers; so what it says cannot depend on them. A
/// plugin that may ask host services is never remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheScores {
    /// Every sample is judged.
    #[default]
    Off,
    /// In this process, in at most 64 MiB for all plugins.
    Memory,
    /// And in the runtime's cache folder, for later processes; in memory alone where there is no folder.
    Disk,
}

/// The caches of a process.
pub(crate) struct Scores {
    memory: Arc<Memory<Digest, Kept, Bytes>>,
    disk: Option<Arc<Disk>>,
}

/// A score and what it took to get it, which is the same each time it is judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) score: Score,
    pub(crate) fuel: u64,
    pub(crate) memory_bytes_peak: usize,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Digest, Kept> for Bytes {
    fn weight(&self, _: &Digest, Kept { score, .. }: &Kept) -> u64 {
        let metrics = score.components.iter().chain(&score.metrics).map(|metric| metric.name.len() + 40).sum::<usize>();
        (200 + score.note.len() + 8 * score.steps.len() + metrics) as u64
    }
}

impl Scores {
    pub(crate) fn new(folder: Option<Arc<Cache>>) -> Scores {
        Scores {
            memory: Arc::new(Memory::with_weighter(100_000, MEMORY_BYTES_MAX, Bytes)),
            disk: folder.map(|folder| Arc::new(Disk { folder, database: OnceLock::new() })),
        }
    }
}

/// One plugin's view of the caches.
pub(crate) struct ScoreCache {
    /// Everything but the sample.
    plugin: Digest,
    memory: Arc<Memory<Digest, Kept, Bytes>>,
    disk: Option<Arc<Disk>>,
}

impl ScoreCache {
    /// None for a plugin whose scores are not remembered.
    pub(crate) fn of(scores: &Scores, cache: CacheScores, plugin: Digest) -> Option<ScoreCache> {
        let disk = match cache {
            CacheScores::Off => return None,
            CacheScores::Memory => None,
            CacheScores::Disk => scores.disk.clone(),
        };
        Some(ScoreCache { plugin, memory: scores.memory.clone(), disk })
    }

    /// The sample as the plugin sees it.
    pub(crate) fn seen(sample: &Sample) -> Sample {
        Sample { id: String::new(), group: String::new(), step: 0, ..sample.clone() }
    }

    /// What the score of this sample depends on.
    pub(crate) fn key(&self, sample: &Sample) -> Digest {
        let Sample {
            id: _,
            group: _,
            step: _,
            data_source,
            prompt,
            completion,
            ground_truth,
            extra,
            stop_reason,
            turn_scores,
            completion_tokens,
        } = sample;
        let rest = (data_source, prompt, completion, ground_truth, extra, stop_reason, turn_scores, completion_tokens);
        let sample = serde_json::to_vec(&rest).expect("plain data");
        Digest::of_parts(&[self.plugin.bytes(), &sample])
    }

    /// The scores that are known. What the disk knows is in memory afterwards.
    pub(crate) fn find(&self, keys: &[Digest]) -> Vec<Option<Kept>> {
        let mut found: Vec<Option<Kept>> = keys.iter().map(|key| self.memory.get(key)).collect();
        if let Some(disk) = &self.disk {
            let missing: Vec<usize> = (0..keys.len()).filter(|&index| found[index].is_none()).collect();
            disk.find(keys, &missing, |index, kept| {
                self.memory.insert(keys[index], kept.clone());
                found[index] = Some(kept);
            });
        }
        found
    }

    /// Remembers new scores.
    pub(crate) fn keep(&self, new: &[(Digest, Kept)]) {
        for (key, kept) in new {
            self.memory.insert(*key, kept.clone());
        }
        if let Some(disk) = &self.disk {
            disk.keep(new);
        }
    }
}

/// The database in the cache folder, opened by the first plugin that needs it.
struct Disk {
    folder: Arc<Cache>,
    database: OnceLock<Option<Database>>,
}

impl Disk {
    /// No failure in here fails a score: the worst case is judging again.
    fn open(&self) -> Option<&Database> {
        let open = || {
            let path = self.folder.path("scores.redb");
            Database::create(&path)
                .or_else(|error| {
                    // Another process has it open: then it is not ours to replace.
                    if matches!(error, redb::DatabaseError::DatabaseAlreadyOpen) {
                        return Err(error);
                    }
                    log::warn!("{}: {error}; starting a new one", path.display());
                    std::fs::remove_file(&path).map_err(redb::StorageError::Io)?;
                    Database::create(&path)
                })
                .inspect_err(|error| log::warn!("no scores are kept in {}: {error}", path.display()))
                .ok()
        };
        self.database.get_or_init(open).as_ref()
    }

    fn find(&self, keys: &[Digest], indices: &[usize], mut found: impl FnMut(usize, Kept)) {
        let mut read = || -> Result<(), redb::Error> {
            let Some(database) = self.open() else { return Ok(()) };
            let transaction = database.begin_read()?;
            let table = transaction.open_table(SCORES)?;
            for &index in indices {
                let entry = table.get(keys[index].bytes())?;
                if let Some(kept) = entry.and_then(|entry| self.authentic(&keys[index], entry.value())) {
                    found(index, kept);
                }
            }
            Ok(())
        };
        match read() {
            // The table is made by the first score that is kept.
            Ok(()) | Err(redb::Error::TableDoesNotExist(_)) => {}
            Err(error) => log::warn!("the stored scores cannot be read: {error}"),
        }
    }

    fn authentic(&self, key: &Digest, entry: &[u8]) -> Option<Kept> {
        let (tag, kept) = entry.split_at_checked(MAC_BYTES)?;
        if !self.folder.vouches(&key.hex(), kept, tag) {
            return None;
        }
        serde_json::from_slice(kept).ok()
    }

    fn keep(&self, new: &[(Digest, Kept)]) {
        let write = || -> Result<(), redb::Error> {
            let Some(database) = self.open() else { return Ok(()) };
            let mut transaction = database.begin_write()?;
            // What a crash loses is judged again.
            transaction.set_durability(Durability::None)?;
            {
                let mut table = transaction.open_table(SCORES)?;
                if table.len()? >= STORED_MAX {
                    table.retain(|_, _| false)?;
                }
                for (key, kept) in new {
                    let kept = serde_json::to_vec(kept).expect("plain data");
                    let mut entry = self.folder.mac(&key.hex(), &kept).to_vec();
                    entry.extend(kept);
                    table.insert(key.bytes(), entry.as_slice())?;
                }
            }
            transaction.commit()?;
            Ok(())
        };
        if let Err(error) = write() {
            log::warn!("scores are not stored: {error}");
        }
    }
}

impl Drop for Disk {
    /// Commits without durability reach the disk with the next one that has it.
    fn drop(&mut self) {
        if let Some(Some(database)) = self.database.get() {
            let flushed = database.begin_write().map(|transaction| transaction.commit());
            if !matches!(flushed, Ok(Ok(()))) {
                log::warn!("the last scores are not stored");
            }
        }
    }
}
