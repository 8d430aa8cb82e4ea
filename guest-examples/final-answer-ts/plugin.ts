// Pays 1 when the text after the last `####` is the reference answer.

import { Score, reward } from "rewarden";

// `format_score` is what an answer earns that has the marker and is wrong.
const settings = { format_score: 0 };

/** The text between the last `####` and the end of its line. */
function marked(text: string): string | undefined {
  const marker = text.lastIndexOf("####");
  return marker < 0 ? undefined : text.slice(marker + 4).split("\n")[0];
}

const BLANK = " \t\r\n\v\f";

/** `" $1,200. "` is `1200`. */
function clean(text: string): string {
  let [start, end] = [0, text.length];
  while (start < end && BLANK.includes(text.charAt(start))) start += 1;
  while (start < end && BLANK.includes(text.charAt(end - 1))) end -= 1;
  return text.slice(start, end).replace(/^\$/, "").replaceAll(",", "").replace(/\.$/, "");
}

export default reward(
  (sample, { format_score }) => {
    const marker = marked(sample.response());
    if (marker === undefined) return Score.of(0, { note: "no ####" });
    const said = clean(marker);
    const right = said === clean(marked(sample.groundTruth) ?? sample.groundTruth);
    return Score.of(right ? 1 : format_score, { note: said });
  },
  { settings },
);
