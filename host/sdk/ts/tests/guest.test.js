/** What a plugin in TypeScript answers to the host. Bundled by esbuild and run by `node --test`: see tests/sdks.rs. */

import assert from "node:assert/strict";
import test from "node:test";

import { Fault, Output, Score, environment, groupReward, log, modelScores, reward, tool, tools } from "../rewarden.ts";
import { component } from "../guest.ts";
import { bind } from "../host.ts";

const described = { name: "p", version: "0.1.0", summary: "s", settingsSchema: "" };

function configured(plugin, settings = "{}") {
  const made = component(plugin, { kind: plugin.kind, ...described });
  made.plugin.configure(settings, 7);
  return made;
}

/** What the bindings hand over. */
function sample(response = "hi") {
  const said = { role: "assistant", content: response, name: null, toolCalls: [], toolCallId: null };
  return { completion: [said], groundTruth: "hi", extra: "{}", stopReason: "max-tokens", turnScores: [] };
}

/** What throwing gives the host. */
function thrown(call) {
  try {
    return call();
  } catch (error) {
    return error;
  }
}

function check(score, expected) {
  const [judged] = configured(reward(score)).reward.scoreBatch([sample()]);
  const { val } = judged;
  if (typeof expected === "string") assert.ok(`${val.tag}: ${val.val}`.startsWith(expected), `${val.tag}: ${val.val}`);
  else assert.deepEqual(val, { value: null, steps: [], components: [], metrics: [], note: "", ...expected });
}

test("scores", () => {
  check(() => 1, { value: 1 });
  check(() => true, { value: 1 });
  check(() => Score.none(), {});
  check((given) => Score.of(Number(given.response() === given.groundTruth), { note: given.stopReason }), { value: 1, note: "max_tokens" });
  check(() => Score.of(0.5, { steps: [1, 0], metrics: { a: 1 } }), { value: 0.5, steps: [1, 0], metrics: [{ name: "a", value: 1 }] });
  check(() => Score.of(1, { note: "\ud800" }), { value: 1, note: "\ufffd" });
  check(() => Score.of(1, { note: "x".repeat(4097) }), { value: 1, note: "x".repeat(4096) });
  check(() => Score.of(1, { note: "x".repeat(4095) + "ü" }), { value: 1, note: "x".repeat(4095) });
});

test("faults", () => {
  check(() => undefined, "internal: TypeError: a score is a number or a Score, and this is undefined undefined; Score.none()");
  check(async () => 1, "internal: TypeError: a score is a number or a Score, and this is a promise: a component cannot wait");
  check(() => Score.of(1, { note: 3 }), "internal: TypeError: this must be a text, and is number 3");
  check(() => Score.of(1, { metrics: { a: "1" } }), "internal: TypeError: this must be a number, and is string 1");
  check(() => null.x, "internal: TypeError: ");
  check(() => { throw Fault.invalidInput("bad"); }, "invalid-input: bad");
  check(() => { throw "text"; }, "internal: thrown: string text");
});

test("a stack names the author's lines and leaves ours out", () => {
  globalThis.rewardenLines = { sources: ["plugin.ts"], lines: [[[1, null, 1]], [[1, 0, 6], [3, 0, 7]]] };
  const stack = ["    at f (/bundle.js:2:3)", "    at map (native)", "    at judged (/bundle.js:1:1)", "    at map (native)"];
  const error = Object.assign(new Error("boom"), { stack: stack.join("\n") });
  const [judged] = configured(reward(() => { throw error; })).reward.scoreBatch([sample()]);
  assert.equal(judged.val.val, "Error: boom\n    at f (plugin.ts:7)");
  globalThis.rewardenLines = undefined;
});

test("settings", () => {
  const says = (settings, expected, defaults = { bonus: 0, mode: "a", list: [], deep: { x: true }, any: null, free: {} }) => {
    const plugin = reward((_, given) => Score.of(0, { note: JSON.stringify(given) }), { settings: defaults });
    const found = thrown(() => configured(plugin, settings).reward.scoreBatch([sample()])[0].val.note);
    assert.equal(typeof found === "string" ? found : `${found.tag}: ${found.val}`, expected);
  };
  says("", '{"bonus":0,"mode":"a","list":[],"deep":{"x":true},"any":null,"free":{}}');
  says('{"bonus":2,"any":[1],"free":{"y":1}}', '{"bonus":2,"mode":"a","list":[],"deep":{"x":true},"any":[1],"free":{"y":1}}');
  says('{"bonsu":1}', "misconfigured: `bonsu` is unknown: did you mean `bonus`?");
  says('{"zzz":1}', "misconfigured: `zzz` is unknown: there are `bonus`, `mode`, `list`, `deep`, `any`, `free`");
  says('{"a":1}', "misconfigured: `a` is unknown: there is nothing to set", {});
  says('{"bonus":"1"}', 'misconfigured: `bonus` must be a number, and is "1"');
  says('{"list":{}}', "misconfigured: `list` must be an array, and is {}");
  says('{"deep":{"x":1}}', "misconfigured: `deep.x` must be a boolean, and is 1");
  says('{"__proto__":1}', "misconfigured: `__proto__` is unknown: there are `bonus`, `mode`, `list`, `deep`, `any`, `free`");
  says("[]", "misconfigured: the settings are no JSON object: []");
  says("[".repeat(100000), "misconfigured: the settings are no JSON: it is nested more than 100 deep");
  says("{", /./.exec(thrown(() => configured(reward(() => 0), "{")).val) && `misconfigured: ${thrown(() => configured(reward(() => 0), "{")).val}`);
  says('{"n":1}', '{"twice":2}', (given) => ({ twice: given.n * 2 }));
  says('{"n":1}', "misconfigured: no", () => { throw new Error("no"); });
});

