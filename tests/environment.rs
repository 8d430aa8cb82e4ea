//! Environments: whole episodes, their faults, forks by replay, tools.

use std::future::Future;
use std::task::{Context, Waker};

use rewarden_runtime::{
    Environment, Episode, Fault, Grants, Limits, Message, Metric, PluginSpec, Role, Services, Task, ToolCall,
};

use crate::guests::{HELPER, ORACLE, runtime, wait};

fn limits() -> Limits {
    Limits { fuel: 50_000_000, memory_bytes_max: 32 << 20, timeout_ms: 60_000, ..Limits::default() }
}

fn environment(spec: PluginSpec) -> Environment {
    let spec = PluginSpec { limits: limits(), ..spec };
    wait(runtime().load(&spec)).expect("loads").environment().expect("an environment")
}

fn oracle() -> Environment {
    environment(PluginSpec::path(&**ORACLE))
}

fn task(number: &str, sin: &str) -> Task {
    Task { id: "1".into(), data_source: "test".into(), prompt: vec![], ground_truth: number.into(), extra: sin.into() }
}

fn says(content: &str) -> Message {
    Message { role: Role::Assistant, content: content.into(), name: None, tool_calls: vec![], tool_call_id: None }
}

fn start(environment: &Environment, number: &str, sin: &str, seed: u32) -> Episode {
    let (episode, first) = wait(environment.start(task(number, sin), seed));
    assert_eq!(first.expect("messages")[0].content, "Guess my number.");
    episode
}

/// What the environment answers: its last message and the reward.
fn step(episode: &mut Episode, guess: &str) -> (String, f64, bool) {
    let transition = wait(episode.step(says(guess))).expect("a transition");
    let receipt = episode.receipt();
    assert!(receipt.fuel > 0 && receipt.memory_bytes_peak > 0, "{receipt:?}");
    let text = transition.observation.last().map(|message| message.content.clone()).unwrap_or_default();
    (text, transition.reward, transition.done)
}

fn metric(metrics: &[Metric], name: &str) -> Option<f64> {
    metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
}

#[test]
fn an_episode_from_start_to_finish() {
    let mut episode = start(&oracle(), "42", "", 0);
    assert_eq!(step(&mut episode, "50"), ("Lower.".into(), 0.0, false));
    assert_eq!(step(&mut episode, "about forty"), ("That is no number.".into(), 0.0, false));
    assert_eq!(step(&mut episode, "25"), ("Higher.".into(), 0.0, false));
    assert!(!episode.is_over());
    assert_eq!(step(&mut episode, "42"), (String::new(), 1.0, true));
    assert!(episode.is_over());
    let over = wait(episode.step(says("42"))).expect_err("over");
    assert_eq!(over.to_string(), "the episode is over: the environment said that it is done");
    let metrics = wait(episode.finish()).expect("metrics");
    assert_eq!((metric(&metrics, "turns"), metric(&metrics, "finished")), (Some(4.0), Some(1.0)));
    let over = [wait(episode.finish()).expect_err("once"), wait(episode.step(says("42"))).expect_err("over")];
    assert!(over.iter().all(|fault| *fault == Fault::EpisodeOver("it was finished".into())), "{over:?}");
}

#[test]
fn an_episode_may_be_finished_at_any_time_or_dropped() {
    let environment = oracle();
    let mut episode = start(&environment, "42", "", 0);
    assert_eq!(metric(&wait(episode.finish()).expect("metrics"), "turns"), Some(0.0));
    let mut episode = start(&environment, "42", "", 0);
    step(&mut episode, "1");
    assert_eq!(metric(&wait(episode.finish()).expect("metrics"), "turns"), Some(1.0));
    drop(start(&environment, "42", "", 0));
}

/// The fault that ends an episode with this sin, and whether the environment still has numbers afterwards.
#[track_caller]
fn check(sin: &str, kind: &str, still_finishes: bool) {
    let environment = oracle();
    let mut neighbour = start(&environment, "42", "", 0);
    let (mut episode, first) = wait(environment.start(task("42", sin), 0));
    let fault = match first {
        Err(fault) => fault,
        Ok(_) => wait(episode.step(says("50"))).expect_err("a fault"),
    };
    assert_eq!(fault.kind(), kind, "{sin}: {fault}");
    assert!(episode.is_over());
    let over = wait(episode.step(says("50"))).expect_err("over").to_string();
    assert!(over.contains(&format!("it had a fault: {kind}")), "{over}");
    let metrics = wait(episode.finish()).expect("no second fault");
    assert_eq!(metric(&metrics, "finished").is_some(), still_finishes, "{sin}");
    assert!(matches!(wait(episode.finish()), Err(Fault::EpisodeOver(_))));
    // Nobody else noticed.
    assert_eq!(step(&mut neighbour, "42").1, 1.0);
}

#[test]
fn a_fault_ends_the_episode_and_no_other() {
    check("loop in start", "out-of-fuel", false);
    check("panic in start", "trap", false);
    check("fault in start", "invalid-input", true);
    check("loop in step", "out-of-fuel", false);
    check("hoard in step", "out-of-memory", false);
    check("panic in step", "trap", false);
    check("fault in step", "invalid-input", true);
    check("nan in step", "invalid-output", true);
    check("many in step", "invalid-output", true);
    check("huge in step", "invalid-output", false);
}

#[test]
fn an_observation_is_bounded_as_any_answer() {
    let limits = Limits { output_bytes_max: 50_000, ..limits() };
    let plugin = wait(runtime().load(&PluginSpec { limits, ..PluginSpec::path(&**ORACLE) })).expect("loads");
    let mut episode = start(&plugin.environment().expect("an environment"), "42", "long in step", 0);
    let fault = wait(episode.step(says("50"))).expect_err("a fault").to_string();
    assert!(fault.contains("output_bytes_max = 50000"), "{fault}");
}

