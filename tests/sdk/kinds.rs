//! Group rewards, environments and tools in C and Go.

use rewarden_runtime::{Fault, Message, Metric, PluginSpec, Role, Task, ToolCall};
use serde_json::json;

use super::{files, load, message, source, spec, written};
use crate::guests::{answer, wait};
use crate::languages::built;

/// The source of that name in both languages, as a plugin of this kind with these settings.
fn plugins(name: &str, kind: &str, settings: serde_json::Value) -> Vec<(&'static str, PluginSpec)> {
    let plugin = |language: &'static str| {
        let folder = written(&format!("{language}-{name}"), &files(language, kind, &[], &source(name, language)));
        let spec = PluginSpec { settings: settings.clone(), ..spec(&built(&folder)?) };
        Some((language, spec))
    };
    ["c", "go"].into_iter().filter_map(plugin).collect()
}

#[test]
fn groups_are_judged_together() {
    for (language, spec) in plugins("group", "group-reward", json!({})) {
        let plugin = load(&spec);
        assert!(plugin.sealed(), "{language}");
        let reward = plugin.group_reward().expect("a group reward");
        let group = |extra| vec![answer("abc", "", extra), answer("", "", "{}"), answer("ab", "", "{}")];
        let judge = |extra| wait(reward.score_groups(vec![group(extra)])).remove(0);
        let values: Vec<_> = judge("{}").expect(language).into_iter().map(|score| score.value).collect();
        assert_eq!(values, [Some(3.0), Some(10.0), Some(22.0)], "{language}");
        assert_eq!(judge("fault").expect_err(language), Fault::InvalidInput("as asked".into()));
        assert!(judge("forgotten").expect_err(language).to_string().contains("no value"), "{language}");
    }
}

fn task(id: &str) -> Task {
    Task {
        id: id.into(),
        data_source: "d".into(),
        prompt: vec![message(Role::User, "go"), message(Role::Assistant, "")],
        ground_truth: "é".into(),
        extra: "{}".into(),
    }
}

#[test]
fn an_episode_is_played() {
    for (language, spec) in plugins("environment", "environment", json!({"bonus": 1})) {
        let plugin = load(&spec);
        assert!(plugin.sealed(), "{language}");
        let environment = plugin.environment().expect("an environment");
        let (mut episode, shown) = wait(environment.start(task("t"), 7));
        let expected = [message(Role::System, "t|d|é|{}|7"), message(Role::User, "go"), message(Role::Assistant, "")];
        assert_eq!(shown.expect(language), expected, "{language}");
        let call = ToolCall { id: "c1".into(), name: "add".into(), arguments: "{\"a\":1}".into() };
        let action = Message { tool_calls: vec![call], ..message(Role::Assistant, "") };
        let next = wait(episode.step(action)).expect(language);
        let answered = Message {
            name: Some("add".into()),
            tool_call_id: Some("c1".into()),
            ..message(Role::Tool, "add({\"a\":1})")
        };
        assert_eq!(next.observation, [message(Role::User, "é has 1"), answered], "{language}");
        assert_eq!((next.reward, next.done), (1.5, false), "{language}");
        assert_eq!(next.metrics, [Metric { name: "steps".into(), value: 1.0 }], "{language}");
        // Long texts between steps: what the episode keeps must not be where they are put.
        let long = message(Role::Assistant, &"long ".repeat(100_000));
        let next = wait(episode.step(long)).expect(language);
        assert_eq!(next.observation, [message(Role::User, "é has 2")], "{language}");
        let next = wait(episode.step(message(Role::Assistant, "end"))).expect(language);
        assert!(next.done && next.observation[0].content == "é has 3", "{language}: {next:?}");
        assert_eq!(wait(episode.finish()).expect(language), [Metric { name: "all".into(), value: 3.0 }]);
    }
}

#[test]
fn an_episode_has_faults() {
    for (language, spec) in plugins("environment", "environment", json!({"bonus": 1})) {
        let environment = load(&spec).environment().expect("an environment");
        let (_, shown) = wait(environment.start(task("refused"), 0));
        assert_eq!(shown.expect_err(language), Fault::InvalidInput("as asked".into()));
        let (mut episode, _) = wait(environment.start(task("t"), 0));
        let fault = wait(episode.step(message(Role::Assistant, "fault"))).expect_err(language);
        assert_eq!(fault, Fault::Internal("as asked".into()), "{language}");
    }
}

#[test]
fn a_tool_is_called() {
    for (language, spec) in plugins("tool", "tool", json!({"offset": 10})) {
        let plugin = load(&spec);
        assert!(plugin.sealed(), "{language}");
        let tool = wait(plugin.tool()).expect("a tool");
        let specs: Vec<_> = tool.specs().iter().map(|spec| (spec.name.as_str(), spec.description.as_str())).collect();
        assert_eq!(specs, [("add", "Adds ∑."), ("broken", "Fails.")], "{language}");
        let schema: serde_json::Value = serde_json::from_str(&tool.specs()[0].parameters).expect(language);
        assert_eq!(schema, json!({"type": "object", "properties": {"a": {"type": "number"}}}), "{language}");
        let call = |name: &str, arguments: &str| {
            wait(tool.call(ToolCall { id: "c1".into(), name: name.into(), arguments: arguments.into() }))
        };
        let output = call("add", "{\"a\": 1, \"b\": 2.5}").expect(language);
        assert_eq!((output.content.as_str(), output.reward), ("13.5", 0.25), "{language}");
        assert_eq!(output.metrics, [Metric { name: "calls".into(), value: 1.0 }], "{language}");
        // What the policy got wrong, it reads.
        assert_eq!(call("add", "{}").expect(language).content, "error: `a` is missing", "{language}");
        assert!(call("add", "{\"a\"").expect(language).content.starts_with("error: "), "{language}");
        let unknown = call("multiply", "{}").expect(language).content;
        assert_eq!(unknown, "error: there is no function `multiply`, only `add`, `broken`", "{language}");
        assert_eq!(call("broken", "{}").expect_err(language), Fault::Internal("c1 is broken".into()));
    }
}
