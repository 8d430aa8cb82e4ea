//! `Tool`: a plugin whose functions a host, or a guest that was granted `host-tools`, may call.

use std::sync::Arc;

use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::generated::rewarden::plugin::types::Fault as GuestFault;
use crate::host_call::{DEPTH_MAX, bounded, not_granted, unavailable};
use crate::instance::{Session, State};
use crate::judge::{Clock, receipt};
use crate::plugin::Plugin;
use crate::{Error, Fault, Judgement, Receipt, ToolCall, ToolOutput, ToolSpec};

/// A plugin whose functions may be called.
///
/// A clone is a counter; `Send + Sync`. Each call runs in an instance of its own, with the plugin's limits, on one of the
/// runtime's threads. Awaiting works on any executor.
#[derive(Clone)]
pub struct Tool {
    plugin: Plugin,
    /// Listed once, when the plugin was asked to be a tool.
    specs: Arc<[ToolSpec]>,
}

impl Tool {
    pub(crate) async fn of(plugin: Plugin) -> Result<Tool, Error> {
        let name = plugin.name().to_owned();
        let on_worker = plugin.clone();
        let listed = plugin.inner.linked.shared.run(async move {
            let slots = on_worker.inner.linked.pool.slots(1 + DEPTH_MAX).await;
            let mut session = Session::open(&on_worker.inner.linked, on_worker.inner.seed);
            let listed = list(&on_worker, &mut session).await;
            drop((session, slots));
            listed
        });
        let listed = listed.await.map_err(|reason| Error::Engine { reason })?;
        let specs = listed.map_err(|fault| Error::Configure { plugin: name, fault })?;
        Ok(Tool { plugin, specs: specs.into() })
    }

    /// The name the plugin was loaded under.
    pub fn name(&self) -> &str {
        self.plugin.name()
    }

    /// The functions on offer.
    pub fn specs(&self) -> &[ToolSpec] {
        &self.specs
    }

    /// Runs one call. A mistake of the caller is in the output's text; a fault means that the tool itself failed.
    pub async fn call(&self, call: ToolCall) -> Result<ToolOutput, Fault> {
        self.judge_call(call).await.result
    }

    /// The same with its receipt.
    pub async fn judge_call(&self, call: ToolCall) -> Judgement<ToolOutput> {
        let tool = self.clone();
        let linked = &self.plugin.inner.linked;
        let fuel = linked.limits.fuel;
        let called = linked.shared.run(async move {
            let _slots = tool.plugin.inner.linked.pool.slots(1 + DEPTH_MAX).await;
            tool.call_at(0, fuel, &call).await
        });
        let lost =
            |reason| Judgement { result: Err(Fault::Internal(format!("host: {reason}"))), receipt: Receipt::default() };
        called.await.unwrap_or_else(lost)
    }

    /// Runs one call for a guest that waits at this depth with so much fuel left.
    async fn call_at(&self, depth: u32, fuel: u64, call: &ToolCall) -> Judgement<ToolOutput> {
        let linked = &self.plugin.inner.linked;
        let fuel = fuel.min(linked.limits.fuel);
        let clock = Clock::start();
        let mut session = Session::nested(linked, self.plugin.inner.seed, depth, fuel);
        let result = run(&self.plugin, &mut session, call).await;
        let usage = session.usage();
        drop(session);
        Judgement { result, receipt: receipt(usage, 1, &clock) }
    }
}

async fn list(plugin: &Plugin, session: &mut Session) -> Result<Vec<ToolSpec>, Fault> {
    plugin.inner.enter(session).await?.list_tools(session).await
}

async fn run(plugin: &Plugin, session: &mut Session, call: &ToolCall) -> Result<ToolOutput, Fault> {
    plugin.inner.enter(session).await?.call_tool(session, call).await
}

/// Links `host-tools`, or one that answers `unavailable` and says which line grants it.
pub(crate) fn link(linker: &mut Linker<State>, granted: bool) -> wasmtime::Result<()> {
    let mut interface = linker.instance("rewarden:plugin/host-tools@0.1.0")?;
    interface.func_wrap_async("call", move |mut store, (call,): (ToolCall,)| {
        Box::new(async move {
            if !granted {
                return Ok((not_granted("host-tools"),));
            }
            let bytes = call.id.len() + call.name.len() + call.arguments.len();
            let answer = bounded(&mut store, "host-tools", bytes, async |store| {
                let calls = &store.data().calls;
                let (tool, depth) = (find(&calls.services.tools, &call.name)?, calls.depth + 1);
                if depth > DEPTH_MAX {
                    return unavailable(format!("host-tools: tools call one another more than {DEPTH_MAX} deep"));
                }
                // A tool works on its caller's fuel: a guest cannot multiply its budget by handing work on.
                let left = store.get_fuel().unwrap_or(u64::MAX);
                // The caller holds slots for those it calls, in its own engine.
                let pool = &tool.plugin.inner.linked.pool;
                let elsewhere = !Engine::same(store.engine(), &pool.engine);
                let _slots = if elsewhere { Some(pool.slots(1 + DEPTH_MAX - depth).await) } else { None };
                let called = tool.call_at(depth, left, &call).await;
                if store.get_fuel().is_ok() {
                    store.set_fuel(left - called.receipt.fuel).expect("the engine counts fuel");
                }
                called
                    .result
                    .map(|output| output.content)
                    .map_err(|fault| GuestFault::Unavailable(format!("host-tools: {fault}")))
            });
            Ok((answer.await,))
        })
    })
}

fn find(tools: &[Tool], function: &str) -> Result<Tool, GuestFault> {
    let offers = |tool: &&Tool| tool.specs.iter().any(|spec| spec.name == function);
    match tools.iter().find(offers) {
        Some(tool) => Ok(tool.clone()),
        None => {
            let known: Vec<&str> =
                tools.iter().flat_map(|tool| tool.specs.iter().map(|spec| spec.name.as_str())).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            unavailable(format!("host-tools: there is no function {function:?} (there are: {known})"))
        }
    }
}
