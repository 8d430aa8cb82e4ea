/** The calls around an author's functions: each gives what plugin.ts exports as its default. */

import { Output, Sample, Score } from "./records";
import type { Message, Said, Task } from "./records";

/** What may follow the function. */
export interface Options<S> {
  /**
   * The settings with their defaults, which also say which keys there are and of which type; or a function that makes them
   * of the JSON object that a run gives, and throws when it is wrong.
   */
  settings?: S | ((given: Record<string, unknown>) => S);
}

/** A plugin; `run` is the author's function, for tests to call. */
export interface Plugin<S, F> extends Options<S> {
  kind: "reward" | "group-reward" | "environment" | "tool";
  run: F;
}

type Scored = Score | number;

/** A plugin that judges each sample on its own; a number is a score that is that number. */
export function reward<S extends object = Record<string, never>>(
  score: (sample: Sample, settings: S) => Scored,
  options: Options<S> = {},
): Plugin<S, (sample: Sample, settings: S) => Scored> {
  return { kind: "reward", run: score, ...options };
}

/** A plugin that compares the samples of a group: one score each, in their order. */
export function groupReward<S extends object = Record<string, never>>(
  score: (samples: Sample[], settings: S) => Scored[],
  options: Options<S> = {},
): Plugin<S, (samples: Sample[], settings: S) => Scored[]> {
  return { kind: "group-reward", run: score, ...options };
}

/** An environment's answer to one message of the policy. */
export interface Transition {
  /** What the policy sees next; a text stands for one message of role "user". */
  observation: string | Said[];
  /** The reward of this turn alone; 0 when left out. */
  reward?: number;
  /** True when the episode is over. */
  done?: boolean;
  /** Numbers for the logs. */
  metrics?: Record<string, number>;
}

/** One episode. Its state lives in the variables that its functions share. */
export interface Episode {
  /** What the policy sees first; a text stands for one message of role "user". */
  messages: string | Said[];
  step(action: Message): Transition;
  /** Called once when the episode ends for any reason; numbers for the logs. */
  finish?(): Record<string, number>;
}

/** A multi-turn environment: the function starts an episode. All randomness derives from the seed. */
export function environment<S extends object = Record<string, never>>(
  start: (task: Task, seed: number, settings: S) => Episode,
  options: Options<S> = {},
): Plugin<S, (task: Task, seed: number, settings: S) => Episode> {
  return { kind: "environment", run: start, ...options };
}

/** One function that the policy may call. */
export interface Tool<A, S> {
  name: string;
  /** What it does, for the policy to read. */
  description: string;
  /** JSON Schema of the arguments object; what the policy gives is checked against it first. */
  parameters: Record<string, unknown>;
  /** Gives what the policy sees. A mistake of the policy belongs into that text. */
  run(given: A, settings: S): string | Output;
}

/** One tool, with the type of its arguments: `tool<{ a: number }>({ ... })`. */
export function tool<A extends object, S extends object = Record<string, never>>(definition: Tool<A, S>): Tool<A, S> {
  return definition;
}

/** A plugin of tools. State lives in the module: an instance is an episode. */
export function tools<S extends object = Record<string, never>>(
  definitions: Tool<any, S>[],
  options: Options<S> = {},
): Plugin<S, Tool<any, S>[]> {
  return { kind: "tool", run: definitions, ...options };
}
