//! A component linked to what it was granted, and what becomes of it: compiled code, once configured.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use wasmtime::component::{Instance, InstancePre, Linker};

use crate::engine::{Pool, Profile};
use crate::fault::printable;
use crate::functions::Functions;
use crate::generated::exports::rewarden::plugin::plugin;
use crate::guest::{Entry, Guest};
use crate::instance::{Session, State};
use crate::judge::Warm;
use crate::plugin::PluginSpec;
use crate::runtime::{Compiled, Shared};
use crate::score_cache::{CacheScores, ScoreCache};
use crate::services::Services;
use crate::snapshot::Missing;
use crate::source::Source;
use crate::{
    Digest, Error, Fault, Grants, Isolation, Limits, Manifest, Worker, World, host_log, host_model, inspect, snapshot,
    tool, wasi,
};

/// A component and what it may do; shared by all configurations of a plugin.
pub(crate) struct Linked {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) name: String,
    pub(crate) source: Source,
    pub(crate) limits: Limits,
    grants: Grants,
    pub(crate) services: Arc<Services>,
    pub(crate) wasi: bool,
    pub(crate) isolation: Isolation,
    pub(crate) worker: Worker,
    cache: CacheScores,
    /// The component as it is, compiled when first needed: with a snapshot it never is.
    plain: OnceCell<Arc<Code>>,
    /// What large components are compiled with, while they are.
    functions: Mutex<Option<Arc<Functions>>>,
}

/// Compiled code and how it is entered.
struct Code {
    pre: InstancePre<State>,
    plugin: plugin::GuestIndices,
    entry: Entry,
    /// Held so that another load of the same bytes finds them compiled for as long as this plugin lives.
    _compiled: Arc<Compiled>,
}

pub(crate) struct Configured {
    pub(crate) linked: Arc<Linked>,
    code: Arc<Code>,
    /// None when instances start configured.
    configure: Option<Configure>,
    pub(crate) seed: u32,
    pub(crate) manifest: Manifest,
    pub(crate) scores: Option<ScoreCache>,
    pub(crate) warm: Warm,
}

/// What every instance is configured with, where there is no snapshot.
struct Configure {
    /// Why there is none.
    reason: String,
    /// A JSON object, as the guest gets it.
    settings: String,
}

impl Linked {
    pub(crate) fn new(shared: Arc<Shared>, spec: &PluginSpec, source: Source) -> Result<Linked, Error> {
        if let Some(reason) = spec.limits.refusal() {
            return Err(Error::Limits { plugin: spec.name.clone(), reason });
        }
        let profile = Profile {
            deterministic: spec.deterministic,
            stack_bytes_max: spec.limits.stack_bytes_max,
            // Episodes stay open side by side, as many as a step has attempts.
            pooled: source.inspection.world != World::EnvironmentPlugin,
        };
        Ok(Linked {
            pool: shared.engines.get(profile)?,
            shared,
            name: spec.name.clone(),
            wasi: inspect::wants_wasi(&source.inspection.imports),
            source,
            limits: spec.limits.clone(),
            grants: spec.grants.clone(),
            services: Arc::new(spec.services.clone()),
            isolation: spec.isolation,
            worker: spec.worker,
            cache: spec.cache,
            plain: OnceCell::new(),
            functions: Mutex::default(),
        })
    }

    /// Whether its guests may wait for a host service, and so hold an instance without using a thread.
    pub(crate) fn waits(&self) -> bool {
        self.may("host-model") || self.may("host-tools")
    }

    fn may(&self, service: &str) -> bool {
        self.grants.allows(service) && inspect::imports_ours(&self.source.inspection.imports, service)
    }

    /// Every interface of ours, those that were not granted as refusals that say which line grants them.
    pub(crate) fn linker(&self) -> wasmtime::Result<Linker<State>> {
        let mut linker = Linker::new(&self.pool.engine);
        host_log::link(&mut linker, self.grants.allows("host-log"))?;
        host_model::link(&mut linker, self.grants.allows("host-model"))?;
        tool::link(&mut linker, self.grants.allows("host-tools"))?;
        if self.wasi {
            wasi::link(&mut linker)?;
        }
        Ok(linker)
    }

    fn unfit(&self, error: &wasmtime::Error) -> Error {
        Error::Unfit { path: self.source.path.clone(), reason: printable(&format!("{error:#}"), 1000) }
    }

    /// Links compiled code.
    fn code(&self, compiled: Arc<Compiled>) -> wasmtime::Result<Arc<Code>> {
        let pre = self.linker()?.instantiate_pre(compiled.get().expect("linked only once it is compiled"))?;
        let entry = Entry::of(self.source.inspection.world, &pre)?;
        let plugin = plugin::GuestIndices::new(&pre)?;
        Ok(Arc::new(Code { pre, plugin, entry, _compiled: compiled }))
    }

