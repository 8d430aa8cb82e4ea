// The policy finds a number by guessing; each answer says higher or lower.

import { Fault, environment } from "rewarden";
import type { Transition } from "rewarden";

// What a run can set, with the defaults; settings.schema.json says the same for people and tools.
const settings = { guesses_max: 7 };

// One call is one episode; its variables are the episode's state. `Math.random` follows the seed; here nothing is random.
export default environment(
  (task, seed, { guesses_max }) => {
    const wanted = number(task.groundTruth);
    if (Number.isNaN(wanted)) throw Fault.invalidInput("the ground truth is no number");
    let guesses = 0;
    return {
      messages: "I think of a number. Answer with your guess and nothing else.",
      // Answers one message of the policy. Its mistakes are part of the game, and no faults.
      step(action): Transition {
        guesses += 1;
        const done = guesses >= guesses_max;
        const guess = number(action.content);
        if (Number.isNaN(guess)) return { observation: "That is no number.", done };
        if (guess === wanted) return { observation: "Right!", reward: 1, done: true };
        return { observation: guess < wanted ? "Higher." : "Lower.", done };
      },
      // Numbers for the logs, when the episode ends for any reason.
      finish: () => ({ guesses }),
    };
  },
  { settings },
);

function number(text: string): number {
  return text.trim() === "" ? NaN : Number(text);
}
