//! Snapshots: a component whose memory already holds what `configure` built, so that no instance has to build it again.
//!
//! wasmtime's pre-initialiser instruments the component so that its memories and globals can be read, we start and
//! configure one instance of that, and it writes the component anew with the state it found. Tables of regexes and word
//! lists are then there when an instance is made.

use wasmtime::component::{Instance, WasmList};
use wasmtime::{Result, Store};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

use crate::fault::printable;
use crate::generated::exports::rewarden::plugin::plugin;
use crate::instance::{Session, State};
use crate::linked::Linked;
use crate::{Error, Fault, functions};

/// A snapshot larger than this costs more to map than configuring costs.
const SNAPSHOT_BYTES_MAX: usize = 64 << 20;

/// What the pre-initialiser's own exports begin with. A component that has such ones would be taken for instrumented.
const INSTRUMENTATION: &[u8] = b"__wizer_";

/// Why there is no snapshot.
pub(crate) enum Missing {
    /// The plugin does not start, with or without one.
    Fault(Fault),
    /// This component cannot be snapshotted; it is configured in every instance.
    Reason(String),
}

impl From<Error> for Missing {
    fn from(error: Error) -> Missing {
        Missing::Reason(error.to_string())
    }
}

/// The component as it is after `configure`.
pub(crate) async fn take(linked: &Linked, settings: &str, seed: u32) -> Result<Vec<u8>, Missing> {
    let reason = |error: wasmtime::Error| Missing::Reason(first_line(&error));
    let (bytes, wizer) = (linked.source.bytes()?, Wizer::new());
    if bytes.windows(INSTRUMENTATION.len()).any(|window| window == INSTRUMENTATION) {
        return Err(Missing::Reason("it has names that the instrumentation gives".into()));
    }
    let (context, instrumented) = wizer.instrument_component(&bytes).map_err(reason)?;
    let (pool, functions) = (linked.pool.clone(), linked.functions());
    let compiled = move || functions::compile(&pool, &instrumented, functions.as_ref());
    let component =
        tokio::task::spawn_blocking(compiled).await.map_err(|error| reason(error.into()))?.map_err(reason)?;
    let pre = linked.linker().and_then(|linker| linker.instantiate_pre(&component)).map_err(reason)?;
    let indices = plugin::GuestIndices::new(&pre).map_err(reason)?;
    let mut session = Session::open(linked, seed);
    let instance = session.instantiate(&pre).await.map_err(Missing::Fault)?;
    session.configure(&indices, &instance, settings, seed).await.map_err(Missing::Fault)?;
    let mut reader = Reader::new(&mut session.store, instance);
    let snapshot = wizer.snapshot_component(&context, &mut reader).await.map_err(reason)?;
    match reader.failed {
        Some(error) => Err(reason(error)),
        None if snapshot.len() > SNAPSHOT_BYTES_MAX => {
            Err(Missing::Reason(format!("configured, it would have {} bytes", snapshot.len())))
        }
        None => Ok(snapshot),
    }
}

fn first_line(error: &wasmtime::Error) -> String {
    printable(error.root_cause().to_string().lines().next().unwrap_or_default(), 500)
}

/// Reads the instance through the functions that the instrumentation added.
struct Reader<'a> {
    store: &'a mut Store<State>,
    instance: Instance,
    /// The interface has no room for errors: the first is kept, and the snapshot thrown away.
    failed: Option<wasmtime::Error>,
}

impl Reader<'_> {
    fn new(store: &mut Store<State>, instance: Instance) -> Reader<'_> {
        // Reading copies whole memories and grows each by a page to say where it lies: that is ours, not the guest's.
        store.set_hostcall_fuel(usize::MAX);
        store.data_mut().lift_memory_limit();
        // Without fuel there is none to give.
        let _ = store.set_fuel(u64::MAX);
        store.set_epoch_deadline(u64::from(u32::MAX));
        Reader { store, instance, failed: None }
    }

    async fn call<R, T>(&mut self, interface: &str, name: &str, read: impl FnOnce(&Store<State>, R) -> T) -> Option<T>
    where
        R: wasmtime::component::Lift + Send + Sync + 'static,
    {
        match self.try_call(interface, name).await {
            Ok(answer) => Some(read(self.store, answer)),
            Err(error) => {
                self.failed.get_or_insert(error);
                None
            }
        }
    }

    async fn try_call<R>(&mut self, interface: &str, name: &str) -> Result<R>
    where
        R: wasmtime::component::Lift + Send + Sync + 'static,
    {
        let missing = || wasmtime::format_err!("the instrumentation lacks {interface}#{name}");
        let (_, outer) = self.instance.get_export(&mut *self.store, None, interface).ok_or_else(missing)?;
        let (_, function) = self.instance.get_export(&mut *self.store, Some(&outer), name).ok_or_else(missing)?;
        let function = self.instance.get_typed_func::<(), (R,)>(&mut *self.store, function)?;
        Ok(function.call_async(&mut *self.store, ()).await?.0)
    }
}

impl ComponentInstanceState for Reader<'_> {
    async fn call_func_ret_list_u8(&mut self, interface: &str, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        self.call(interface, name, |store, list: WasmList<u8>| contents(list.as_le_slice(store))).await;
    }

    async fn call_func_ret_s32(&mut self, interface: &str, name: &str) -> i32 {
        self.call(interface, name, |_, number: i32| number).await.unwrap_or_default()
    }

    async fn call_func_ret_s64(&mut self, interface: &str, name: &str) -> i64 {
        self.call(interface, name, |_, number: i64| number).await.unwrap_or_default()
    }

    async fn call_func_ret_f32(&mut self, interface: &str, name: &str) -> u32 {
        self.call(interface, name, |_, number: f32| number.to_bits()).await.unwrap_or_default()
    }

    async fn call_func_ret_f64(&mut self, interface: &str, name: &str) -> u64 {
        self.call(interface, name, |_, number: f64| number.to_bits()).await.unwrap_or_default()
    }
}
