//! End to end: through the binary where a person would use it, through the runtime where a host would.

/// What the documents promise about the tree.
mod architecture;
/// The GSM8K plugin: its golden cases in the sandbox, and agreement with published labels.
mod gsm8k;
/// Every plugin of the tree, built once per process with the real command; and none forgotten.
mod guests;
/// One sin per test: no sibling's score changes, the process lives.
mod hostile;
/// `rewarden plugin build` and `rewarden plugin inspect`.
mod plugin;
/// `rewarden score`: the line protocol.
mod score;
