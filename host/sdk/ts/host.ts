/** The host interfaces that plugin.toml asks for under `capabilities`; without them log lines go nowhere, and models and tools
 * are `unavailable`. */

import { Fault, complete } from "./records";
import type { FaultKind, Said } from "./records";

export type Level = "debug" | "info" | "warn" | "error";

/** The bindings of the interfaces that the plugin's world has. */
interface Interfaces {
  "host-log"?: { log(level: Level, message: string): void };
  "host-model"?: {
    score(binding: string, conversations: Said[][]): ArrayLike<number>;
    generate(binding: string, conversations: Said[][], maxTokens: number): string[];
  };
  "host-tools"?: { call(call: { id: string; name: string; arguments: string }): string };
}

let interfaces: Interfaces = {};

/** Called once, by the component's entry. */
export function bind(found: Interfaces): void {
  interfaces = found;
}

/** Writes one line to the run's log; over the run's caps it is cut or dropped. */
export function log(message: string, level: Level = "info"): void {
  interfaces["host-log"]?.log(level, message.toWellFormed());
}

/** One number per conversation, from the model that the run has bound under this name. */
export function modelScores(binding: string, conversations: Said[][]): number[] {
  const model = granted("host-model");
  return asked(() => Array.from(model.score(binding, conversations.map((messages) => messages.map(complete)))));
}

/** One continuation per conversation, by the model that the run has bound under this name. */
export function generate(binding: string, conversations: Said[][], maxTokens: number): string[] {
  const model = granted("host-model");
  return asked(() => model.generate(binding, conversations.map((messages) => messages.map(complete)), maxTokens));
}

/** Runs a tool that the run has granted. Gives what the policy would see. */
export function callTool(name: string, given: object, id = ""): string {
  const host = granted("host-tools");
  return asked(() => host.call({ id, name, arguments: JSON.stringify(given) }));
}

function granted<N extends keyof Interfaces>(name: N): NonNullable<Interfaces[N]> {
  const found = interfaces[name];
  if (found == null) throw Fault.unavailable(`plugin.toml does not ask for it: capabilities = ["${name}"]`);
  return found;
}

/** Calls the host; the fault it answers with is thrown as ours. */
function asked<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    const payload = (error as { payload?: { tag: FaultKind; val: string } }).payload;
    throw payload === undefined ? error : new Fault(payload.tag, payload.val);
  }
}
