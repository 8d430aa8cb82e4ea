//! A program of your own that judges answers with plugins: limits, isolation, a grant, a model, receipts, a rubric, a swap.
//! Run it: `cargo run -p rewarden-runtime --example embed -- path/to/plugin.wasm [path/to/another.wasm]`

use std::error::Error;
use std::path::PathBuf;

use rewarden_runtime::{
    Grader, Grants, Isolation, Limits, Message, Model, Plugin, PluginSpec, Role, Rubric, RubricRules, Runtime,
    RuntimeConfig, Sample, Services, StopReason, Weight,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = std::env::args_os().skip(1).map(PathBuf::from);
    let first = paths.next().ok_or("usage: embed PLUGIN.wasm [ANOTHER.wasm]")?;
    let second = paths.next().unwrap_or_else(|| first.clone());
    // Any executor does: plugins run on threads of the runtime's own.
    tokio::runtime::Builder::new_current_thread().build()?.block_on(judge(first, second))
}

async fn judge(first: PathBuf, second: PathBuf) -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::new(RuntimeConfig::default())?; // one per process; a `cache_dir` keeps native code
    let spec = PluginSpec {
        limits: Limits { timeout_ms: 500, memory_bytes_max: 32 << 20, ..Limits::default() },
        isolation: Isolation::Batch,
        grants: Grants::new(["host-log", "host-model"])?,
        // Only a plugin that imports `host-model` asks it. A real one would run a reward model here.
        services: Services { models: [("judge".to_owned(), length_model())].into(), ..Services::default() },
        ..PluginSpec::path(first)
    };
    let plugin = runtime.load(&spec).await?;
    println!("{} {}: {}", plugin.manifest().name, plugin.digest(), plugin.manifest().summary);
    println!("sealed: {}, reproducible: {}", plugin.sealed(), plugin.reproducible());

    // One judgement per sample, in order. A fault is data, and takes nothing from its siblings.
    for judgement in plugin.reward()?.judge_batch(samples()).await {
        let receipt = judgement.receipt;
        match judgement.result {
            Ok(score) => println!("score {:?}, note {:?}", score.value, score.note),
            Err(fault) => println!("no score, {}: {fault}", fault.kind()),
        }
        let kib = receipt.memory_bytes_peak >> 10;
        println!("    {} fuel, {} us, {kib} KiB, {} in the call", receipt.fuel, receipt.micros, receipt.samples);
    }

    // Two graders: one counts fully, the other less and less until it is only watched.
    let another = runtime.load(&PluginSpec::path(second)).await?;
    let fading = Weight::Schedule(vec![(0, 0.5), (100, 0.0)]);
    let graders = vec![grader("main", 1.0.into(), &plugin)?, grader("fading", fading, &another)?];
    let mut rubric = Rubric::new(graders, RubricRules::default())?;
    for step in [0, 50, 100] {
        let rewards: Vec<_> = rubric.grade(samples(), step).await?.iter().map(|graded| graded.reward).collect();
        println!("step {step}: rewards {rewards:?}");
    }

    // Between two batches a grader can become another plugin, or the same with other limits.
    let old = rubric.swap("main", another.reward()?)?;
    println!("main: {} -> {}", old.digest(), rubric.digests()["main"]);
    let rewards: Vec<_> = rubric.grade(samples(), 101).await?.iter().map(|graded| graded.reward).collect();
    println!("step 101: rewards {rewards:?}");
    Ok(())
}

fn grader(name: &str, weight: Weight, plugin: &Plugin) -> Result<Grader, rewarden_runtime::Error> {
    let reward = plugin.reward()?;
    Ok(Grader {
        name: name.to_owned(),
        weight,
        priority: 0,
        data_source: vec![],
        on_fault: None,
        scorer: reward.into(),
    })
}

/// Stands for a reward model: scores conversations by their length, as many at a time as plugins ask about.
fn length_model() -> Model {
    let length = |conversation: &Vec<Message>| conversation.iter().map(|message| message.content.len()).sum::<usize>();
    Model::scoring(move |conversations| Ok(conversations.iter().map(|asked| length(asked) as f64).collect()))
}

/// Right, wrong, and one that nobody can judge, because there is no reference.
fn samples() -> Vec<Sample> {
    let message = |role, content: &str| {
        let content = content.to_owned();
        Message { role, content, name: None, tool_calls: vec![], tool_call_id: None }
    };
    let sample = |(id, answer, ground_truth): (&str, &str, &str)| Sample {
        id: id.to_owned(),
        group: "6x7".to_owned(),
        data_source: "example".to_owned(),
        prompt: vec![message(Role::User, "What is 6 x 7?")],
        completion: vec![message(Role::Assistant, answer)],
        ground_truth: ground_truth.to_owned(),
        extra: "{}".to_owned(),
        stop_reason: StopReason::Completed,
        turn_scores: vec![],
        completion_tokens: 0,
        step: 0,
    };
    [("1", "6 x 7 = 42\n#### 42", "42"), ("2", "#### 41", "42"), ("3", "#### 42", "")].map(sample).into()
}
