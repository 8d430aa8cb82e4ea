/**
 * The component's exports, written once for every plugin: what componentize-qjs calls.
 *
 * Everything that an author throws becomes a fault here. What got past would end in a trap, which has no stack.
 */

import type { Episode, Plugin, Tool, Transition } from "./authoring";
import { Fault, Output, Sample, Score, complete } from "./records";
import type { FaultKind, Message, Said, Task } from "./records";
import { again, reseed } from "./sandbox";
import { parse, read, wrong } from "./settings";

/** What describe() answers, and the kind that plugin.toml names. */
interface Manifest {
  kind: string;
  name: string;
  version: string;
  summary: string;
  settingsSchema: string;
}

type FaultValue = { tag: FaultKind; val: string };
/** For each line of the bundle from which column on which source, none for this SDK, and which line of it. */
type Lines = { sources: string[]; lines: [number, number | null, number][][] };

declare global {
  /** Written by `rewarden plugin build` behind the bundle. */
  var rewardenLines: Lines | undefined;
}

/** Of a stack; the host keeps 4096 bytes of a fault. */
const STACK_CHARS_MAX = 3500;

let settings: unknown;

/** The exports of a plugin, all kinds; the entry picks the one that its world has. */
export function component(author: Plugin<any, any>, manifest: Manifest) {
  if (author?.kind !== manifest.kind) {
    const made = author?.kind === undefined ? "something else" : `a plugin of kind "${author.kind}"`;
    throw new TypeError(`plugin.toml says kind = "${manifest.kind}", and the default export of the plugin is ${made}`);
  }
  const { kind: _, ...description } = manifest;
  return {
    plugin: {
      describe: () => description,
      configure(text: string, seed: number) {
        guarded(() => {
          settings = read(author.settings, text);
          reseed(seed);
        });
      },
    },
    reward: { scoreBatch: (samples: Sample[]) => samples.map((sample) => judged(author.run, sample)) },
    groupReward: { scoreGroup: (group: Sample[]) => guarded(() => compared(author.run, group)) },
    environment: episode(author.run),
    tool: toolbox(author.run),
  };
}

function judged(score: (sample: Sample, settings: unknown) => Score | number, given: Sample) {
  try {
    again();
    return { tag: "ok", val: lowered(score(sample(given), settings)) };
  } catch (error) {
    return { tag: "err", val: fault(error) };
  }
}

function compared(score: (samples: Sample[], settings: unknown) => (Score | number)[], group: Sample[]) {
  again();
  const scores = score(group.map(sample), settings).map(lowered);
  if (scores.length !== group.length) {
    throw new Error(`there are ${group.length} samples and ${scores.length} scores`);
  }
  return scores;
}

function episode(start: (task: Task, seed: number, settings: unknown) => Episode) {
  let current: Episode | undefined;
  return {
    start: (task: Task, seed: number) =>
      guarded(() => {
        reseed(seed);
        current = start(task, seed, settings);
        return messages(current.messages);
      }),
    step: (action: Message) => guarded(() => transition(current!.step(action))),
    finish: () => metrics(current?.finish?.() ?? {}),
  };
}

function toolbox(tools: Tool<any, unknown>[]) {
  return {
    listTools: () =>
      tools.map((tool) => ({
        name: tool.name,
        description: tool.description,
        parameters: JSON.stringify(tool.parameters),
      })),
    call: (call: { name: string; arguments: string }) => guarded(() => output(called(tools, call))),
  };
}

/** What the policy did wrong it is told; what the tool did wrong is a fault. */
function called(tools: Tool<any, unknown>[], call: { name: string; arguments: string }): string | Output {
  const found = tools.find((tool) => tool.name === call.name);
  if (found === undefined) {
    return `There is no tool \`${call.name}\`: there is ${tools.map((tool) => `\`${tool.name}\``).join(", ")}`;
  }
  let given: Record<string, unknown>;
  try {
    given = parse(call.arguments === "" ? "{}" : call.arguments, "the arguments are");
  } catch (mistake) {
    return `The call of \`${call.name}\` is wrong: ${(mistake as Error).message}`;
  }
  const mistake = wrong(found.parameters, given);
  return mistake === undefined ? found.run(given, settings) : `The call of \`${call.name}\` is wrong: ${mistake}`;
}

