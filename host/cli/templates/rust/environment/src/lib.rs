//! The policy finds a number by guessing; each answer says higher or lower.

use rewarden_sdk::{Environment, Fault, Message, Metric, Task, Transition, environment};
use serde::Deserialize;

/// What a run can set; settings.schema.json says the same for people and tools.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub guesses_max: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { guesses_max: 7 }
    }
}

/// One episode.
pub struct Game {
    number: f64,
    guesses: u32,
    guesses_max: u32,
}

impl Environment for Game {
    type Settings = Settings;

    /// What the policy sees first. What is random derives from the seed; here nothing is.
    fn start(task: &Task, _seed: u32, settings: &Settings) -> Result<(Game, Vec<Message>), Fault> {
        let number = task.ground_truth.trim().parse().map_err(|_| Fault::invalid_input("the ground truth is no number"))?;
        let game = Game { number, guesses: 0, guesses_max: settings.guesses_max };
        Ok((game, vec![Message::user("I think of a number. Answer with your guess and nothing else.")]))
    }

    /// Answers one message. A mistake of the policy is part of the game, and no fault.
    fn step(&mut self, action: &Message) -> Result<Transition, Fault> {
        self.guesses += 1;
        let mut transition = match action.content.trim().parse::<f64>() {
            Ok(guess) if guess == self.number => return Ok(Transition::end(1.0)),
            Ok(guess) if guess < self.number => Transition::say("Higher."),
            Ok(guess) if guess > self.number => Transition::say("Lower."),
            // `NaN` parses and compares with nothing.
            Ok(_) | Err(_) => Transition::say("That is no number."),
        };
        transition.done = self.guesses >= self.guesses_max;
        Ok(transition)
    }

    /// Numbers for the logs, when the episode ends for any reason.
    fn finish(&mut self) -> Vec<Metric> {
        vec![Metric { name: "guesses".into(), value: f64::from(self.guesses) }]
    }
}

environment!(Game);

#[cfg(test)]
mod tests {
    use super::*;

    /// What the last of these guesses earns, and whether the game ends with it.
    #[track_caller]
    fn check(guesses: &[&str], reward: f64, done: bool) {
        let (mut game, _) = Game::start(&Task::new("", "42"), 0, &Settings { guesses_max: 3 }).unwrap();
        let last = guesses.iter().map(|guess| game.step(&Message::assistant(*guess)).unwrap()).last().unwrap();
        assert_eq!((last.reward, last.done), (reward, done));
    }

    #[test]
    fn the_right_number_ends_it() {
        check(&["42"], 1.0, true);
        check(&["50", "forty-two", "42"], 1.0, true);
        check(&["50"], 0.0, false);
        check(&["NaN"], 0.0, false);
        check(&["50", "40", "41"], 0.0, true);
    }
}
