//! What calls of host services have in common: how many a sample may make, how long each may take, how much it may carry,
//! and that waiting for one is not the guest's own time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::StoreContextMut;

use crate::engine::TICK;
use crate::generated::rewarden::plugin::types::Fault as GuestFault;
use crate::instance::State;
use crate::linked::Linked;
use crate::services::Services;
use crate::{Message, ToolCall};

/// How many guests may wait for one another, one inside the other's tool call.
pub(crate) const DEPTH_MAX: u32 = 4;

/// A guest's allowance of host calls.
pub(crate) struct HostCalls {
    pub(crate) services: Arc<Services>,
    /// How many guests wait for this one.
    pub(crate) depth: u32,
    left: usize,
    waited: Duration,
}

impl HostCalls {
    pub(crate) fn new(linked: &Linked, depth: u32) -> HostCalls {
        let left = linked.limits.host_calls_max;
        HostCalls { services: linked.services.clone(), depth, left, waited: Duration::ZERO }
    }

    /// The epochs that passed while the guest waited, once.
    pub(crate) fn take_waited_ticks(&mut self) -> u64 {
        let waited = std::mem::take(&mut self.waited);
        waited.as_millis().div_ceil(TICK.as_millis()) as u64
    }
}

/// Runs one call within the guest's allowance. Whatever goes wrong is the guest's to hear: `unavailable`, with the reason.
#[allow(clippy::disallowed_methods, reason = "measures waiting, which is then left out of the guest's deadline")]
pub(crate) async fn bounded<T>(
    store: &mut StoreContextMut<'_, State>,
    service: &str,
    bytes: usize,
    call: impl AsyncFnOnce(&mut StoreContextMut<'_, State>) -> Result<T, GuestFault>,
) -> Result<T, GuestFault> {
    let limits = store.data().limits().clone();
    let calls = &mut store.data_mut().calls;
    if calls.left == 0 {
        return unavailable(format!("{service}: host_calls_max = {} calls were made", limits.host_calls_max));
    }
    calls.left -= 1;
    if bytes > limits.host_call_bytes_max {
        let bytes_max = limits.host_call_bytes_max;
        return unavailable(format!("{service}: the call carries {bytes} bytes, host_call_bytes_max = {bytes_max}"));
    }
    let started = Instant::now();
    let timeout = Duration::from_millis(limits.host_call_timeout_ms);
    let answer = tokio::time::timeout(timeout, call(store)).await;
    store.data_mut().calls.waited += started.elapsed();
    answer.unwrap_or_else(|_| {
        unavailable(format!("{service}: no answer within host_call_timeout_ms = {}", limits.host_call_timeout_ms))
    })
}

/// The answer to a guest whose plugin was not granted the service.
pub(crate) fn not_granted<T>(service: &str) -> Result<T, GuestFault> {
    unavailable(format!("{service} is not granted: add `grants = [\"{service}\"]` to the plugin's configuration"))
}

pub(crate) fn unavailable<T>(reason: String) -> Result<T, GuestFault> {
    Err(GuestFault::Unavailable(reason))
}

/// The texts of a conversation.
pub(crate) fn bytes_of(conversation: &[Message]) -> usize {
    let calls =
        |calls: &[ToolCall]| calls.iter().map(|call| call.id.len() + call.name.len() + call.arguments.len()).sum();
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let message = |message: &Message| {
        let calls: usize = calls(&message.tool_calls);
        message.content.len() + optional(&message.name) + optional(&message.tool_call_id) + calls
    };
    conversation.iter().map(message).sum()
}
