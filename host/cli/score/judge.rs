//! Has chunks judged: requests with equal settings share a configured plugin, all of a chunk's groups run at once.

use std::collections::{BTreeMap, VecDeque};

use anyhow::Result;
use rewarden_runtime::{Error, Fault, Judgement, Plugin, Reward, Sample};
use serde_json::Value;
use tokio::task::JoinSet;

use super::answer::Answer;
use super::request::{Request, Task};

/// Configured plugins that are kept, the least recently used one going first.
const CONFIGURED_MAX: usize = 64;

/// A plugin and its configurations so far.
pub(crate) struct Judge {
    plugin: Plugin,
    /// By settings as JSON text; the most recently used last. Refusals are kept too.
    configured: VecDeque<(String, Result<Reward, Fault>)>,
}

/// Requests of a chunk that are judged under the same settings.
#[derive(Default)]
struct Group {
    settings: Value,
    places: Vec<usize>,
    samples: Vec<Sample>,
}

impl Judge {
    /// Fails when the plugin is no reward.
    pub(crate) fn new(plugin: Plugin) -> Result<Judge> {
        let default = ("{}".to_owned(), Ok(plugin.reward()?));
        Ok(Judge { plugin, configured: VecDeque::from([default]) })
    }

    /// One answer per request, in their order.
    pub(crate) async fn answer(&mut self, requests: Vec<Request>) -> Vec<Answer> {
        let mut ids: Vec<Option<Value>> = Vec::with_capacity(requests.len());
        let mut answers: Vec<Option<Answer>> = Vec::with_capacity(requests.len());
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for Request { id, task } in requests {
            match task {
                Err(reason) => answers.push(Some(Answer::bad_input(id, reason))),
                Ok(Task { sample, settings }) => {
                    let group = groups.entry(settings.to_string()).or_default();
                    group.settings = settings;
                    group.places.push(ids.len());
                    group.samples.push(sample);
                    ids.push(Some(id));
                    answers.push(None);
                    continue;
                }
            }
            ids.push(None);
        }
        for (place, judgement) in self.judge(groups).await {
            let id = ids[place].take().unwrap_or_default();
            answers[place] = Some(match judgement {
                Ok(judgement) => Answer::judged(id, judgement),
                Err(fault) => Answer::fault(id, &fault),
            });
        }
        answers.into_iter().map(|answer| answer.expect("each place is bad input or in one group")).collect()
    }

    async fn judge(&mut self, groups: BTreeMap<String, Group>) -> Vec<(usize, Result<Judgement, Fault>)> {
        let mut judged = Vec::new();
        let mut running = JoinSet::new();
        for (key, group) in groups {
            match self.reward(key, group.settings).await {
                Ok(reward) => {
                    running.spawn(async move { (group.places, reward.judge_batch(group.samples).await) });
                }
                Err(fault) => judged.extend(group.places.into_iter().map(|place| (place, Err(fault.clone())))),
            }
        }
        while let Some(done) = running.join_next().await {
            let (places, judgements) = done.expect("judging does not panic");
            judged.extend(places.into_iter().zip(judgements.into_iter().map(Ok)));
        }
        judged
    }

    /// The plugin under these settings, or its refusal of them.
    async fn reward(&mut self, key: String, settings: Value) -> Result<Reward, Fault> {
        let entry = match self.configured.iter().position(|(known, _)| *known == key) {
            Some(place) => self.configured.remove(place).expect("just found"),
            None => (key, self.configure(settings).await),
        };
        let reward = entry.1.clone();
        self.configured.push_back(entry);
        if self.configured.len() > CONFIGURED_MAX {
            self.configured.pop_front();
        }
        reward
    }

    async fn configure(&self, settings: Value) -> Result<Reward, Fault> {
        match self.plugin.configured(settings, 0).await.and_then(|plugin| plugin.reward()) {
            Ok(reward) => Ok(reward),
            Err(Error::Configure { fault, .. }) => Err(fault),
            Err(error) => Err(Fault::Internal(error.to_string())),
        }
    }
}
