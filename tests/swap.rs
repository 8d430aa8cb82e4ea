//! `rewarden swap`, `--watch`, and that a resumed run has the rewards it had: real runs, real kills.
//!
//! A run is stopped (SIGSTOP) while a request is laid before it, so that no test depends on who is faster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::guests::{FIRST_REWARD, GSM8K, HOSTILE, STD, rewarden, succeeds};
use crate::training::{checkpoint, copy, fails, finish, folder, rows, small, timeless};

/// Steps of a run that must not end before the test wants it to.
const ENDLESS: &str = "rl.max_steps=100000";

/// A finished supervised stage on answers so uniform that a few steps are enough to repeat them: gsm8k pays for many of
/// them, and first-reward, which does not know what `####` means, for none.
static SFT: LazyLock<TempDir> = LazyLock::new(|| {
    let run = folder();
    let row = |index: usize| format!("{{\"question\":\"{index}: say {0}\",\"answer\":\"#### {0}\"}}\n", index % 3);
    fs::write(run.path().join("rows.jsonl"), (0..60).map(row).collect::<String>()).expect("written");
    let stage = run.path().join("run");
    finish(on_rows(small("sft", &stage), run.path()));
    run
});

fn on_rows(mut command: Command, folder: &Path) -> Command {
    let data = format!("data={{path='{}', test_size=6}}", folder.join("rows.jsonl").display());
    command.args(["--set", &data, "--set", "sft.max_steps=60", "--set", "sft.num_epochs=30"]);
    command
}

/// `rewarden rl` on that stage, with the component of gsm8k as the config's plugin.
fn rl(run: &Path, settings: &[&str]) -> Command {
    if !run.join("sft").exists() {
        copy(&SFT.path().join("run"), run);
    }
    let mut command = on_rows(small("rl", run), SFT.path());
    command.arg("--set").arg(format!("reward=[{{name='gsm8k', plugin='{}'}}]", GSM8K.display()));
    for setting in settings {
        command.args(["--set", setting]);
    }
    command
}

/// A run in the background, killed when the test is over.
struct Run {
    child: Child,
    path: PathBuf,
}

impl Run {
    fn start(mut command: Command, path: &Path) -> Run {
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        Run { child, path: path.to_owned() }
    }

    /// Waits until the run has logged so many steps and halts it there, or a little later.
    #[track_caller]
    fn halt_after(&mut self, steps: usize) {
        self.wait_for(|run| run.steps() >= steps);
        self.signal("STOP");
    }

    fn go_on(&mut self) {
        self.signal("CONT");
    }

    fn steps(&self) -> usize {
        fs::read_to_string(self.path.join("rl/metrics.jsonl")).map_or(0, |text| text.lines().count())
    }

