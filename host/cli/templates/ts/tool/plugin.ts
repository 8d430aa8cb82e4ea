// Adds numbers, because policies cannot.

import { tool, tools } from "rewarden";

const add = tool<{ a: number; b: number }>({
  name: "add",
  description: "Adds two numbers.",
  // JSON Schema, for the policy; a call that does not follow it is answered without asking `run`.
  parameters: {
    type: "object",
    properties: {
      a: { type: "number", description: "the first number" },
      b: { type: "number", description: "the second number" },
    },
    required: ["a", "b"],
    additionalProperties: false,
  },
  run: ({ a, b }) => String(Number((a + b).toPrecision(15))),
});

export default tools([add]);
