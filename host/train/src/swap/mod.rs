//! Hot swap: a reward of a live run is replaced at a step boundary.
//!
//! 1. Whoever wants a swap keeps the component in the run's store and leaves a request in `swaps/`.
//! 2. At each step boundary the run looks there, loads the component under the run's own settings, and replaces the
//!    reward; whatever is not fit is refused with a sentence, and the run goes on with what it has.
//! 3. Either way one row goes to the stage's `swaps.jsonl`. It is the answer to the request, and what a resumed run
//!    replays: the same swap before the same step.

mod inbox;
mod ledger;

use rewarden_runtime::{Digest, Rubric, Runtime, Scorer, printable};
use serde::{Deserialize, Serialize};
use std::path::Path;

use crate::config::{RunConfig, Stage};
use crate::error::{Error, Result};
use crate::observe::{Event, Observer};
use crate::plugin_store::PluginStore;
use crate::run_dir::StageDir;

use inbox::Inbox;
use ledger::Ledger;
pub use ledger::swap_outcome;

/// File with one row per answered request, in a stage's folder.
pub const SWAPS: &str = "swaps.jsonl";

/// The longest sentence that goes into a row.
const REASON_BYTES_MAX: usize = 2048;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SwapKind {
    /// The component becomes the reward.
    Swap,
    /// The reward goes back to the component it was before.
    Rollback,
    /// The component scores beside the reward, without weight.
    Shadow,
    /// The component that scores beside the reward becomes the reward.
    Promote,
    /// Nothing scores beside the reward any more.
    DropShadow,
}

/// A request to a live run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwapRequest {
    /// The reward's name in the config.
    pub name: String,
    /// What is asked for.
    pub kind: SwapKind,
    /// The component, which lies in the run's store; for [`SwapKind::Swap`] and [`SwapKind::Shadow`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Digest>,
}

/// One row of `swaps.jsonl`: what became of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SwapRecord {
    /// The first step it holds for.
    pub step: usize,
    /// Names the request.
    pub request: String,
    /// The reward's name.
    pub name: String,
    /// What was asked for.
    pub kind: SwapKind,
    /// The component before: the reward's, or its shadow's for the kinds that are about shadows.
    #[serde(default)]
    pub from: Option<Digest>,
    /// The component after.
    #[serde(default)]
    pub to: Option<Digest>,
    /// Why nothing happened, if nothing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl SwapRequest {
    /// Leaves the request where the run in this directory looks at its next step boundary. `id` names it: letters,
    /// digits and `-`; requests are answered in the order of their ids.
    pub fn submit(&self, run: &Path, id: &str) -> Result<()> {
        Inbox::of(run).put(id, self)
    }

    /// Whether the run has not taken this request up yet.
    pub fn is_pending(run: &Path, id: &str) -> bool {
        Inbox::of(run).has(id)
    }

    /// Takes a request back that the run has not answered yet.
    pub fn withdraw(run: &Path, id: &str) {
        Inbox::of(run).remove(id);
    }
}

/// The swaps of a stage in progress.
pub(crate) struct Swaps<'a> {
    config: &'a RunConfig,
    runtime: &'a Runtime,
    store: PluginStore,
    inbox: Inbox,
    ledger: Ledger,
}

impl<'a> Swaps<'a> {
    /// Begins, or goes on before step `first_step`.
    pub(crate) fn begin(
        config: &'a RunConfig,
        runtime: &'a Runtime,
        dir: &StageDir,
        first_step: usize,
    ) -> Result<Self> {
        let (store, inbox) = (PluginStore::of(&config.log_path), Inbox::of(&config.log_path));
        Ok(Self { config, runtime, store, inbox, ledger: Ledger::read(dir, first_step)? })
    }

    /// The boundary before `step`: replays what an interrupted run did here, then answers what is asked now.
    pub(crate) fn at_boundary(
        &mut self,
        step: usize,
        rubric: &mut Rubric,
        dir: &StageDir,
        observe: Observer,
    ) -> Result<()> {
        while let Some(record) = self.ledger.next_due(step) {
            self.apply(&record, rubric)?;
            observe(Event::Swapped { record: &record });
            self.ledger.applied(record);
        }
        for (id, request) in self.inbox.pending() {
            if !self.ledger.has_answered(&id) {
                match request {
                    Ok(request) => {
                        let record = self.answer(step, &id, request, rubric);
                        dir.append(SWAPS, &record)?;
                        observe(Event::Swapped { record: &record });
                        self.ledger.asked(record);
                    }
                    Err(reason) => observe(Event::SwapUnreadable { request: &id, reason: &reason }),
                }
                self.ledger.answered(&id);
            }
            self.inbox.remove(&id);
        }
        Ok(())
    }

