/** JSON that a person or a policy wrote, compared with what a plugin expects; mistakes name their key. */

import { Fault } from "./records";

/** Something that is not as it should be. */
export class Mistake extends Error {}

/** The settings of an instance, from the defaults or the function that the author gave. */
export function read<S>(expected: S | ((given: Record<string, unknown>) => S) | undefined, json: string): S {
  const given = parse(json === "" ? "{}" : json, "the settings are");
  try {
    if (typeof expected === "function") return (expected as (given: Record<string, unknown>) => S)(given);
    return withDefaults((expected ?? {}) as Record<string, unknown>, given, "") as S;
  } catch (error) {
    throw error instanceof Fault ? error : Fault.misconfigured(error instanceof Error ? error.message : String(error));
  }
}

/** How deep JSON may be nested; the engine's parser goes on until the sandbox's stack has ended. */
const NESTING_MAX = 100;

/** Whether more brackets than that are open at once. A bracket in a string does not count. */
function isNested(json: string): boolean {
  // The engine counts fast; letter by letter is slow here, and only for what has brackets enough.
  if (json.split("[").length + json.split("{").length - 2 <= NESTING_MAX) return false;
  let [depth, quoted] = [0, false];
  for (let i = 0; i < json.length && depth <= NESTING_MAX; i += 1) {
    const letter = json[i];
    if (quoted && letter === "\\") i += 1;
    else if (letter === '"') quoted = !quoted;
    else if (!quoted && (letter === "[" || letter === "{")) depth += 1;
    else if (!quoted && (letter === "]" || letter === "}")) depth -= 1;
  }
  return depth > NESTING_MAX;
}

/** A JSON object. */
export function parse(json: string, what: string): Record<string, unknown> {
  let given: unknown;
  try {
    if (isNested(json)) throw new Mistake(`it is nested more than ${NESTING_MAX} deep`);
    given = JSON.parse(json);
  } catch (error) {
    throw Fault.misconfigured(`${what} no JSON: ${(error as Error).message}`);
  }
  if (typeOf(given) !== "object") throw Fault.misconfigured(`${what} no JSON object: ${json.slice(0, 80)}`);
  return given as Record<string, unknown>;
}

/** The defaults with what was given in their place. An empty object as default takes any object, null takes anything. */
function withDefaults(defaults: Record<string, unknown>, given: Record<string, unknown>, prefix: string): unknown {
  const known = Object.keys(defaults);
  const made = { ...defaults };
  for (const [key, value] of Object.entries(given)) {
    const name = `${prefix}${key}`;
    if (!Object.hasOwn(defaults, key)) throw new Mistake(`\`${name}\` is unknown${nearest(key, known)}`);
    const [wanted, found] = [typeOf(defaults[key]), typeOf(value)];
    if (wanted !== "null" && wanted !== found) {
      throw new Mistake(`\`${name}\` must be ${article(wanted)}, and is ${JSON.stringify(value).slice(0, 60)}`);
    }
    const nested = wanted === "object" && Object.keys(defaults[key] as object).length > 0;
    made[key] = nested
      ? withDefaults(defaults[key] as Record<string, unknown>, value as Record<string, unknown>, `${name}.`)
      : value;
  }
  return made;
}

/** The first thing about a policy's arguments that the tool's schema forbids. */
export function wrong(schema: Record<string, unknown>, given: Record<string, unknown>): string | undefined {
  const properties = (schema.properties ?? {}) as Record<string, { type?: string | string[]; enum?: unknown[] }>;
  for (const name of (schema.required ?? []) as string[]) {
    if (!Object.hasOwn(given, name)) return `\`${name}\` is missing`;
  }
  for (const [name, value] of Object.entries(given)) {
    const property = Object.hasOwn(properties, name) ? properties[name] : undefined;
    if (property === undefined) {
      if (schema.additionalProperties === false) return `\`${name}\` is unknown${nearest(name, Object.keys(properties))}`;
      continue;
    }
    const types = property.type === undefined ? [] : [property.type].flat();
    const found = typeOf(value);
    const fits = (type: string) => type === found || (type === "integer" && Number.isInteger(value));
    if (types.length > 0 && !types.some(fits)) return `\`${name}\` must be ${types.map(article).join(" or ")}`;
    if (property.enum !== undefined && !property.enum.includes(value)) {
      return `\`${name}\` must be one of ${property.enum.map((choice) => JSON.stringify(choice)).join(", ")}`;
    }
  }
  return undefined;
}

/** What JSON Schema calls the type of a value. */
function typeOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}

function article(type: string): string {
  return /^[aeio]/.test(type) ? `an ${type}` : type === "null" ? "null" : `a ${type}`;
}

/** What may have been meant. */
function nearest(key: string, known: string[]): string {
  if (known.length === 0) return ": there is nothing to set";
  const near = known.find((name) => distance(key, name) <= (Math.max(key.length, name.length) + 1) / 3);
  return near === undefined ? `: there are ${known.map((name) => `\`${name}\``).join(", ")}` : `: did you mean \`${near}\`?`;
}

/** How many letters must be put in, taken out or replaced to make one word the other. */
function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, i) => i);
  for (let i = 1; i <= one.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= other.length; j += 1) {
      const replaced = row[j - 1]! + (one[i - 1] === other[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[other.length]!;
}
