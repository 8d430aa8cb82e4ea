//! The words that data sets, logs and requests use for roles and for ways to end: written in one place, read in the same.

use crate::{Role, StopReason};

impl Role {
    const EVERY: [Role; 4] = [Role::System, Role::User, Role::Assistant, Role::Tool];

    /// The word chat data sets use: `system`, `user`, `assistant`, `tool`.
    pub fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }

    /// The role of this name, if it is one.
    pub fn named(name: &str) -> Option<Role> {
        Role::EVERY.into_iter().find(|role| role.name() == name)
    }
}

impl StopReason {
    const EVERY: [StopReason; 7] = [
        StopReason::Completed,
        StopReason::MaxTokens,
        StopReason::MaxTurns,
        StopReason::MaxToolCalls,
        StopReason::ParseError,
        StopReason::TimedOut,
        StopReason::StoppedByEnvironment,
    ];

    /// The word of the `stop/...` metrics and of rollout files: `completed`, `max_tokens`, ...
    pub fn name(self) -> &'static str {
        match self {
            StopReason::Completed => "completed",
            StopReason::MaxTokens => "max_tokens",
            StopReason::MaxTurns => "max_turns",
            StopReason::MaxToolCalls => "max_tool_calls",
            StopReason::ParseError => "parse_error",
            StopReason::TimedOut => "timed_out",
            StopReason::StoppedByEnvironment => "stopped_by_environment",
        }
    }

    /// The reason of this name, if it is one.
    pub fn named(name: &str) -> Option<StopReason> {
        StopReason::EVERY.into_iter().find(|reason| reason.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        assert!(Role::EVERY.into_iter().all(|role| Role::named(role.name()) == Some(role)));
        assert!(StopReason::EVERY.into_iter().all(|reason| StopReason::named(reason.name()) == Some(reason)));
        assert_eq!((Role::named("wizard"), StopReason::named("max-tokens")), (None, None));
    }
}
