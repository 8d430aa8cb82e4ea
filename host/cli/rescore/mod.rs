//! placeholder
use crate::args::RescoreArgs;
pub(crate) fn run(_: RescoreArgs) -> anyhow::Result<std::process::ExitCode> {
    unimplemented!()
}
