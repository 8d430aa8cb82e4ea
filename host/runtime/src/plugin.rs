//! `PluginSpec` says which component to load and how; `Plugin` is one that was found fit, compiled and configured.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::OnceCell;
use wasmtime::component::{Component, InstancePre, Linker};

use crate::generated::exports::rewarden::plugin::{plugin, reward};
use crate::inspect::Inspection;
use crate::instance::{Session, State};
use crate::runtime::Shared;
use crate::{Digest, Error, Fault, Grants, Limits, Manifest, Reward, World, host_log};

/// Which component to load, under which name, with which settings, limits and grants.
///
/// Plain data, cheap, `Send + Sync`; write one per plugin of a run and keep it as long as you like.
#[derive(Debug, Clone, PartialEq)]
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
    /// The host interfaces it may import; by default none.
    pub grants: Grants,
}

impl PluginSpec {
    /// The component at this path, with every default.
    pub fn path(path: impl Into<PathBuf>) -> PluginSpec {
        let path = path.into();
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let settings = Value::Object(Default::default());
        PluginSpec { name, path, settings, seed: 0, limits: Limits::default(), grants: Grants::none() }
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

/// Compiled code and how it is entered; shared by all configurations of a plugin.
pub(crate) struct Linked {
    pub(crate) shared: Arc<Shared>,
    pub(crate) name: String,
    digest: Digest,
    size_bytes: u64,
    inspection: Inspection,
    pub(crate) limits: Limits,
    pub(crate) pre: InstancePre<State>,
    pub(crate) plugin: plugin::GuestIndices,
    reward: Option<reward::GuestIndices>,
    /// Held so that another load of the same bytes finds them compiled for as long as this plugin lives.
    _compiled: Arc<OnceCell<Component>>,
}

pub(crate) struct Configured {
    pub(crate) linked: Arc<Linked>,
    /// A JSON object, as the guest gets it.
    pub(crate) settings: String,
    pub(crate) seed: u32,
    manifest: Manifest,
}

impl Linked {
    /// Links what is granted, and nothing else, to the compiled component.
    pub(crate) fn new(
        shared: Arc<Shared>,
        spec: &PluginSpec,
        digest: Digest,
        size_bytes: u64,
        inspection: Inspection,
        compiled: Arc<OnceCell<Component>>,
    ) -> Result<Linked, Error> {
        let unfit = |error: wasmtime::Error| Error::Unfit { path: spec.path.clone(), reason: format!("{error:#}") };
        let component = compiled.get().expect("linked only once it is compiled");
        let mut linker = Linker::new(&shared.engine);
        if spec.grants.allows("host-log") {
            host_log::link(&mut linker).map_err(unfit)?;
        }
        let pre = linker.instantiate_pre(component).map_err(unfit)?;
        let plugin = plugin::GuestIndices::new(&pre).map_err(unfit)?;
        let reward = match inspection.world {
            World::RewardPlugin | World::ModelRewardPlugin => Some(reward::GuestIndices::new(&pre).map_err(unfit)?),
            _ => None,
        };
        let (name, limits) = (spec.name.clone(), spec.limits.clone());
        Ok(Linked { shared, name, digest, size_bytes, inspection, limits, pre, plugin, reward, _compiled: compiled })
    }

    pub(crate) fn reward(&self) -> &reward::GuestIndices {
        self.reward.as_ref().expect("a `Reward` is only made of a plugin that has one")
    }

    /// Describes and configures a throw-away instance, so that what cannot start is refused before a run depends on it.
    async fn try_out(&self, settings: &str, seed: u32) -> Result<Manifest, Fault> {
        let _slot = self.shared.slot().await;
        let mut session = Session::open(&self.shared.engine, &self.name, &self.limits);
        let instance = session.instantiate(&self.pre).await?;
        let manifest = session.describe(&self.plugin, &instance).await?;
        session.configure(&self.plugin, &instance, settings, seed).await?;
        Ok(manifest)
    }
}

impl Plugin {
    pub(crate) async fn configure(linked: Arc<Linked>, settings: &Value, seed: u32) -> Result<Plugin, Error> {
        let plugin = linked.name.clone();
        if !settings.is_object() {
            return Err(Error::Settings { plugin, found: kind_of(settings).to_owned() });
        }
        let (settings, on_worker) = (settings.to_string(), linked.clone());
        let tried = linked.shared.run(async move {
            let tried = on_worker.try_out(&settings, seed).await;
            (tried, settings)
        });
        let (tried, settings) = tried.await.map_err(|reason| Error::Engine { reason })?;
        let manifest = tried.map_err(|fault| Error::Configure { plugin, fault })?;
        Ok(Plugin { inner: Arc::new(Configured { linked, settings, seed, manifest }) })
    }

    /// The same compiled code with other settings and another seed. Costs one trial instance; nothing is compiled.
    pub async fn configured(&self, settings: Value, seed: u32) -> Result<Plugin, Error> {
        Plugin::configure(self.inner.linked.clone(), &settings, seed).await
    }

    /// This plugin as a reward; the error names the world it has instead.
    pub fn reward(&self) -> Result<Reward, Error> {
        match &self.inner.linked.reward {
            Some(_) => Ok(Reward { plugin: self.clone() }),
            None => Err(Error::WrongWorld {
                plugin: self.name().to_owned(),
                actual: self.world().to_string(),
                wanted: World::RewardPlugin.to_string(),
            }),
        }
    }

    /// The name it was loaded under.
    pub fn name(&self) -> &str {
        &self.inner.linked.name
    }

    /// The SHA-256 of its bytes.
    pub fn digest(&self) -> Digest {
        self.inner.linked.digest
    }

    /// The size of the component in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.inner.linked.size_bytes
    }

    /// What kind of plugin it is.
    pub fn world(&self) -> World {
        self.inner.linked.inspection.world
    }

    /// The interfaces it imports: what it can do besides computing.
    pub fn imports(&self) -> &[String] {
        &self.inner.linked.inspection.imports
    }

    /// The interfaces it exports.
    pub fn exports(&self) -> &[String] {
        &self.inner.linked.inspection.exports
    }

    /// Whether it imports nothing: then its scores depend on its bytes, its settings, the seed and the sample alone.
    pub fn sealed(&self) -> bool {
        self.imports().is_empty()
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
