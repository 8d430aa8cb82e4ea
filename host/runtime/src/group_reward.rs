//! `GroupReward`: many groups in, one judgement of each out.

use std::sync::Arc;

use crate::plugin::Plugin;
use crate::{Digest, Fault, Judgement, Sample, Score, judge};

/// A plugin that judges the answers to one task together: which is the best, how much they differ.
///
/// A clone is a counter; `Send + Sync`; lives as long as you keep it. Each group is one call, on the plugin's limits for
/// one sample, in a fresh instance; under [`Isolation::Worker`](crate::Isolation::Worker) in one that judged other groups
/// before. Awaiting works on any executor.
#[derive(Clone)]
pub struct GroupReward {
    pub(crate) plugin: Plugin,
}

impl GroupReward {
    /// The name the plugin was loaded under.
    pub fn name(&self) -> &str {
        self.plugin.name()
    }

    /// The SHA-256 of the plugin's bytes.
    pub fn digest(&self) -> Digest {
        self.plugin.digest()
    }

    /// The plugin this is.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// The scores of each group, or one fault for all of it: same length and order, groups and members; never panics.
    pub async fn score_groups(&self, groups: impl Into<Arc<[Vec<Sample>]>>) -> Vec<Result<Vec<Score>, Fault>> {
        self.judge_groups(groups).await.into_iter().map(|judgement| judgement.result).collect()
    }

    /// The same with receipts, one for each group.
    pub async fn judge_groups(&self, groups: impl Into<Arc<[Vec<Sample>]>>) -> Vec<Judgement<Vec<Score>>> {
        judge::judge(&self.plugin, groups.into()).await
    }
}