test("groups", () => {
  const group = [sample("a"), sample("bb")];
  const lengths = groupReward((samples) => samples.map((each) => each.response().length));
  assert.deepEqual(configured(lengths).groupReward.scoreGroup(group).map((score) => score.value), [1, 2]);
  const short = thrown(() => configured(groupReward(() => [0])).groupReward.scoreGroup(group));
  assert.match(short.val, /^Error: there are 2 samples and 1 scores/);
});

test("episodes", () => {
  const game = environment((task, seed) => {
    let turns = 0;
    return {
      messages: `${task.groundTruth} ${seed} ${Math.random()}`,
      step(action) {
        turns += 1;
        if (action.content === "boom") throw new RangeError("boom");
        if (action.content === "none") return undefined;
        return { observation: [{ role: "tool", content: "ok", name: "t" }], done: action.content === "stop" };
      },
      finish: () => ({ turns }),
    };
  });
  const { environment: played } = configured(game);
  const first = played.start({ groundTruth: "42" }, 3);
  assert.match(first[0].content, /^42 3 0\./);
  const message = { role: "tool", content: "ok", name: "t", toolCalls: [], toolCallId: null };
  assert.deepEqual(played.step({ content: "go" }), { observation: [message], reward: 0, done: false, metrics: [] });
  assert.match(thrown(() => played.step({ content: "boom" })).val, /^RangeError: boom/);
  assert.match(thrown(() => played.step({ content: "none" })).val, /^TypeError: step gives back a transition, and this is undefined/);
  assert.equal(played.step({ content: "stop" }).done, true);
  assert.deepEqual(played.finish(), [{ name: "turns", value: 4 }]);
  assert.deepEqual(played.start({ groundTruth: "42" }, 3), first);
});

test("tools", () => {
  const parameters = {
    type: "object",
    properties: { by: { type: "integer" }, how: { enum: ["up", "down"] }, any: { type: ["string", "null"] } },
    required: ["by"],
    additionalProperties: false,
  };
  const run = ({ by }) => (by === 13 ? new Output("unlucky", 0.5, { n: 1 }) : String(by));
  const { tool: called } = configured(tools([tool({ name: "count", description: "Counts.", parameters, run })]));
  assert.deepEqual(called.listTools(), [{ name: "count", description: "Counts.", parameters: JSON.stringify(parameters) }]);
  const says = (given, expected, name = "count") => assert.equal(called.call({ name, arguments: given }).content, expected);
  says('{"by":2,"how":"up","any":null}', "2");
  says('{"by":13}', "unlucky");
  says("{}", "The call of `count` is wrong: `by` is missing");
  says('{"by":1.5}', "The call of `count` is wrong: `by` must be an integer");
  says('{"by":1,"how":"left"}', 'The call of `count` is wrong: `how` must be one of "up", "down"');
  says('{"by":1,"any":3}', "The call of `count` is wrong: `any` must be a string or null");
  says('{"by":1,"hwo":"up"}', "The call of `count` is wrong: `hwo` is unknown: there are `by`, `how`, `any`");
  says("[]", "The call of `count` is wrong: the arguments are no JSON object: []");
  says("{}", "There is no tool `x`: there is `count`", "x");
});

test("the sandbox", () => {
  const look = () => Score.of(Math.random(), { note: `${new Date().toISOString()} ${Date.now()} ${new Date(0).getTime()}` });
  const [one, other] = configured(reward(look)).reward.scoreBatch([sample(), sample()]);
  assert.deepEqual(one, other);
  assert.equal(one.val.note, "1970-01-01T00:00:01.000Z 1000 0");
  assert.ok(one.val.value > 0 && one.val.value < 1);
});

test("the host's services", () => {
  const lines = [];
  bind({
    "host-log": { log: (level, line) => lines.push(`${level}: ${line}`) },
    "host-model": { score(binding, conversations) {
      if (binding !== "judge") throw Object.assign(new Error(), { payload: { tag: "unavailable", val: `no ${binding}` } });
      return Float64Array.from(conversations, (messages) => messages.length);
    } },
  });
  log("a");
  console.warn("b", { c: 1 });
  assert.deepEqual(modelScores("judge", [[{ role: "user", content: "q" }]]), [1]);
  assert.deepEqual(lines, ["info: a", 'warn: b {"c":1}']);
  check(() => modelScores("other", []), "unavailable: no other");
  bind({});
  check(() => modelScores("judge", []), "unavailable: plugin.toml does not ask for it: capabilities");
});

test("what is no plugin", () => {
  assert.throws(() => component(undefined, { kind: "reward", ...described }), /the default export of the plugin is something else/);
  assert.throws(() => component(groupReward(() => []), { kind: "reward", ...described }), /is a plugin of kind "group-reward"/);
});