#[test]
fn a_fault_in_finish_is_told_and_harms_nobody() {
    for (sin, kind) in
        [("panic in finish", "trap"), ("loop in finish", "out-of-fuel"), ("nan in finish", "invalid-output")]
    {
        let mut episode = start(&oracle(), "42", sin, 0);
        step(&mut episode, "42");
        assert_eq!(wait(episode.finish()).expect_err("a fault").kind(), kind);
        assert_eq!(wait(episode.finish()), Err(Fault::EpisodeOver("it was finished".into())));
    }
}

#[test]
fn a_call_that_is_given_up_ends_the_episode() {
    let mut episode = start(&oracle(), "42", "loop in step", 0);
    drop(episode.step(says("50")));
    assert!(!episode.is_over(), "it was not begun");
    let mut begun = Box::pin(episode.step(says("50")));
    assert!(begun.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(begun);
    let over = wait(episode.step(says("50"))).expect_err("over").to_string();
    assert!(over.contains("given up before it was answered"), "{over}");
    assert_eq!(wait(episode.finish()), Ok(vec![]));
}

#[test]
fn every_call_has_the_whole_budget() {
    // Far more turns than one budget pays for, were it not armed anew.
    let limits = Limits { fuel: 30_000, ..limits() };
    let plugin = wait(runtime().load(&PluginSpec { limits, ..PluginSpec::path(&**ORACLE) })).expect("loads");
    let mut episode = start(&plugin.environment().expect("an environment"), "42", "", 0);
    let mut fuel = 0;
    for _ in 0..200 {
        step(&mut episode, "50");
        fuel += episode.receipt().fuel;
    }
    assert!(fuel > 60_000, "{fuel}");
}

#[test]
fn the_seed_decides_and_a_fork_is_a_replay() {
    let environment = oracle();
    let play = |seed, guesses: &[&str]| {
        let mut episode = start(&environment, "", "", seed);
        let answers: Vec<_> = guesses.iter().map(|guess| (step(&mut episode, guess), episode.receipt().fuel)).collect();
        (episode, answers)
    };
    let (mut original, answers) = play(77, &["50", "90"]);
    let (mut fork, again) = play(77, &["50", "90"]);
    assert_eq!(answers, again, "answers and fuel");
    assert_eq!(step(&mut fork, "77").1, 1.0);
    assert_eq!(step(&mut original, "70"), ("Higher.".into(), 0.0, false));
    assert_ne!(answers, play(10, &["50", "90"]).1);
}

#[test]
fn many_episodes_live_side_by_side() {
    let environment = oracle();
    // More than any pool of instances has room for, all of them open at the same time.
    let mut episodes: Vec<Episode> = (0..500).map(|seed| start(&environment, "", "", seed)).collect();
    for turn in 0..3 {
        for (seed, episode) in episodes.iter_mut().enumerate() {
            let expected = if seed % 100 > turn { "Higher." } else { "Lower." };
            let answer = step(episode, &turn.to_string()).0;
            assert!(answer == expected || seed % 100 <= turn, "episode {seed} turn {turn}: {answer}");
            if episode.is_over() {
                *episode = start(&environment, "99", "", 0);
            }
        }
    }
    let handles: Vec<_> = episodes
        .into_iter()
        .enumerate()
        .map(|(seed, episode)| {
            std::thread::spawn(move || {
                let mut episode = episode;
                let number = if seed % 100 < 3 { 99 } else { seed % 100 };
                step(&mut episode, &number.to_string()).1
            })
        })
        .collect();
    for handle in handles {
        assert_eq!(handle.join().expect("a thread"), 1.0);
    }
}

#[test]
fn an_environment_calls_the_tools_it_was_granted() {
    let helper = wait(runtime().load(&PluginSpec::path(&**HELPER))).expect("loads");
    let tools = vec![wait(helper.tool()).expect("a tool")];
    let services = Services { tools, ..Services::default() };
    let grants = Grants::new(["host-tools"]).expect("a known name");
    let granted = environment(PluginSpec { services, grants, ..PluginSpec::path(&**ORACLE) });
    let call = |name: &str| Message {
        tool_calls: vec![ToolCall { id: "c1".into(), name: name.into(), arguments: r#"{"a":1}"#.into() }],
        ..says("")
    };
    let mut episode = start(&granted, "42", "", 0);
    for _ in 0..200 {
        let transition = wait(episode.step(call("echo"))).expect("a transition");
        let message = &transition.observation[0];
        assert_eq!((message.role, message.content.as_str()), (Role::Tool, r#"{"a":1}"#));
        assert_eq!((message.name.as_deref(), message.tool_call_id.as_deref()), (Some("echo"), Some("c1")));
    }
    assert_eq!(step(&mut episode, "42").1, 1.0);

    // A tool's failure is the environment's to hear, and this one passes it on.
    for (name, words) in [("trap", "unreachable"), ("again", ""), ("nothing", "there is no function \"nothing\"")] {
        let mut episode = start(&granted, "42", "", 0);
        match wait(episode.step(call(name))) {
            Err(Fault::Unavailable(reason)) => assert!(reason.contains(words), "{reason}"),
            Ok(transition) => assert!(transition.observation[0].content.contains("not granted"), "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    let mut refused = start(&oracle(), "42", "", 0);
    let fault = wait(refused.step(call("echo"))).expect_err("a fault").to_string();
    assert!(fault.contains(r#"grants = ["host-tools"]"#), "{fault}");
}
