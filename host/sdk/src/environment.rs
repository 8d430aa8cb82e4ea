//! `environment!`: a type that answers a policy turn by turn. The instance is the episode.

use serde::de::DeserializeOwned;

use crate::plugin::{Slot, with};
use crate::{Fault, Message, Metric, Task, Transition};

/// One episode: what happens at its start, at each turn and at its end. A value of your type is the episode's state.
pub trait Environment: Sized + 'static {
    /// What a run can set; read from JSON before the episode starts.
    type Settings: DeserializeOwned + 'static;

    /// Begins: the state, and the first messages that the policy sees. All randomness derives from `seed`.
    fn start(task: &Task, seed: u32, settings: &Self::Settings) -> Result<(Self, Vec<Message>), Fault>;

    /// Answers one message of the policy. A mistake of the policy is something to answer, not a fault.
    fn step(&mut self, action: &Message) -> Result<Transition, Fault>;

    /// The episode is over, for whatever reason: numbers for the logs.
    fn finish(&mut self) -> Vec<Metric> {
        Vec::new()
    }
}

/// Exports a type as an environment plugin: `environment!(Game)`, where `Game` is an [`Environment`]. Use it once per
/// crate.
///
/// ```
/// use rewarden_sdk::{Environment, Fault, Message, Task, Transition, environment};
///
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields, default)]
/// struct Settings {
///     turns_max: u32,
/// }
/// # impl Default for Settings { fn default() -> Self { Settings { turns_max: 3 } } }
///
/// struct Guess {
///     secret: String,
///     turns_left: u32,
/// }
///
/// impl Environment for Guess {
///     type Settings = Settings;
///
///     fn start(task: &Task, _seed: u32, settings: &Settings) -> Result<(Guess, Vec<Message>), Fault> {
///         let game = Guess { secret: task.ground_truth.clone(), turns_left: settings.turns_max };
///         Ok((game, vec![Message::user("Which word am I thinking of?")]))
///     }
///
///     fn step(&mut self, action: &Message) -> Result<Transition, Fault> {
///         self.turns_left -= 1;
///         match action.content.trim() == self.secret {
///             true => Ok(Transition::end(1.0)),
///             false if self.turns_left == 0 => Ok(Transition::end(0.0)),
///             false => Ok(Transition::say("No. Try again.")),
///         }
///     }
/// }
///
/// environment!(Guess);
/// # fn main() {
/// let (mut game, _) = Guess::start(&Task::new("", "moon"), 0, &Settings::default()).unwrap();
/// assert!(!game.step(&Message::assistant("sun")).unwrap().done);
/// assert_eq!(game.step(&Message::assistant("moon")).unwrap().reward, 1.0);
/// # }
/// ```
#[macro_export]
macro_rules! environment {
    ($environment:ty $(,)?) => {
        $crate::environment!($environment, schema = "");
    };
    ($environment:ty, schema = $schema:expr $(,)?) => {
        const _: () = {
            $crate::__plugin!(<$environment as $crate::Environment>::Settings, $schema);

            ::std::thread_local! {
                static EPISODE: ::std::cell::RefCell<::std::option::Option<$environment>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }

            impl $crate::bindings::environment::exports::rewarden::plugin::environment::Guest for Plugin {
                fn start(
                    task: $crate::Task,
                    seed: u32,
                ) -> ::std::result::Result<::std::vec::Vec<$crate::Message>, $crate::Fault> {
                    $crate::generated::start(&SETTINGS, &EPISODE, &task, seed)
                }

                fn step(action: $crate::Message) -> ::std::result::Result<$crate::Transition, $crate::Fault> {
                    $crate::generated::step(&EPISODE, &action)
                }

                fn finish() -> ::std::vec::Vec<$crate::Metric> {
                    $crate::generated::finish(&EPISODE)
                }
            }

            #[cfg(not(target_family = "wasm"))]
            const _: fn() -> ::std::vec::Vec<$crate::Metric> =
                <Plugin as $crate::bindings::environment::exports::rewarden::plugin::environment::Guest>::finish;

            #[cfg(target_family = "wasm")]
    $crate::bindings::environment::export_environment!(Plugin with_types_in $crate::bindings::environment);
        };
    };
}

