//! One plugin's work in rounds that cost the host as little as possible: what is asked is prepared once.

use std::sync::Arc;

use anyhow::{Result, bail};
use rewarden_runtime::{
    Environment, Error, GroupReward, Judgement, Message, Plugin, Receipt, Reward, Sample, Task, Tool, ToolCall, World,
};
use tokio::task::JoinSet;

use crate::plugin::cases::Input;
use crate::plugin::subject::Question;

/// What a plugin is asked, over and over.
#[derive(Clone)]
pub(super) enum Work {
    Samples(Reward, Arc<[Sample]>),
    Groups(GroupReward, Arc<[Vec<Sample>]>),
    Episodes(Environment, Arc<[Episode]>),
    Calls(Tool, Arc<[ToolCall]>),
}

/// A task, its seed, and what the policy says.
type Episode = (Task, u32, Vec<Message>);

/// What one question took.
pub(super) struct Unit {
    /// The call that made an instance, or was given a warm one.
    pub(super) first: Receipt,
    /// Further calls of the same instance: the turns of an episode.
    pub(super) further: Vec<Receipt>,
    pub(super) is_fault: bool,
}

impl Unit {
    /// Of all its calls.
    pub(super) fn receipts(&self) -> impl Iterator<Item = &Receipt> {
        [&self.first].into_iter().chain(&self.further)
    }
}

impl Work {
    /// Questions of the plugin's kind, repeated to a round of so many.
    pub(super) async fn new(plugin: &Plugin, questions: &[Question], round: usize) -> Result<Work, Error> {
        let inputs = || questions.iter().cycle().take(round).map(|question| question.input.clone());
        Ok(match plugin.world() {
            World::GroupRewardPlugin => {
                Work::Groups(plugin.group_reward()?, inputs().filter_map(Input::group).collect())
            }
            World::EnvironmentPlugin => {
                let seeds = questions.iter().cycle().map(|question| question.seed);
                let episode = |((task, actions), seed)| (task, seed, actions);
                let episodes = inputs().filter_map(Input::episode).zip(seeds).map(episode);
                Work::Episodes(plugin.environment()?, episodes.collect())
            }
            World::ToolPlugin => Work::Calls(plugin.tool().await?, inputs().filter_map(Input::call).collect()),
            _ => Work::Samples(plugin.reward()?, inputs().filter_map(Input::sample).collect()),
        })
    }

    /// What one question is, in the table.
    pub(super) fn unit(world: World) -> &'static str {
        match world {
            World::GroupRewardPlugin => "group",
            World::EnvironmentPlugin => "episode",
            World::ToolPlugin => "call",
            _ => "sample",
        }
    }

    /// All of it once, as many at a time as there are threads.
    pub(super) async fn round(&self, threads: usize) -> Result<Vec<Unit>> {
        Ok(match self {
            Work::Samples(reward, samples) => units(reward.judge_batch(samples.clone()).await),
            Work::Groups(reward, groups) => units(reward.judge_groups(groups.clone()).await),
            Work::Episodes(environment, episodes) => {
                let (environment, episodes) = (environment.clone(), episodes.clone());
                at_once(threads, episodes.len(), move |place| play(environment.clone(), episodes[place].clone()))
                    .await?
            }
            Work::Calls(tool, calls) => {
                let (tool, calls) = (tool.clone(), calls.clone());
                at_once(threads, calls.len(), move |place| call(tool.clone(), calls[place].clone())).await?
            }
        })
    }
}

fn units<T>(judgements: Vec<Judgement<T>>) -> Vec<Unit> {
    let unit = |judgement: Judgement<T>| Unit {
        first: judgement.receipt,
        further: vec![],
        is_fault: judgement.result.is_err(),
    };
    judgements.into_iter().map(unit).collect()
}

async fn call(tool: Tool, call: ToolCall) -> Unit {
    let judgement = tool.judge_call(call).await;
    Unit { first: judgement.receipt, further: vec![], is_fault: judgement.result.is_err() }
}

async fn play(environment: Environment, (task, seed, actions): Episode) -> Unit {
    let (mut episode, started) = environment.start(task, seed).await;
    let mut unit = Unit { first: episode.receipt(), further: vec![], is_fault: started.is_err() };
    for action in actions {
        if unit.is_fault || episode.is_over() {
            break;
        }
        unit.is_fault = episode.step(action).await.is_err();
        unit.further.push(episode.receipt());
    }
    unit.is_fault |= episode.finish().await.is_err();
    unit
}

/// Runs jobs by their places, so many at a time.
async fn at_once<F: Future<Output = Unit> + Send + 'static>(
    threads: usize,
    jobs: usize,
    job: impl Fn(usize) -> F,
) -> Result<Vec<Unit>> {
    let (mut running, mut done, mut next) = (JoinSet::new(), vec![], 0);
    while next < jobs || !running.is_empty() {
        while next < jobs && running.len() < threads {
            running.spawn(job(next));
            next += 1;
        }
        match running.join_next().await {
            Some(Ok(unit)) => done.push(unit),
            Some(Err(error)) => bail!("a call was lost: {error}"),
            None => {}
        }
    }
    Ok(done)
}
