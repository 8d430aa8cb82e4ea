//! A plugin's exports: found once in compiled code, entered once per instance, called with checked answers.

use wasmtime::component::{Instance, InstancePre};

use crate::generated::exports::rewarden::plugin::environment::{self, Task, Transition};
use crate::generated::exports::rewarden::plugin::{group_reward, reward, tool};
use crate::instance::{Session, State};
use crate::{Fault, Message, Metric, Sample, Score, ToolCall, ToolOutput, ToolSpec, World, output};

/// Where a component's code is entered: the interface that its world exports beside `plugin`.
pub(crate) enum Entry {
    Reward(reward::GuestIndices),
    GroupReward(group_reward::GuestIndices),
    Environment(environment::GuestIndices),
    Tool(tool::GuestIndices),
}

/// The same in one instance.
pub(crate) enum Guest {
    Reward(reward::Guest),
    GroupReward(group_reward::Guest),
    Environment(environment::Guest),
    Tool(tool::Guest),
}

impl Entry {
    pub(crate) fn of(world: World, pre: &InstancePre<State>) -> wasmtime::Result<Entry> {
        Ok(match world {
            World::RewardPlugin | World::ModelRewardPlugin => Entry::Reward(reward::GuestIndices::new(pre)?),
            World::GroupRewardPlugin => Entry::GroupReward(group_reward::GuestIndices::new(pre)?),
            World::EnvironmentPlugin => Entry::Environment(environment::GuestIndices::new(pre)?),
            World::ToolPlugin => Entry::Tool(tool::GuestIndices::new(pre)?),
        })
    }

    pub(crate) fn load(&self, session: &mut Session, instance: &Instance) -> Result<Guest, Fault> {
        let store = &mut session.store;
        let guest = match self {
            Entry::Reward(indices) => indices.load(store, instance).map(Guest::Reward),
            Entry::GroupReward(indices) => indices.load(store, instance).map(Guest::GroupReward),
            Entry::Environment(indices) => indices.load(store, instance).map(Guest::Environment),
            Entry::Tool(indices) => indices.load(store, instance).map(Guest::Tool),
        };
        guest.map_err(|error| session.fault(error))
    }
}

/// A `Reward`, a `GroupReward`, an `Environment` and a `Tool` are only made of a plugin of that world.
const OTHER_WORLD: &str = "a guest of another world was asked";

impl Guest {
    /// Has samples judged in one call. The outer fault is the call's: then none of them is judged.
    pub(crate) async fn score(
        &self,
        session: &mut Session,
        samples: &[Sample],
    ) -> Result<Vec<Result<Score, Fault>>, Fault> {
        let Guest::Reward(guest) = self else { unreachable!("{OTHER_WORLD}") };
        let answers = guest.call_score_batch(&mut session.store, samples).await;
        output::scores(answers.map_err(|error| session.fault(error))?, samples.len(), session.output_bytes_max())
    }

    /// Has a group judged, all or none of it.
    pub(crate) async fn score_group(&self, session: &mut Session, group: &[Sample]) -> Result<Vec<Score>, Fault> {
        let Guest::GroupReward(guest) = self else { unreachable!("{OTHER_WORLD}") };
        let answer = guest.call_score_group(&mut session.store, group).await.map_err(|error| session.fault(error))?;
        output::group(answer.map_err(Fault::from_guest)?, group.len(), session.output_bytes_max())
    }

    /// Begins the instance's episode.
    pub(crate) async fn start(&self, session: &mut Session, task: &Task, seed: u32) -> Result<Vec<Message>, Fault> {
        let Guest::Environment(guest) = self else { unreachable!("{OTHER_WORLD}") };
        let answer = guest.call_start(&mut session.store, task, seed).await.map_err(|error| session.fault(error))?;
        output::messages(answer.map_err(Fault::from_guest)?, session.output_bytes_max())
    }

    /// Hands the episode a message of the policy.
    pub(crate) async fn step(&self, session: &mut Session, action: &Message) -> Result<Transition, Fault> {
        let Guest::Environment(guest) = self else { unreachable!("{OTHER_WORLD}") };
        let answer = guest.call_step(&mut session.store, action).await.map_err(|error| session.fault(error))?;
        output::transition(answer.map_err(Fault::from_guest)?, session.output_bytes_max())
    }

    /// Ends the episode.
    pub(crate) async fn finish(&self, session: &mut Session) -> Result<Vec<Metric>, Fault> {
        let Guest::Environment(guest) = self else { unreachable!("{OTHER_WORLD}") };
        let metrics = guest.call_finish(&mut session.store).await.map_err(|error| session.fault(error))?;
        output::metrics(metrics)
    }

    /// The functions of a tool plugin.
    pub(crate) async fn list_tools(&self, session: &mut Session) -> Result<Vec<ToolSpec>, Fault> {
        let Guest::Tool(guest) = self else { unreachable!("{OTHER_WORLD}") };
        let specs = guest.call_list_tools(&mut session.store).await.map_err(|error| session.fault(error))?;
        output::tool_specs(specs, session.output_bytes_max())
    }

    /// Has a tool plugin run one call.
    pub(crate) async fn call_tool(&self, session: &mut Session, call: &ToolCall) -> Result<ToolOutput, Fault> {
        let Guest::Tool(guest) = self else { unreachable!("{OTHER_WORLD}") };
        let answer = guest.call_call(&mut session.store, call).await.map_err(|error| session.fault(error))?;
        output::tool_output(answer.map_err(Fault::from_guest)?, session.output_bytes_max())
    }
}
