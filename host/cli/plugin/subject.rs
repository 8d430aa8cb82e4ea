//! A plugin as the author's verbs see it: loaded with what it asks for, and asked whatever its kind is asked.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rewarden_runtime::{
    Environment, Error, Fault, Grants, GroupReward, Limits, Message, Model, Plugin, PluginSpec, Reward, Role, Runtime,
    Sample, Services, Task, Tool, ToolCall, World,
};
use serde_json::{Value, json};

use super::cases::{Input, StandIn};
use super::manifest::Manifest;
use super::ran::{self, Ran, named};
use crate::records::{empty_sample, message};

/// Tests must not depend on how busy the machine is: fuel is what ends a loop, and this only what ends everything else.
const TIMEOUT_MS: u64 = 120_000;

/// One thing to ask, and under which settings.
#[derive(Clone)]
pub(crate) struct Question {
    pub(crate) settings: Value,
    pub(crate) seed: u32,
    pub(crate) input: Input,
}

/// A plugin as something that can be asked.
#[derive(Clone)]
enum Caller {
    Reward(Reward),
    Group(GroupReward),
    Environment(Environment),
    Tool(Tool),
}

/// A loaded plugin and its configurations so far.
pub(crate) struct Subject {
    plugin: Plugin,
    /// By settings and seed. Refusals are kept too.
    configured: BTreeMap<(String, u32), Result<Caller, Fault>>,
}

/// What the component says about itself without running; none when it was not built from a plugin.toml.
pub(crate) fn manifest(component: &Path) -> Result<Option<Manifest>> {
    let bytes = fs::read(component).with_context(|| format!("cannot read the plugin {}", component.display()))?;
    Manifest::of_component(&bytes).with_context(|| format!("cannot read the manifest of {}", component.display()))
}

/// How the author's verbs load a component: with the host interfaces it asks for, those of `manifest` where it has one.
pub(crate) fn spec(component: &Path, manifest: Option<&Manifest>, models: &[StandIn]) -> Result<PluginSpec> {
    // Lines in a log do no harm, and help whoever looks for a mistake.
    let mut granted: Vec<String> = vec!["host-log".into()];
    match manifest {
        Some(manifest) => granted = manifest.capabilities.iter().map(ToString::to_string).collect(),
        None if !models.is_empty() => granted.push("host-model".into()),
        None => {}
    }
    let services = Services { models: models.iter().map(stand_in).collect(), ..Services::default() };
    let limits = Limits { timeout_ms: TIMEOUT_MS, ..Limits::default() };
    Ok(PluginSpec { grants: Grants::new(granted)?, services, limits, ..PluginSpec::path(component) })
}

fn stand_in(model: &StandIn) -> (String, Model) {
    let StandIn { name, score, generate } = model.clone();
    let none = |what: &str| format!("the stand-in of cases.jsonl has no `{what}`");
    let scoring = Model::scoring(move |conversations| match score {
        Some(score) => Ok(vec![score; conversations.len()]),
        None => Err(none("score")),
    });
    let model = scoring.generating(move |conversations, _| match &generate {
        Some(text) => Ok(vec![text.clone(); conversations.len()]),
        None => Err(none("generate")),
    });
    (name, model)
}

impl Subject {
    pub(crate) async fn load(runtime: &Runtime, spec: &PluginSpec) -> Result<Subject, Error> {
        Ok(Subject { plugin: runtime.load(spec).await?, configured: BTreeMap::new() })
    }

    pub(crate) fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// A question that any plugin of its kind may be asked.
    pub(crate) async fn neutral(&self) -> Result<Question, Error> {
        let said = |role, text: &str| vec![message(role, text.to_owned())];
        let (prompt, ground_truth) = (said(Role::User, "What is 6 x 7?"), "42".to_owned());
        let sample = |response: &str| Sample {
            prompt: prompt.clone(),
            completion: said(Role::Assistant, response),
            ground_truth: ground_truth.clone(),
            ..empty_sample()
        };
        let input = match self.plugin.world() {
            World::GroupRewardPlugin => Input::Group(vec![sample("42"), sample("It is 41.")]),
            World::EnvironmentPlugin => {
                let task =
                    Task { id: String::new(), data_source: String::new(), prompt, ground_truth, extra: "{}".into() };
                Input::Episode { task, actions: said(Role::Assistant, "42") }
            }
            World::ToolPlugin => {
                let name = self.plugin.tool().await?.specs().first().map(|spec| spec.name.clone()).unwrap_or_default();
                Input::Call(ToolCall { id: String::new(), name, arguments: "{}".into() })
            }
            _ => Input::Sample(sample("42")),
        };
        Ok(Question { settings: json!({}), seed: 0, input })
    }

