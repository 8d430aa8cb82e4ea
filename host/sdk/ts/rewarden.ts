/**
 * Write a Rewarden plugin in TypeScript: a plain function, its settings, and one call around them.
 *
 *     import { Score, reward } from "rewarden";
 *
 *     export default reward((sample, settings) => {
 *       const right = sample.response().trim() === sample.groundTruth;
 *       return Score.of(right ? 1 + settings.bonus : 0);
 *     }, { settings: { bonus: 0 } });
 *
 * `rewarden plugin build` makes a component of it. What the contract in wit/ asks for besides (describe, configure, batches,
 * faults) is written in guest.ts once. The top level of plugin.ts runs while it is built: every sample starts behind it.
 */

export { environment, groupReward, reward, tool, tools } from "./authoring";
export type { Episode, Options, Plugin, Tool, Transition } from "./authoring";
export { callTool, generate, log, modelScores } from "./host";
export type { Level } from "./host";
export { Fault, Output, Sample, Score } from "./records";
export type { FaultKind, Message, Role, Said, StopReason, Task, ToolCall } from "./records";