/// Begins the episode of this instance.
pub fn start<E: Environment>(
    settings: &'static Slot<E::Settings>,
    episode: &'static Slot<E>,
    task: &Task,
    seed: u32,
) -> Result<Vec<Message>, Fault> {
    let (state, messages) = with(settings, |settings| E::start(task, seed, settings))?;
    episode.set(Some(state));
    Ok(messages)
}

/// Answers one message.
pub fn step<E: Environment>(episode: &'static Slot<E>, action: &Message) -> Result<Transition, Fault> {
    episode.with_borrow_mut(|episode| match episode {
        Some(episode) => episode.step(action),
        None => Err(Fault::internal("step was called before start")),
    })
}

/// What the episode leaves behind; nothing when it never started.
pub fn finish<E: Environment>(episode: &'static Slot<E>) -> Vec<Metric> {
    episode.with_borrow_mut(|episode| episode.as_mut().map(E::finish).unwrap_or_default())
}

impl Transition {
    /// The policy is told this, as the user, and the episode goes on.
    pub fn say(text: impl Into<String>) -> Transition {
        Transition { observation: vec![Message::user(text)], reward: 0.0, done: false, metrics: Vec::new() }
    }

    /// The episode is over, and this turn earned `reward`.
    pub fn end(reward: f64) -> Transition {
        Transition { observation: Vec::new(), reward, done: true, metrics: Vec::new() }
    }

    /// With this reward for the turn.
    pub fn reward(mut self, reward: f64) -> Transition {
        self.reward = reward;
        self
    }

    /// With a number for the logs.
    pub fn metric(mut self, name: impl Into<String>, value: f64) -> Transition {
        self.metrics.push(Metric { name: name.into(), value });
        self
    }
}

impl Task {
    /// A task for tests: what the user says first, and what is right.
    pub fn new(prompt: impl Into<String>, ground_truth: impl Into<String>) -> Task {
        Task {
            id: String::new(),
            data_source: String::new(),
            prompt: vec![Message::user(prompt)],
            ground_truth: ground_truth.into(),
            extra: "{}".into(),
        }
    }

    /// The row's further columns as a type of yours; the fault names the column.
    pub fn parse_extra<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        crate::types::parse_extra(&self.extra)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::plugin::configure;

    #[derive(Debug)]
    struct Count(f64);

    impl Environment for Count {
        type Settings = f64;

        fn start(_: &Task, seed: u32, first: &f64) -> Result<(Count, Vec<Message>), Fault> {
            Ok((Count(first + f64::from(seed)), vec![]))
        }

        fn step(&mut self, _: &Message) -> Result<Transition, Fault> {
            self.0 += 1.0;
            Ok(Transition::say("").reward(self.0))
        }

        fn finish(&mut self) -> Vec<Metric> {
            vec![Metric { name: "count".into(), value: self.0 }]
        }
    }

    thread_local! {
        static SETTINGS: RefCell<Option<f64>> = const { RefCell::new(None) };
        static EPISODE: RefCell<Option<Count>> = const { RefCell::new(None) };
    }

    #[test]
    fn an_episode_begins_goes_on_and_ends() {
        let (task, action) = (Task::new("", ""), Message::assistant(""));
        assert_eq!(start(&SETTINGS, &EPISODE, &task, 2), Err(Fault::misconfigured("configure was not called")));
        assert_eq!(step(&EPISODE, &action), Err(Fault::internal("step was called before start")));
        assert_eq!(finish(&EPISODE), vec![]);
        configure(&SETTINGS, "10").unwrap();
        assert_eq!(start(&SETTINGS, &EPISODE, &task, 2), Ok(vec![]));
        assert_eq!(step(&EPISODE, &action).unwrap().reward, 13.0);
        assert_eq!(step(&EPISODE, &action).unwrap().reward, 14.0);
        assert_eq!(finish(&EPISODE)[0].value, 14.0);
    }
}