    /// The run must stay alive until something is so.
    #[allow(clippy::disallowed_methods, reason = "a test that waits for another process needs a clock")]
    #[track_caller]
    fn wait_for(&mut self, is_so: impl Fn(&Run) -> bool) {
        let started = Instant::now();
        while !is_so(self) {
            let ended = self.child.try_wait().expect("a state");
            assert!(ended.is_none() || is_so(self), "the run ended before: {ended:?}");
            assert!(started.elapsed() < Duration::from_secs(60), "nothing happened for a minute");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &command]).status().expect("sh").success(), "{command}");
    }

    fn swaps(&self) -> Vec<Map<String, Value>> {
        let file = self.path.join("rl/swaps.jsonl");
        if file.exists() { rows(&file) } else { vec![] }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn swap(run: &Path, arguments: &[&str]) -> Command {
    let mut command = rewarden();
    command.arg("swap").arg(run).arg("gsm8k").args(arguments);
    command
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn digest(component: &Path) -> String {
    rewarden_runtime::Digest::of(&fs::read(component).expect("a component")).to_string()
}

/// The digest of the reward at each step, from metrics and from rollouts, which must agree.
#[track_caller]
fn digests(run: &Path) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("a digest").to_owned();
    let metrics: Vec<String> =
        rows(&run.join("rl/metrics.jsonl")).iter().map(|row| text(&row["plugin/gsm8k/digest"])).collect();
    for row in rows(&run.join("rl/rollouts.jsonl")) {
        let step = row["step"].as_u64().expect("a step") as usize;
        if let Some(digest) = metrics.get(step) {
            assert_eq!(*digest, text(&row["scores"]["gsm8k"]["plugin"]), "step {step}");
        }
    }
    metrics
}

#[test]
fn a_live_run_swaps_shadows_promotes_and_rolls_back() {
    let folder = folder();
    let mut run = Run::start(rl(folder.path(), &[ENDLESS]), folder.path());
    run.wait_for(|run| run.steps() >= 1);
    let (old, new) = (digest(&GSM8K), digest(&FIRST_REWARD));
    let ask = |arguments: &[&str]| succeeds(swap(folder.path(), arguments).output().expect("the binary runs"));
    let steps = [
        ask(&[utf8(&FIRST_REWARD)]),
        ask(&["--rollback"]),
        ask(&[utf8(&FIRST_REWARD), "--shadow"]),
        ask(&["--promote"]),
    ];
    let expected = [
        format!("gsm8k: {old} -> {new} from step "),
        format!("gsm8k: {new} -> {old} from step "),
        format!("gsm8k: shadow nothing -> {new} from step "),
        format!("gsm8k: {old} -> {new} from step "),
    ];
    for (said, expected) in steps.iter().zip(&expected) {
        assert!(said.starts_with(expected), "{said}");
    }
    // Refused by the run itself: it alone knows what it has.
    fails(swap(folder.path(), &["--drop-shadow"]), &["the run refuses", "no shadow"]);
    fails(swap(folder.path(), &[utf8(&FIRST_REWARD)]), &["is sha256:", "already"]);
    let last = steps[3].trim().rsplit(' ').next().expect("a step").parse::<usize>().expect("a number");
    run.wait_for(|run| run.steps() > last + 1);
    run.signal("STOP");
    let found = digests(folder.path());
    for row in run.swaps().iter().filter(|row| !row.contains_key("refused") && row["kind"] != "shadow") {
        let step = row["step"].as_u64().expect("a step") as usize;
        assert_eq!((&found[step - 1], &found[step]), (&text(&row["from"]), &text(&row["to"])), "{row:?}");
    }
    let shadowed = |row: &&Map<String, Value>| row.contains_key("shadow/gsm8k/digest");
    let metrics = rows(&folder.path().join("rl/metrics.jsonl"));
    assert!(metrics.iter().any(|row| shadowed(&row) && row["plugin/gsm8k/digest"] == old.as_str()));
    assert!(!shadowed(&&metrics[last]), "a promoted shadow is none any more");
    for digest in [old, new] {
        assert!(folder.path().join(format!("plugins/{}.wasm", &digest["sha256:".len()..])).is_file());
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

#[test]
fn what_is_not_fit_is_refused_before_the_run_hears_of_it() {
    let folder = folder();
    let nowhere = folder.path().join("nowhere");
    fails(swap(&nowhere, &["x.wasm"]), &["nowhere", "is no run directory"]);
    copy(&SFT.path().join("run"), folder.path());
    fails(swap(folder.path(), &[utf8(&FIRST_REWARD)]), &["no run is live"]);
    let settings = "reward=[{name='gsm8k', plugin='rewards/gsm8k', settings={method='strict'}}]";
    let mut run = Run::start(rl(folder.path(), &[ENDLESS, settings]), folder.path());
    run.halt_after(1);
    let mut other_name = rewarden();
    other_name.arg("swap").arg(folder.path()).args(["gms8k", utf8(&FIRST_REWARD)]);
    fails(other_name, &["no reward `gms8k`", "gsm8k"]);
    fails(swap(folder.path(), &["no/such.wasm"]), &["cannot be the reward `gsm8k`", "no/such.wasm"]);
    fails(swap(folder.path(), &["Cargo.toml"]), &["Cargo.toml", "is not a valid WebAssembly component"]);
    fails(swap(folder.path(), &[utf8(&FIRST_REWARD)]), &["cannot be the reward `gsm8k`", "method"]);
    fails(swap(folder.path(), &[utf8(&STD)]), &["wasi:", "virtual"]);
    fails(swap(folder.path(), &[utf8(&GSM8K), "--timeout-s", "0"]), &["no step boundary within 0 s"]);
    assert_eq!(fs::read_dir(folder.path().join("plugins")).expect("a store").count(), 1, "nothing unfit was kept");
    // A second run in its place, or a new one on top of it, would fight with it.
    let live = &["a run is going on there"];
    fails(rl(folder.path(), &[settings]), live);
    // Hostile requests: the run answers each with a line and goes on.
    for (name, content) in [("0", "{"), ("1", r#"{"name":"gsm8k","kind":"erase"}"#), ("2", "\u{1b}[2J")] {
        fs::write(folder.path().join(format!("swaps/{name}.json")), content).expect("written");
    }
    let unknown = format!(r#"{{"name":"gsm8k","kind":"swap","to":"sha256:{}"}}"#, "0".repeat(64));
    fs::write(folder.path().join("swaps/00.json"), unknown).expect("written");
    let before = run.steps();
    run.go_on();
    run.wait_for(|run| run.steps() > before + 1);
    let refusals: Vec<String> = run.swaps().iter().filter_map(|row| Some(text(row.get("refused")?))).collect();
    assert_eq!(refusals.len(), 2, "{refusals:?}");
    assert!(refusals[0].contains("is missing") && refusals[1].contains("already"), "{refusals:?}");
    assert_eq!(fs::read_dir(folder.path().join("swaps")).expect("an inbox").count(), 0);
    let mut stderr = run.child.stderr.take().expect("piped");
    drop(run);
    let said = std::io::read_to_string(&mut stderr).expect("UTF-8");
    for line in ["swaps/0.json is no request: EOF", "swaps/1.json is no request: unknown variant", "swaps/2.json"] {
        assert!(said.contains(line), "{line:?} is not in\n{said}");
    }
    assert!(!said.contains('\u{1b}'), "{said:?}");
}

/// What the reward of now can judge, the new one must be able to.
#[test]
fn a_plugin_that_fails_on_the_last_rollout_is_refused() {
    let folder = folder();
    let row = |index: usize| json!({"messages": [{"role": "user", "content": index.to_string()}, {"role": "assistant", "content": "yes"}]});
    let rows = (0..8).map(|index| row(index).to_string() + "\n").collect::<String>();
    fs::write(folder.path().join("rows.jsonl"), rows).expect("written");
    let path = folder.path().join("run");
    let mut command = on_rows(small("rl", &path), folder.path());
    let reward = format!("reward=[{{name='gsm8k', plugin='{}'}}]", FIRST_REWARD.display());
    command.args(["--set", "stages=['rl']", "--set", ENDLESS, "--set", "data.test_size=1", "--set", &reward]);
    let mut run = Run::start(command, &path);
    run.halt_after(1);
    fails(swap(&path, &[utf8(&GSM8K)]), &["cannot be the reward", "does not judge rollout", "no ground truth"]);
}

/// Interrupted after a swap, and resumed with another plugin at the config's path: the same bits as without.
#[test]
fn a_killed_run_resumes_with_the_rewards_it_had() {
    let steps = "rl.max_steps=40";
    let (interrupted, plugin) = (folder(), folder());
    let component = plugin.path().join("reward.wasm");
    fs::copy(&*GSM8K, &component).expect("copied");
    let reward = format!("reward=[{{name='gsm8k', plugin='{}'}}]", component.display());
    let mut run = Run::start(rl(interrupted.path(), &[steps, &reward]), interrupted.path());
    run.halt_after(6);
    for arguments in [&[utf8(&FIRST_REWARD), "--no-wait"][..], &[utf8(&GSM8K), "--shadow", "--no-wait"]] {
        finish(swap(interrupted.path(), arguments));
    }
    run.go_on();
    run.wait_for(|run| run.swaps().len() == 2);
    let recorded = run.swaps();
    let swapped = recorded[0]["step"].as_u64().expect("a step") as usize;
    // Far enough for a checkpoint after the swap.
    run.wait_for(|run| run.steps() > swapped + 6);
    run.signal("STOP");
    let before_the_kill = timeless(interrupted.path(), "rl");
    drop(run);
    assert!(before_the_kill.len() < 40, "the run was over before it was killed");

    // As if it had been killed between its answer and the removal of the request: no request is answered twice.
    let answered = interrupted.path().join(format!("swaps/{}.json", text(&recorded[0]["request"])));
    fs::write(answered, r#"{"name":"gsm8k","kind":"rollback"}"#).expect("written");

    // What lies at the config's path is another plugin by now: no run may notice.
    fs::copy(&*FIRST_REWARD, &component).expect("copied");
    let whole = folder();
    copy(interrupted.path(), whole.path());
    // From the start and through the swap in one go.
    for file in ["metrics.jsonl", "rollouts.jsonl", "checkpoints.jsonl"] {
        fs::remove_file(whole.path().join("rl").join(file)).expect("removed");
    }
    for run in [whole.path(), interrupted.path()] {
        let mut resume = rl(run, &[steps, &reward]);
        // The run that was copied lies elsewhere than its config says.
        let config = fs::read_to_string(run.join("config.toml")).expect("a config");
        let moved = config.replace(utf8(interrupted.path()), utf8(run));
        fs::write(run.join("config.toml"), moved).expect("written");
        resume.arg("--resume");
        finish(resume);
    }
    let found = timeless(interrupted.path(), "rl");
    assert_eq!(timeless(whole.path(), "rl"), found);
    assert_eq!(before_the_kill, found[..before_the_kill.len()], "what was swapped live is swapped again at its step");
    assert_eq!(rows(&interrupted.path().join("rl/swaps.jsonl")), recorded, "a replay adds no row");
    let digests = digests(interrupted.path());
    assert_eq!((&digests[swapped - 1], &digests[swapped]), (&digest(&GSM8K), &digest(&FIRST_REWARD)));
    let paid = |steps: &[Map<String, Value>]| {
        let totals = steps.iter().map(|row| row["env/all/reward/total"].as_f64().expect("a number"));
        totals.sum::<f64>() / steps.len() as f64
    };
    let [before, after] = [paid(&found[..swapped]), paid(&found[swapped..])];
    assert!(before > 0.3 && after < 0.1, "the rewards paid {before} and {after}: too close to tell them apart");
    let rollouts = |run: &Path| fs::read(run.join("rl/rollouts.jsonl")).expect("rollouts");
    assert!(rollouts(whole.path()) == rollouts(interrupted.path()), "rollouts differ");
    for file in ["model.safetensors", "optimizer.safetensors"] {
        let bytes = |run: &Path| checkpoint(run, "rl", "000040", file);
        assert!(bytes(whole.path()) == bytes(interrupted.path()), "{file} differs");
    }
}

#[test]
fn a_store_that_was_damaged_stops_the_resume_with_the_file() {
    let run = folder();
    finish(rl(run.path(), &["rl.max_steps=2"]));
    let kept = run.path().join(format!("plugins/{}.wasm", &digest(&GSM8K)["sha256:".len()..]));
    let resume = || {
        let mut command = rl(run.path(), &["rl.max_steps=2"]);
        command.arg("--resume");
        command
    };
    finish(resume());
    let mut bytes = fs::read(&kept).expect("a component");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&kept, bytes).expect("written");
    fails(resume(), &[utf8(&kept), "was altered", &digest(&GSM8K)]);
    fs::remove_file(&kept).expect("removed");
    fails(resume(), &[utf8(&kept), "is missing", &digest(&GSM8K)]);
}

#[test]
fn watching_swaps_in_what_was_built_and_survives_what_was_not() {
    let (folder, plugin) = (folder(), folder());
    let component = plugin.path().join("reward.wasm");
    fs::copy(&*GSM8K, &component).expect("copied");
    let reward = format!("reward=[{{name='gsm8k', plugin='{}'}}]", component.display());
    let mut command = rl(folder.path(), &[ENDLESS, &reward]);
    command.arg("--watch");
    let mut run = Run::start(command, folder.path());
    run.wait_for(|run| run.steps() >= 1);
    fs::write(&component, "half a component").expect("written");
    let mut said = String::new();
    let mut stderr = std::io::BufReader::new(run.child.stderr.take().expect("piped"));
    while !said.contains("watch: the run keeps the `gsm8k` it has") {
        assert_ne!(std::io::BufRead::read_line(&mut stderr, &mut said).expect("readable"), 0, "{said}");
    }
    // Whatever it says from here on is not waited for.
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    fs::copy(&*FIRST_REWARD, &component).expect("copied");
    run.wait_for(|run| run.swaps().len() == 1);
    assert_eq!(run.swaps()[0]["to"], digest(&FIRST_REWARD).as_str());
}

/// A folder as an author of any language has it: here the compiler is `true`, and what it made lies ready.
#[test]
fn a_watched_folder_is_built_again_when_it_changes() {
    let (folder, plugin) = (folder(), folder());
    fs::copy(&*HOSTILE, plugin.path().join("made.wasm")).expect("copied");
    let toml = "id = \"honest\"\nversion = \"0.1.0\"\nkind = \"reward\"\nlanguage = \"c\"\nsummary = \"H.\"\nlicense = \
                \"MIT\"\ncapabilities = [\"host-log\"]\n[build]\ncommand = [\"true\"]\noutput = \"made.wasm\"\n";
    fs::write(plugin.path().join("plugin.toml"), toml).expect("written");
    let reward = format!("reward=[{{name='gsm8k', plugin='{}'}}]", plugin.path().display());
    let mut command = rl(folder.path(), &[ENDLESS, &reward]);
    command.arg("--watch");
    let mut run = Run::start(command, folder.path());
    run.wait_for(|run| run.steps() >= 1);
    // Another file is a change; the same component after it is none.
    fs::write(plugin.path().join("notes.txt"), "1").expect("written");
    fs::write(plugin.path().join("plugin.toml"), toml.replace("0.1.0", "0.2.0")).expect("written");
    run.wait_for(|run| !run.swaps().is_empty());
    let built = plugin.path().join("target/plugins/honest.wasm");
    assert_eq!(run.swaps()[0]["to"], digest(&built).as_str());
}
