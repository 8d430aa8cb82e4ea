// Judges multiple-choice tasks and stays out of all others.

import { Score, reward } from "rewarden";

/** The letter after the last "Answer:". */
function choice(text: string): string | undefined {
  return [...text.matchAll(/Answer:\s*([A-E])\b/g)].pop()?.[1];
}

export default reward((sample) => {
  const wanted = sample.groundTruth.trim();
  if (!/^[A-E]$/.test(wanted)) return Score.none({ note: "not multiple choice" });
  const said = choice(sample.response());
  return Score.of(said === wanted ? 1 : 0, { note: said ?? "no letter" });
});
