//! Which host services a plugin may use. A plugin may import what it likes of ours; what it was not granted answers
//! `unavailable` and says which line grants it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Host interfaces that this version can grant.
const GRANTABLE: [&str; 3] = ["host-log", "host-model", "host-tools"];

/// The host interfaces a plugin is allowed to use; none by default.
///
/// A small ordered set of names, cheap to clone, `Send + Sync`; written in a configuration as a list of strings such as
/// `grants = ["host-log"]`. A plugin that needs none of them is *sealed*: its scores depend on its input alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Grants(BTreeSet<String>);

impl Grants {
    /// Grants nothing: every service answers `unavailable`, and log lines go nowhere.
    pub fn none() -> Grants {
        Grants::default()
    }

    /// Grants these interfaces, by their names in `wit/`; an unknown name is an error that lists the known ones.
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Result<Grants, UnknownGrant> {
        let names: BTreeSet<String> = names.into_iter().map(Into::into).collect();
        match names.iter().find(|name| !GRANTABLE.contains(&name.as_str())) {
            Some(name) => Err(UnknownGrant(name.clone())),
            None => Ok(Grants(names)),
        }
    }

    /// Whether the interface of this name is granted.
    pub fn allows(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// Whether this host could grant the interface of this name at all.
    pub(crate) fn is_grantable(name: &str) -> bool {
        GRANTABLE.contains(&name)
    }
}

/// A name in a list of grants that is no host interface of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be granted: this version knows {known}", known = GRANTABLE.join(", "))]
pub struct UnknownGrant(String);

impl TryFrom<Vec<String>> for Grants {
    type Error = UnknownGrant;

    fn try_from(names: Vec<String>) -> Result<Grants, UnknownGrant> {
        Grants::new(names)
    }
}

impl From<Grants> for Vec<String> {
    fn from(grants: Grants) -> Vec<String> {
        grants.0.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_list_of_names_and_refuses_unknown_ones() {
        let grants: Grants = serde_json::from_str(r#"["host-log"]"#).unwrap();
        assert!(grants.allows("host-log") && !grants.allows("host-model"));
        assert_eq!(serde_json::to_string(&grants).unwrap(), r#"["host-log"]"#);
        let error = serde_json::from_str::<Grants>(r#"["host-lgo"]"#).unwrap_err().to_string();
        assert!(error.contains("host-lgo") && error.contains("host-log"), "{error}");
    }
}
