/**
 * What a sealed component does not have, made to work alike everywhere: clocks count, randomness follows the seed, the
 * console writes to the log. Imported before the author's module, which runs while it is built.
 */

import { log } from "./host";
import type { Level } from "./host";

/** Where clocks start, and how far each look moves them, in milliseconds, as in the other languages. */
const START_MS = 1000;
const TICK_MS = 0.001;

let nowMs = START_MS;
let seed = 0;
let state = 0;

/** The instance's seed, or the episode's. */
export function reseed(to: number): void {
  seed = to;
  again();
}

/** The same clock and the same randomness for every sample, whatever this instance has judged before. */
export function again(): void {
  nowMs = START_MS;
  state = seed;
}

function now(): number {
  nowMs += TICK_MS;
  return nowMs;
}

/** 32 bits: a counter that steps by the golden ratio, and a mixer that spreads each of its bits over all. */
function bits(): number {
  state = (state + 0x9e3779b9) | 0;
  let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

Math.random = () => ((bits() >>> 5) * 2 ** 26 + (bits() >>> 6)) / 2 ** 53;

const RealDate = Date;

/** `Date` with the counting clock; given any argument it is the real one. */
function CountingDate(this: unknown, ...given: unknown[]): unknown {
  if (new.target === undefined) return new RealDate(now()).toString();
  return Reflect.construct(RealDate, given.length === 0 ? [now()] : given, new.target);
}
CountingDate.prototype = RealDate.prototype;
CountingDate.now = () => Math.floor(now());
Object.setPrototypeOf(CountingDate, RealDate);
RealDate.prototype.constructor = CountingDate as unknown as DateConstructor;

function shown(value: unknown): string {
  if (typeof value === "string") return value;
  if (value instanceof Error) return `${value}`;
  return JSON.stringify(value) ?? String(value);
}

const writes =
  (level: Level) =>
  (...values: unknown[]) =>
    log(values.map(shown).join(" "), level);

Object.assign(globalThis, {
  Date: CountingDate,
  performance: { now },
  console: {
    log: writes("info"),
    info: writes("info"),
    debug: writes("debug"),
    warn: writes("warn"),
    error: writes("error"),
  },
});