    /// Does what is asked, or says why not.
    fn answer(&self, step: usize, id: &str, request: SwapRequest, rubric: &mut Rubric) -> SwapRecord {
        let name = printable(&request.name, 200);
        let asked =
            SwapRecord { step, request: id.into(), name, kind: request.kind, from: None, to: None, refused: None };
        let done = self.resolve(&request, rubric).and_then(|(from, to)| {
            let record = SwapRecord { from, to, ..asked.clone() };
            self.apply(&record, rubric).map_err(|error| error.to_string())?;
            Ok(record)
        });
        done.unwrap_or_else(|reason| SwapRecord { refused: Some(printable(&reason, REASON_BYTES_MAX)), ..asked })
    }

    /// The components before and after.
    fn resolve(
        &self,
        request: &SwapRequest,
        rubric: &Rubric,
    ) -> std::result::Result<(Option<Digest>, Option<Digest>), String> {
        let name = &request.name;
        let (rewards, shadows) = (rubric.digests(), rubric.shadows());
        let Some(&reward) = rewards.get(name) else {
            let names: Vec<&str> = rewards.keys().map(String::as_str).collect();
            return Err(format!("`{name}` is no reward of this run; it has {}", names.join(", ")));
        };
        let shadow = shadows.get(name).copied();
        let asked = || request.to.ok_or("the request names no component".to_owned());
        let no_shadow = || format!("`{name}` has no shadow");
        let (from, to) = match request.kind {
            SwapKind::Swap => (Some(reward), Some(asked()?)),
            SwapKind::Promote => (Some(reward), Some(shadow.ok_or_else(no_shadow)?)),
            SwapKind::Rollback => {
                let before = self.ledger.before(name);
                (Some(reward), Some(before.ok_or_else(|| format!("`{name}` was never swapped"))?))
            }
            SwapKind::Shadow => (shadow, Some(asked()?)),
            SwapKind::DropShadow => (Some(shadow.ok_or_else(no_shadow)?), None),
        };
        match (from == to && request.kind != SwapKind::Promote, from) {
            (true, Some(digest)) => Err(format!("`{name}` is {digest} already")),
            _ => Ok((from, to)),
        }
    }

    /// Brings the rubric to where the record says.
    fn apply(&self, record: &SwapRecord, rubric: &mut Rubric) -> Result<()> {
        let name = record.name.as_str();
        let loaded = record.to.map(|digest| self.load(name, digest)).transpose()?;
        match (record.kind, loaded) {
            (SwapKind::Shadow | SwapKind::DropShadow, shadow) => rubric.set_shadow(name, shadow)?,
            (SwapKind::Swap | SwapKind::Rollback, Some(reward)) => drop(rubric.swap(name, reward)?),
            (SwapKind::Promote, Some(reward)) => {
                rubric.swap(name, reward)?;
                rubric.set_shadow(name, None)?;
            }
            (_, None) => {
                let message = format!("a row of the reward `{name}` names no component; remove the row");
                return Err(Error::run_dir(self.config.log_path.join(Stage::Rl.name()).join(SWAPS), message));
            }
        }
        Ok(())
    }

    /// The component from the run's store, under the run's settings, limits and grants.
    fn load(&self, name: &str, digest: Digest) -> Result<Scorer> {
        let spec = self.config.plugin_spec(self.config.reward_named(name)?, self.store.component(digest)?)?;
        Ok(pollster::block_on(self.runtime.load(&spec))?.scorer()?)
    }
}

/// Forgets what was asked of an earlier stage, before a new one starts in its place.
pub(crate) fn drop_pending(run: &Path) {
    let inbox = Inbox::of(run);
    inbox.pending().iter().for_each(|(id, _)| inbox.remove(id));
}

/// Answers every pending request with a refusal, once the stage has no step boundary left.
pub(crate) fn refuse_pending(run: &Path, dir: &StageDir, step: usize, reason: &str) -> Result<()> {
    let inbox = Inbox::of(run);
    for (id, request) in inbox.pending() {
        if let Ok(SwapRequest { name, kind, .. }) = request {
            let name = printable(&name, 200);
            let refused = Some(reason.to_owned());
            let record = SwapRecord { step, request: id.clone(), name, kind, from: None, to: None, refused };
            dir.append(SWAPS, &record)?;
        }
        inbox.remove(&id);
    }
    Ok(())
}
