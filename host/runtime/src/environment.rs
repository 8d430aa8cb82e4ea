//! `Environment` and `Episode`: a task in, turn by turn, until the environment says that it is done.
//!
//! The instance is the episode: one store from `start` to `finish`, its limits armed anew for each call.

use std::future::Future;

use tokio::sync::OwnedSemaphorePermit;

use crate::guest::Guest;
use crate::instance::Session;
use crate::judge::{Clock, receipt};
use crate::plugin::Plugin;
use crate::{Digest, Fault, Message, Metric, Receipt, Task, Transition};

/// A plugin that plays episodes: a game, a simulated user, a checker that answers back.
///
/// A clone is a counter; `Send + Sync`; lives as long as you keep it. Awaiting works on any executor. Tools that an
/// episode may call are those of its plugin's [`Services`](crate::Services), where `host-tools` is granted.
#[derive(Clone)]
pub struct Environment {
    pub(crate) plugin: Plugin,
}

/// One live environment: an instance that nobody else has used or will use.
///
/// Starting one costs tens of microseconds for a Rust plugin, a turn about one; meanwhile it holds its memory and no
/// thread. `Send`, so that each may be driven from its own task, thousands at a time; dropping it ends it.
///
/// Each call has the plugin's [`Limits`](crate::Limits) to itself and leaves a [`Receipt`]. After a fault the episode is
/// over: nobody knows what state a guest is in that did not answer.
///
/// # Forking and restoring
///
/// Environments are deterministic, so an episode *is* its task, its seed and the actions so far: start another with the
/// same task and seed, hand it the same actions, and it is the same episode. Keep those three to fork one, to go back a
/// turn, or to go on in another process.
///
/// ```no_run
/// use rewarden_runtime::{Environment, Episode, Fault, Message, Task};
///
/// /// The episode after these actions, ready for another future.
/// async fn fork(environment: &Environment, task: Task, seed: u32, actions: &[Message]) -> Result<Episode, Fault> {
///     let (mut episode, first) = environment.start(task, seed).await;
///     first?;
///     for action in actions {
///         episode.step(action.clone()).await?;
///     }
///     Ok(episode)
/// }
/// ```
pub struct Episode {
    plugin: Plugin,
    /// None once the instance is gone: it died, or was finished.
    live: Option<Live>,
    /// Why there are no further turns.
    over: Option<String>,
    is_finished: bool,
    receipt: Receipt,
}

/// An instance between two calls.
struct Live {
    session: Session,
    guest: Guest,
    _slot: OwnedSemaphorePermit,
}

/// What a call leaves behind: the instance if it lives on, the answer, and what that took.
type Called<T> = (Option<Live>, Result<T, Fault>, Receipt);

impl Live {
    fn after<T>(self, answer: Result<T, Fault>, clock: &Clock) -> Called<T> {
        let receipt = receipt(self.session.usage(), 1, clock);
        // Whom the clock stopped from outside is in the middle of something.
        let is_dead = self.session.is_dead || matches!(answer, Err(Fault::Deadline { .. }));
        ((!is_dead).then_some(self), answer, receipt)
    }
}

impl Environment {
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

    /// Opens an episode: the messages that the policy sees first, or a fault, and then the episode is over already. All of
    /// the episode's randomness derives from `seed`. At most 4096 episodes are open at a time.
    pub async fn start(&self, task: Task, seed: u32) -> (Episode, Result<Vec<Message>, Fault>) {
        let plugin = self.plugin.clone();
        let mut episode = Episode { plugin, live: None, over: None, is_finished: false, receipt: Receipt::default() };
        let configured = self.plugin.inner.clone();
        let begin = async move {
            let clock = Clock::start();
            let slot = match configured.linked.pool.slot_now() {
                Ok(slot) => slot,
                Err(reason) => return (None, Err(Fault::Internal(format!("host: {reason}"))), Receipt::default()),
            };
            let mut session = Session::open(&configured.linked, configured.seed);
            match configured.in_time(configured.enter(&mut session)).await {
                Ok(guest) => {
                    let mut live = Live { session, guest, _slot: slot };
                    let first = configured.in_time(live.guest.start(&mut live.session, &task, seed)).await;
                    live.after(first, &clock)
                }
                Err(fault) => (None, Err(fault), receipt(session.usage(), 1, &clock)),
            }
        };
        let first = episode.run(begin).await;
        (episode, first)
    }
}

impl Episode {
    /// Hands the environment one message of the policy. When its answer says `done`, or is a fault, there is no next one:
    /// whoever asks all the same gets [`Fault::EpisodeOver`].
    pub async fn step(&mut self, action: Message) -> Result<Transition, Fault> {
        if let Some(reason) = &self.over {
            return Err(Fault::EpisodeOver(reason.clone()));
        }
        let (configured, live) = (self.plugin.inner.clone(), self.live.take());
        let mut live = live.expect("an episode that is not over has an instance");
        let step = async move {
            let clock = Clock::start();
            live.session.arm(&configured.linked);
            let answer = configured.in_time(live.guest.step(&mut live.session, &action)).await;
            live.after(answer, &clock)
        };
        let answer = self.run(step).await;
        if answer.as_ref().is_ok_and(|transition| transition.done) {
            self.over = Some("the environment said that it is done".into());
        }
        answer
    }

    /// Ends the episode, for whatever reason, and asks the environment for its numbers; there are none when the instance
    /// did not survive a fault. Once: afterwards every call is [`Fault::EpisodeOver`].
    pub async fn finish(&mut self) -> Result<Vec<Metric>, Fault> {
        if std::mem::replace(&mut self.is_finished, true) {
            return Err(Fault::EpisodeOver("it was finished".into()));
        }
        let Some(mut live) = self.live.take() else {
            self.receipt = Receipt::default();
            return Ok(vec![]);
        };
        let configured = self.plugin.inner.clone();
        let finish = async move {
            let clock = Clock::start();
            live.session.arm(&configured.linked);
            let metrics = configured.in_time(live.guest.finish(&mut live.session)).await;
            // The instance goes here, where others are made and dropped.
            let (_, metrics, receipt) = live.after(metrics, &clock);
            (None, metrics, receipt)
        };
        let metrics = self.run(finish).await;
        self.over = Some("it was finished".into());
        metrics
    }

    /// Whether the environment said `done`, there was a fault, or the episode was finished.
    pub fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// What the last call used.
    pub fn receipt(&self) -> Receipt {
        self.receipt
    }

    /// Makes a call on one of the runtime's threads.
    async fn run<T: Send + 'static>(
        &mut self,
        call: impl Future<Output = Called<T>> + Send + 'static,
    ) -> Result<T, Fault> {
        // For whoever drops this future: with the answer, the instance is gone.
        self.over = Some("a call was given up before it was answered".into());
        let called = self.plugin.inner.linked.shared.run(call).await;
        let lost = |reason| (None, Err(Fault::Internal(format!("host: {reason}"))), Receipt::default());
        let (live, answer, receipt) = called.unwrap_or_else(lost);
        (self.live, self.receipt) = (live, receipt);
        self.over = answer.as_ref().err().map(|fault| format!("it had a fault: {}", fault.kind()));
        answer
    }
}
