// Judges multiple-choice tasks and stays out of all others.

import { Score, reward } from "rewarden";

/** The last letter from A to E that stands alone. */
function choice(text: string): string | undefined {
  return [...text.matchAll(/\b[A-E]\b/g)].pop()?.[0];
}

export default reward((sample) => {
  const wanted = sample.groundTruth.trim();
  if (!/^[A-E]$/.test(wanted)) return Score.none({ note: "not multiple choice" });
  const said = choice(sample.response());
  return Score.of(said === wanted ? 1 : 0, { note: said ?? "no letter" });
});
