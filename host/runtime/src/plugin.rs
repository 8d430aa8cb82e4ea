//! `PluginSpec` says which component to load and how; `Plugin` is one that was found fit, compiled and configured.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::OnceCell;
use wasmtime::component::{Instance, InstancePre, Linker};

use crate::engine::{Pool, Profile};
use crate::fault::printable;
use crate::generated::exports::rewarden::plugin::{plugin, reward, tool};
use crate::instance::{Session, State};
use crate::judge::Warm;
use crate::runtime::{Compiled, Shared};
use crate::score_cache::{CacheScores, ScoreCache};
use crate::services::Services;
use crate::snapshot::Missing;
use crate::source::Source;
use crate::tool::Tool;
use crate::{
    Digest, Error, Fault, Grants, Isolation, Limits, Manifest, Reward, Wasi, Worker, World, host_log, host_model,
    inspect, snapshot, wasi,
};

/// Which component to load, under which name, with which settings, limits and grants.
///
/// Plain data (but for the services, which are counters), cheap, `Send + Sync`; write one per plugin of a run and keep it
/// as long as you like.
#[derive(Debug, Clone)]
pub struct PluginSpec {
    /// The name it has in errors and logs; by default the file's stem.
    pub name: String,
    /// The component.
    pub path: PathBuf,
    /// Its settings, a JSON object; by default empty.
    pub settings: Value,
    /// What all of its randomness derives from; by default 0.
    pub seed: u32,
    /// What judging one sample may use.
    pub limits: Limits,
    /// The host interfaces it may use; by default none. One that it imports and was not granted answers `unavailable`.
    pub grants: Grants,
    /// Whether a plugin that imports WASI is refused (the default) or gets one without a world behind it.
    pub wasi: Wasi,
    /// What its samples may share; by default nothing.
    pub isolation: Isolation,
    /// When warm instances retire, under [`Isolation::Worker`].
    pub worker: Worker,
    /// Whether equal input must give equal results on every machine (the default): fuel is counted, NaNs are canonical.
    /// Without, guests run faster and only the clock bounds their work.
    pub deterministic: bool,
    /// Whether scores are remembered; by default not.
    pub cache: CacheScores,
    /// The models and tools behind `host-model` and `host-tools`.
    pub services: Services,
}

impl PluginSpec {
    /// The component at this path, with every default.
    pub fn path(path: impl Into<PathBuf>) -> PluginSpec {
        let path = path.into();
        PluginSpec {
            name: path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
            path,
            settings: Value::Object(Default::default()),
            seed: 0,
            limits: Limits::default(),
            grants: Grants::none(),
            wasi: Wasi::default(),
            isolation: Isolation::default(),
            worker: Worker::default(),
            deterministic: true,
            cache: CacheScores::default(),
            services: Services::default(),
        }
    }
}

/// A component that was inspected, compiled, linked and configured once: ready to be used.
///
/// Loading costs a compilation (tens of milliseconds for a Rust plugin) or a read from the cache; a clone is a counter.
/// It keeps its runtime's engine alive, and is `Send + Sync`.
#[derive(Clone)]
pub struct Plugin {
    pub(crate) inner: Arc<Configured>,
}

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
}

/// Compiled code and how it is entered.
pub(crate) struct Code {
    pub(crate) pre: InstancePre<State>,
    pub(crate) plugin: plugin::GuestIndices,
    pub(crate) reward: Option<reward::GuestIndices>,
    pub(crate) tool: Option<tool::GuestIndices>,
    /// Held so that another load of the same bytes finds them compiled for as long as this plugin lives.
    _compiled: Arc<Compiled>,
}