    /// What is known of the component's functions, until `keep_functions`.
    pub(crate) fn functions(&self) -> Option<Arc<Functions>> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        let Source { path, size_bytes, .. } = &self.source;
        let of = || Functions::of(self.shared.cache.clone(), path, *size_bytes, self.pool.profile);
        if functions.is_none() {
            *functions = of();
        }
        functions.clone()
    }

    /// Stores what was compiled for the component's next version.
    async fn keep_functions(&self) -> Result<(), Error> {
        let functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner).take();
        match functions {
            Some(functions) => {
                let keep = move || {
                    functions.keep();
                    Ok(())
                };
                self.shared.off_thread(keep).await
            }
            None => Ok(()),
        }
    }

    /// The component as it is.
    async fn plain(self: &Arc<Self>) -> Result<Arc<Code>, Error> {
        let compile = async || {
            let bytes = async { self.source.bytes() };
            let Source { digest, path, .. } = &self.source;
            let compiled = self.shared.compile(&self.pool, *digest, path, self.functions(), bytes).await?;
            self.code(compiled).map_err(|error| self.unfit(&error))
        };
        self.plain.get_or_try_init(compile).await.cloned()
    }

    /// Has an instance of its own configured.
    pub(crate) async fn try_configure(self: Arc<Self>, settings: String, seed: u32) -> Result<(), Fault> {
        let _slots = self.pool.slots(1).await;
        let code = self.plain().await.map_err(|error| Fault::Internal(format!("host: {error}")))?;
        let mut session = Session::open(&self, seed);
        let instance = session.instantiate(&code.pre).await?;
        session.configure(&code.plugin, &instance, &settings, seed).await
    }

    /// The component as it is after `configure`, or why there is no such thing.
    async fn configured(&self, settings: &str, seed: u32) -> Result<Arc<Code>, Missing> {
        if self.wasi {
            // Its handles live in the host.
            return Err(Missing::Reason("it uses WASI".into()));
        }
        if self.waits() {
            return Err(Missing::Reason("it may ask host services".into()));
        }
        let missing = |error: wasmtime::Error| Missing::Reason(error.to_string());
        let digest = self.source.digest.hex();
        let digest = Digest::of_parts(&[b"snapshot", digest.as_bytes(), settings.as_bytes(), &seed.to_le_bytes()]);
        let bytes = snapshot::take(self, settings, seed);
        let compiled = self.shared.compile(&self.pool, digest, &self.source.path, self.functions(), bytes).await?;
        self.code(compiled).map_err(missing)
    }

    /// Code to make instances of, and how to configure them where it does not start configured.
    async fn ready(
        self: &Arc<Self>,
        settings: &str,
        seed: u32,
        snapshot: bool,
    ) -> Result<(Arc<Code>, Option<Configure>), Error> {
        let snapshotted = match snapshot {
            true => self.configured(settings, seed).await,
            false => Err(Missing::Reason("these settings came after the plugin was loaded".into())),
        };
        match snapshotted {
            Ok(code) => Ok((code, None)),
            Err(Missing::Fault(fault)) => Err(Error::Configure { plugin: self.name.clone(), fault }),
            Err(Missing::Reason(reason)) => {
                Ok((self.plain().await?, Some(Configure { reason, settings: settings.to_owned() })))
            }
        }
    }

    /// Everything that scores depend on besides the sample.
    fn key(&self, settings: &str, seed: u32) -> Digest {
        let digest = self.source.digest.hex();
        let limits = serde_json::to_vec(&self.limits).expect("plain numbers");
        let grants = serde_json::to_vec(&self.grants).expect("plain names");
        let profile = [u8::from(self.pool.profile.deterministic), u8::from(self.wasi)];
        let seed = seed.to_le_bytes();
        Digest::of_parts(&[digest.as_bytes(), settings.as_bytes(), &seed, &limits, &grants, &profile])
    }
}

impl Code {
    /// Makes the session's instance, configured.
    async fn start(&self, session: &mut Session, configure: Option<&Configure>, seed: u32) -> Result<Instance, Fault> {
        let instance = session.instantiate(&self.pre).await?;
        if let Some(Configure { settings, .. }) = configure {
            session.configure(&self.plugin, &instance, settings, seed).await?;
        }
        Ok(instance)
    }
}

impl Configured {
    /// Makes the session's instance, configured, and enters it.
    pub(crate) async fn enter(&self, session: &mut Session) -> Result<Guest, Fault> {
        let instance = self.code.start(session, self.configure.as_ref(), self.seed).await?;
        self.code.entry.load(session, &instance)
    }

    /// A guest that sleeps in virtual WASI burns no fuel and meets no epoch: the clock ends it from outside.
    pub(crate) async fn in_time<T>(&self, call: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        if !self.linked.wasi {
            return call.await;
        }
        let timeout_ms = self.linked.limits.timeout_ms;
        let ended = tokio::time::timeout(Duration::from_millis(timeout_ms), call).await;
        ended.unwrap_or(Err(Fault::Deadline { timeout_ms, at: String::new() }))
    }

    /// Why every instance runs `configure`; none when there is a snapshot.
    pub(crate) fn no_snapshot(&self) -> Option<&str> {
        self.configure.as_ref().map(|configure| configure.reason.as_str())
    }

    /// Compiles, configures and tries out a plugin, so that what cannot start is refused before a run depends on it.
    pub(crate) async fn new(
        linked: Arc<Linked>,
        settings: String,
        seed: u32,
        snapshot: bool,
    ) -> Result<Configured, Error> {
        let _slots = linked.pool.slots(1).await;
        let code = linked.ready(&settings, seed, snapshot).await;
        // Whatever came of it, the next version need not be compiled whole.
        linked.keep_functions().await?;
        let (code, configure) = code?;
        let cache = if linked.waits() { CacheScores::Off } else { linked.cache };
        let scores = ScoreCache::of(&linked.shared.scores, cache, linked.key(&settings, seed));
        let refused = |fault| Error::Configure { plugin: linked.name.clone(), fault };
        let mut session = Session::open(&linked, seed);
        let instance = code.start(&mut session, configure.as_ref(), seed).await.map_err(refused)?;
        let manifest = session.describe(&code.plugin, &instance).await.map_err(refused)?;
        drop(session);
        Ok(Configured { linked, code, configure, seed, manifest, scores, warm: Warm::default() })
    }
}