    /// What came of each question, in their order.
    pub(crate) async fn ask(&mut self, questions: &[Question]) -> Result<Vec<Ran>, Error> {
        let mut places: BTreeMap<(String, u32), Vec<usize>> = BTreeMap::new();
        for (place, question) in questions.iter().enumerate() {
            places.entry((question.settings.to_string(), question.seed)).or_default().push(place);
        }
        let mut ran: Vec<Option<Ran>> = vec![None; questions.len()];
        for (key, places) in places {
            let first = &questions[places[0]];
            let inputs = places.iter().map(|&place| questions[place].input.clone()).collect();
            let answers = match self.caller(key, first).await? {
                Ok(caller) => caller.ask(inputs, first.seed).await,
                Err(fault) => vec![Ran::failed(fault, vec![]); places.len()],
            };
            places.into_iter().zip(answers).for_each(|(place, answer)| ran[place] = Some(answer));
        }
        Ok(ran.into_iter().map(|ran| ran.expect("each place is in one group")).collect())
    }

    /// The plugin under the settings of a question, or its refusal of them.
    async fn caller(&mut self, key: (String, u32), first: &Question) -> Result<Result<Caller, Fault>, Error> {
        if let Some(known) = self.configured.get(&key) {
            return Ok(known.clone());
        }
        let plugin = match key.0 == "{}" && key.1 == 0 {
            true => Ok(self.plugin.clone()),
            false => self.plugin.configured(first.settings.clone(), first.seed).await,
        };
        let caller = match plugin {
            Ok(plugin) => Ok(Caller::of(&plugin).await?),
            Err(Error::Configure { fault, .. }) => Err(fault),
            Err(error) => return Err(error),
        };
        self.configured.insert(key, caller.clone());
        Ok(caller)
    }
}

impl Caller {
    async fn of(plugin: &Plugin) -> Result<Caller, Error> {
        Ok(match plugin.world() {
            World::GroupRewardPlugin => Caller::Group(plugin.group_reward()?),
            World::EnvironmentPlugin => Caller::Environment(plugin.environment()?),
            World::ToolPlugin => Caller::Tool(plugin.tool().await?),
            _ => Caller::Reward(plugin.reward()?),
        })
    }

    async fn ask(&self, inputs: Vec<Input>, seed: u32) -> Vec<Ran> {
        match self {
            Caller::Reward(reward) => {
                let samples: Vec<_> = inputs.into_iter().filter_map(Input::sample).collect();
                reward.judge_batch(samples).await.into_iter().map(Ran::of_sample).collect()
            }
            Caller::Group(reward) => {
                let groups: Vec<_> = inputs.into_iter().filter_map(Input::group).collect();
                reward.judge_groups(groups).await.into_iter().map(Ran::of_group).collect()
            }
            Caller::Environment(environment) => {
                let mut ran = vec![];
                for (task, actions) in inputs.into_iter().filter_map(Input::episode) {
                    ran.push(play(environment, task, seed, actions).await);
                }
                ran
            }
            Caller::Tool(tool) => {
                let mut ran = vec![];
                for call in inputs.into_iter().filter_map(Input::call) {
                    ran.push(Ran::of_call(tool.judge_call(call).await));
                }
                ran
            }
        }
    }
}

/// An episode from start to finish, or up to its first fault.
async fn play(environment: &Environment, task: Task, seed: u32, actions: Vec<Message>) -> Ran {
    let (mut episode, first) = environment.start(task, seed).await;
    let mut receipts = vec![episode.receipt()];
    let first = match first {
        Ok(first) => first,
        Err(fault) => return Ran::failed(fault, receipts),
    };
    let (mut steps, mut total, mut fault) = (vec![], 0.0, None);
    for action in actions {
        let answer = episode.step(action).await;
        receipts.push(episode.receipt());
        match answer {
            Ok(step) => {
                total += step.reward;
                steps.push(json!({
                    "reward": step.reward,
                    "done": step.done,
                    "observation": text(&step.observation),
                    "metrics": named(&step.metrics),
                }));
            }
            Err(stopped) => {
                steps.push(ran::fault_json(&stopped));
                fault = Some(stopped);
                break;
            }
        }
    }
    let metrics = episode.finish().await;
    receipts.push(episode.receipt());
    let metrics = match metrics {
        Ok(metrics) => named(&metrics),
        Err(stopped) => ran::fault_json(fault.get_or_insert(stopped)),
    };
    let got = json!({"start": text(&first), "steps": steps, "metrics": metrics});
    Ran { got, fault, pay: vec![total], receipts }
}

/// What the policy reads.
fn text(messages: &[Message]) -> String {
    messages.iter().map(|message| message.content.as_str()).collect::<Vec<_>>().join("\n")
}
