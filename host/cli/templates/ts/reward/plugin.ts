// Pays 1 for the reference answer after the marker, 0 for anything else.

import { Fault, Score, reward } from "rewarden";

// What a run can set, with the defaults; settings.schema.json says the same for people and tools.
const settings = { marker: "Answer:" };

// Judges one sample. A wrong answer is a score of 0; a `Fault` means that nobody could judge this.
export default reward(
  (sample, { marker }) => {
    const [response, wanted] = [sample.response(), sample.groundTruth.trim()];
    if (wanted === "") throw Fault.invalidInput("the sample has no ground truth");
    const found = response.lastIndexOf(marker);
    if (found < 0) return Score.of(0, { note: "no marker" });
    const answer = response.slice(found + marker.length).trim();
    return Score.of(answer === wanted ? 1 : 0, { note: answer });
  },
  { settings },
);