/** What the bindings made, as the author's class: nothing is copied. */
function sample(given: Sample): Sample {
  given.stopReason = given.stopReason.replaceAll("-", "_") as Sample["stopReason"];
  return Object.setPrototypeOf(given, Sample.prototype);
}

function lowered(given: Score | number) {
  const score = typeof given === "number" || typeof given === "boolean" ? new Score(Number(given)) : given;
  if (!(score instanceof Score)) {
    const advice = given === undefined || given === null ? "; Score.none() says that the reward does not apply" : "";
    throw new TypeError(`a score is a number or a Score, and this is ${named(given)}${advice}`);
  }
  return {
    value: score.value === null ? null : number(score.value),
    steps: Array.from(score.steps, number),
    components: metrics(score.components),
    metrics: metrics(score.metrics),
    note: cut(text(score.note)),
  };
}

function transition(given: Transition) {
  if (typeof given !== "object" || given === null || given instanceof Promise) {
    throw new TypeError(`step gives back a transition, and this is ${named(given)}`);
  }
  return {
    observation: messages(given.observation),
    reward: number(given.reward ?? 0),
    done: given.done ?? false,
    metrics: metrics(given.metrics ?? {}),
  };
}

function output(given: string | Output) {
  const whole = given instanceof Output ? given : new Output(given);
  return { content: text(whole.content), reward: number(whole.reward), metrics: metrics(whole.metrics) };
}

function messages(given: string | Said[]): Message[] {
  const said: Said[] = typeof given === "string" ? [{ role: "user", content: given }] : given;
  return said.map((message) => ({ ...complete(message), content: text(message.content) }));
}

function metrics(given: Record<string, number>) {
  return Object.entries(given).map(([name, value]) => ({ name: text(name), value: number(value) }));
}

function number(value: unknown): number {
  if (typeof value !== "number") throw new TypeError(`this must be a number, and is ${named(value)}`);
  return value;
}

/** The longest note that a host takes, in bytes of UTF-8. */
const NOTE_BYTES_MAX = 4096;

/** A note as long as a host takes; what is longer is cut off between two letters. */
function cut(note: string): string {
  let bytes = 0;
  let end = 0;
  for (const letter of note) {
    const code = letter.codePointAt(0)!;
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    if (bytes > NOTE_BYTES_MAX) return note.slice(0, end);
    end += letter.length;
  }
  return note;
}

/** A text that UTF-8 can say: half a surrogate pair cannot leave a component. */
function text(value: unknown): string {
  if (typeof value !== "string") throw new TypeError(`this must be a text, and is ${named(value)}`);
  return value.toWellFormed();
}

function named(value: unknown): string {
  if (value instanceof Promise) return "a promise: a component cannot wait";
  return `${typeof value} ${String(value)}`.slice(0, 80);
}

/** Calls what answers with a result: faults are thrown, as the bindings want them. */
function guarded<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw fault(error);
  }
}

function fault(error: unknown): FaultValue {
  if (error instanceof Fault) return { tag: error.kind, val: text(error.message) };
  if (!(error instanceof Error)) return { tag: "internal", val: `thrown: ${named(error)}`.toWellFormed() };
  const stack = (error.stack ?? "").split("\n").map(inSource).filter((line) => line !== "");
  // What called the author is ours, through functions of the language that have no lines.
  while (stack.at(-1)?.endsWith("(native)")) stack.pop();
  const val = [String(error), ...stack].join("\n").slice(0, STACK_CHARS_MAX);
  return { tag: "internal", val: val.toWellFormed() };
}

/** A line of a stack with the author's file and line; empty for lines of this SDK. */
function inSource(line: string): string {
  const place = /^(.*?)\(?[^\s()]*:(\d+):(\d+)\)?$/.exec(line);
  const row = place === null ? undefined : globalThis.rewardenLines?.lines[Number(place[2]) - 1];
  const found = row?.findLast(([column]) => column <= Number(place![3])) ?? row?.[0];
  if (found === undefined) return line.trimEnd();
  const [, source, lineThere] = found;
  return source === null ? "" : `${place![1]}(${globalThis.rewardenLines!.sources[source]}:${lineThere})`;
}
