// Commits the sin that the sample's extra column names; without one the answer is right or wrong.

import { Fault, Score, log, reward } from "rewarden";

const settings = { bonus: 0 };

function recurse(depth = 0): number {
  return recurse(depth + 1) + 1;
}

function luck(): Score {
  return Score.of(Math.random(), { note: JSON.stringify([Date.now(), performance.now(), new Date().toISOString()]) });
}

function say(): number {
  console.log("printed", { a: 1 });
  log("logged", "warn");
  return 1;
}

function refuse(): never {
  throw Fault.invalidInput("I judge nothing");
}

function poison(): number {
  JSON.parse = () => 0;
  return 1;
}

const sins: Record<string, () => unknown> = {
  hog: () => Array.from({ length: 400 }, (_, i) => new Uint8Array(1 << 20).fill(i)).length,
  luck,
  nan: () => NaN,
  nothing: () => undefined,
  poison,
  promise: async () => 1,
  recurse,
  refuse,
  say,
  spin: () => {
    for (;;);
  },
  surrogate: () => Score.of(1, { note: "\ud800" }),
  text: () => {
    throw "a text";
  },
  throw: () => (null as unknown as { x: number }).x,
};

export default reward(
  (sample, { bonus }) => {
    const { sin } = JSON.parse(sample.extra);
    if (sin !== undefined) return sins[sin]!() as number;
    return Number(sample.response() === sample.groundTruth) + bonus;
  },
  { settings },
);