pub(crate) struct Configured {
    pub(crate) linked: Arc<Linked>,
    pub(crate) code: Arc<Code>,
    /// None when instances start configured.
    configure: Option<Configure>,
    pub(crate) seed: u32,
    manifest: Manifest,
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
        let profile = Profile { deterministic: spec.deterministic, stack_bytes_max: spec.limits.stack_bytes_max };
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
        crate::tool::link(&mut linker, self.grants.allows("host-tools"))?;
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
        let world = self.source.inspection.world;
        let reward = matches!(world, World::RewardPlugin | World::ModelRewardPlugin)
            .then(|| reward::GuestIndices::new(&pre))
            .transpose()?;
        let tool = (world == World::ToolPlugin).then(|| tool::GuestIndices::new(&pre)).transpose()?;
        let plugin = plugin::GuestIndices::new(&pre)?;
        Ok(Arc::new(Code { pre, plugin, reward, tool, _compiled: compiled }))
    }

    /// The component as it is.
    async fn plain(self: &Arc<Self>) -> Result<Arc<Code>, Error> {
        let compile = async || {
            let bytes = async { self.source.bytes() };
            let compiled = self.shared.compile(&self.pool, self.source.digest, &self.source.path, bytes).await?;
            self.code(compiled).map_err(|error| self.unfit(&error))
        };
        self.plain.get_or_try_init(compile).await.cloned()
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
        let compiled = self.shared.compile(&self.pool, digest, &self.source.path, bytes).await?;
        self.code(compiled).map_err(missing)
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
    /// Makes the session's instance, configured.
    pub(crate) async fn start(&self, session: &mut Session) -> Result<Instance, Fault> {
        self.code.start(session, self.configure.as_ref(), self.seed).await
    }

    /// Compiles, configures and tries out a plugin, so that what cannot start is refused before a run depends on it.
    async fn new(linked: Arc<Linked>, settings: String, seed: u32, snapshot: bool) -> Result<Configured, Error> {
        let refused = |fault| Error::Configure { plugin: linked.name.clone(), fault };
        let _slots = linked.pool.slots(1).await;
        let snapshotted = match snapshot {
            true => linked.configured(&settings, seed).await,
            false => Err(Missing::Reason("these settings came after the plugin was loaded".into())),
        };
        let cache = if linked.waits() { CacheScores::Off } else { linked.cache };
        let scores = ScoreCache::of(&linked.shared.scores, cache, linked.key(&settings, seed));
        let (code, configure) = match snapshotted {
            Ok(code) => (code, None),
            Err(Missing::Fault(fault)) => return Err(refused(fault)),
            Err(Missing::Reason(reason)) => (linked.plain().await?, Some(Configure { reason, settings })),
        };
        let mut session = Session::open(&linked, seed);
        let instance = code.start(&mut session, configure.as_ref(), seed).await.map_err(refused)?;
        let manifest = session.describe(&code.plugin, &instance).await.map_err(refused)?;
        drop(session);
        Ok(Configured { linked, code, configure, seed, manifest, scores, warm: Warm::default() })
    }
}

impl Plugin {
    pub(crate) async fn configure(
        linked: Arc<Linked>,
        settings: &Value,
        seed: u32,
        snapshot: bool,
    ) -> Result<Plugin, Error> {
        if !settings.is_object() {
            return Err(Error::Settings { plugin: linked.name.clone(), found: kind_of(settings).to_owned() });
        }
        let shared = linked.shared.clone();
        let configured = shared.run(Configured::new(linked, settings.to_string(), seed, snapshot));
        let configured = configured.await.map_err(|reason| Error::Engine { reason })??;
        Ok(Plugin { inner: Arc::new(configured) })
    }

    /// The same compiled code with other settings and another seed. Costs one trial instance; nothing is compiled, and so
    /// there is no snapshot: every instance is configured anew.
    pub async fn configured(&self, settings: Value, seed: u32) -> Result<Plugin, Error> {
        Plugin::configure(self.inner.linked.clone(), &settings, seed, false).await
    }

    /// This plugin as a reward; the error names the world it has instead.
    pub fn reward(&self) -> Result<Reward, Error> {
        match &self.inner.code.reward {
            Some(_) => Ok(Reward { plugin: self.clone() }),
            None => Err(self.wrong_world(World::RewardPlugin)),
        }
    }

    /// This plugin as a tool, its functions listed; the error names the world it has instead.
    pub async fn tool(&self) -> Result<Tool, Error> {
        match &self.inner.code.tool {
            Some(_) => Tool::of(self.clone()).await,
            None => Err(self.wrong_world(World::ToolPlugin)),
        }
    }

    fn wrong_world(&self, wanted: World) -> Error {
        let plugin = self.name().to_owned();
        Error::WrongWorld { plugin, actual: self.world().to_string(), wanted: wanted.to_string() }
    }

    /// The name it was loaded under.
    pub fn name(&self) -> &str {
        &self.inner.linked.name
    }

    /// The SHA-256 of its bytes.
    pub fn digest(&self) -> Digest {
        self.inner.linked.source.digest
    }

    /// The size of the component in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.inner.linked.source.size_bytes
    }

    /// What kind of plugin it is.
    pub fn world(&self) -> World {
        self.inner.linked.source.inspection.world
    }

    /// The interfaces it imports: what it can do besides computing.
    pub fn imports(&self) -> &[String] {
        &self.inner.linked.source.inspection.imports
    }

    /// The interfaces it exports.
    pub fn exports(&self) -> &[String] {
        &self.inner.linked.source.inspection.exports
    }

    /// Whether it imports nothing: then its scores depend on its bytes, its settings, the seed and the sample alone.
    pub fn sealed(&self) -> bool {
        self.imports().is_empty()
    }

    /// Whether its scores can be reproduced: nothing it may reach answers differently another time. True of sealed
    /// plugins, and of those whose only live imports are `host-log` and virtual WASI.
    pub fn reproducible(&self) -> bool {
        !self.inner.linked.waits()
    }

    /// Why every instance runs `configure`; none when instances start from a snapshot taken after it.
    pub fn no_snapshot(&self) -> Option<&str> {
        self.inner.configure.as_ref().map(|configure| configure.reason.as_str())
    }

    /// What it says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
