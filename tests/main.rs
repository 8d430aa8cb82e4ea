//! End to end: through the binary where a person would use it, through the runtime where a host would.

/// The adapter that answers for WASI in components, and what becomes of modules that import it.
mod adapter;
/// What the documents promise about the tree.
mod architecture;
/// Checkpoints: which stay, a full disk, a kill in the middle of one.
mod checkpoints;
/// `rewarden config`.
mod config;
/// `rewarden config import`: configs of verl, TRL and tinker-cookbook.
mod config_import;
/// `rewarden dpo`.
mod dpo;
/// Environments: whole episodes, their faults, forks by replay, tools.
mod environment;
/// `rewarden eval`.
mod eval;
/// Every example and vetted plugin passes check and test.
mod examples;
/// One rule in five languages, with equal scores and notes.
mod final_answer;
/// Group rewards: every member judged, or none.
mod group_reward;
/// The GSM8K plugin: its golden cases in the sandbox, and agreement with published labels.
mod gsm8k;
/// Every plugin of the tree, built once per process with the real command; and none forgotten.
mod guests;
/// One sin per test: no sibling's score changes, the process lives.
mod hostile;
/// Models by their name on the hub.
mod hub;
/// Plugins in Python and TypeScript: what becomes of their authors' mistakes.
mod interpreters;
/// What instances share under each isolation, and that nothing of it can be told from the scores.
mod isolation;
/// Plugins in other languages than Rust: built, or skipped by name.
mod languages;
/// `rewarden rl` by every loss, mean, estimator and term.
mod losses;
/// `rewarden merge`: an adapter and its model as one model.
mod merge;
/// `rewarden plugin bench`: every kind of plugin is measured.
mod plugin_bench;
/// `rewarden plugin new` and `rewarden plugin build`: what they make, and what they say when they cannot.
mod plugin_build;
/// `rewarden plugin check`: what is fit, what is not and why.
mod plugin_check;
/// `rewarden plugin inspect`: what the page says, and that it comes for plugins that do not load.
mod plugin_inspect;
/// `rewarden plugin test`: cases of every kind of plugin, probes, `--update`, `--watch`, and mistakes in the file.
mod plugin_test;
/// `rewarden prm`.
mod prm;
/// The first reward of README.md, in each language.
mod readme;
/// `rewarden rescore`: the same bits again, and two plugins compared.
mod rescore;
/// Trained reward models among the rewards.
mod reward_models;
/// `rewarden rl`, and that nothing but the plugin teaches.
mod rl;
/// What a run learns from: Parquet, mixtures, masks.
mod rows;
/// A rubric over real plugins: who is asked, what a fault costs, quarantine, swaps and shadows.
mod rubric;
/// `rewarden run`, and every shipped config.
mod run;
/// `rewarden score`: the line protocol.
mod score;
/// What sits in a rubric beside plugins that judge sample by sample.
mod scorers;
/// The SDKs of C and Go, asked the same things in the sandbox.
mod sdk;
/// The SDKs of other languages, tested in their own.
mod sdks;
/// What guests may ask of the host: models, tools, and WASI with nothing behind it.
mod services;
/// `rewarden sft`.
mod sft;
/// `rewarden swap`: a live run, a resumed run, a watched plugin.
mod swap;
/// Every template of `rewarden plugin new`.
mod templates;
/// What the tests of the training verbs share.
mod training;
