//! `PluginSpec` says which component to load and how; `Plugin` is one that was found fit, compiled and configured.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use crate::linked::{Configured, Linked};
use crate::{
    CacheScores, Digest, Environment, Error, Fault, Grants, GroupReward, Isolation, Limits, Manifest, Reward, Scorer,
    Services, Tool, Wasi, Worker, World,
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

    /// Hands `configure` this text, JSON or not, in an instance that is dropped afterwards: what the plugin makes of
    /// settings that no run could give it. Compiles the component where only its snapshot was needed so far.
    pub async fn try_settings(&self, settings: String) -> Result<(), Fault> {
        let (linked, seed) = (self.inner.linked.clone(), self.inner.seed);
        let tried = linked.clone().try_configure(settings, seed);
        let tried = linked.shared.run(tried).await;
        tried.unwrap_or_else(|reason| Err(Fault::Internal(format!("host: {reason}"))))
    }

    /// This plugin as a reward; the error names the world it has instead.
    pub fn reward(&self) -> Result<Reward, Error> {
        match self.world() {
            World::RewardPlugin | World::ModelRewardPlugin => Ok(Reward { plugin: self.clone() }),
            _ => Err(self.wrong_world(World::RewardPlugin)),
        }
    }

    /// This plugin as a judge of groups; the error names the world it has instead.
    pub fn group_reward(&self) -> Result<GroupReward, Error> {
        match self.world() {
            World::GroupRewardPlugin => Ok(GroupReward { plugin: self.clone() }),
            _ => Err(self.wrong_world(World::GroupRewardPlugin)),
        }
    }

    /// This plugin as what judges samples, by themselves or in groups; the error names the world it has instead.
    pub fn scorer(&self) -> Result<Scorer, Error> {
        match self.world() {
            World::GroupRewardPlugin => Ok(self.group_reward()?.into()),
            _ => Ok(self.reward()?.into()),
        }
    }

    /// This plugin as an environment; the error names the world it has instead.
    pub fn environment(&self) -> Result<Environment, Error> {
        match self.world() {
            World::EnvironmentPlugin => Ok(Environment { plugin: self.clone() }),
            _ => Err(self.wrong_world(World::EnvironmentPlugin)),
        }
    }

    /// This plugin as a tool, its functions listed; the error names the world it has instead.
    pub async fn tool(&self) -> Result<Tool, Error> {
        match self.world() {
            World::ToolPlugin => Tool::of(self.clone()).await,
            _ => Err(self.wrong_world(World::ToolPlugin)),
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
        self.inner.no_snapshot()
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
