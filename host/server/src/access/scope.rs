//! Scopes of a token on the command line.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use thiserror::Error;

/// A scope as a flag: `NAME=VALUE,…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScopeFlag {
    name: String,
    values: BTreeSet<String>,
}

/// A text is not a scope.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("write a name and the allowed values, such as queues=email,reports")]
pub(crate) struct ScopeFlagError;

impl FromStr for ScopeFlag {
    type Err = ScopeFlagError;

    fn from_str(text: &str) -> Result<Self, ScopeFlagError> {
        let (name, values) = text.split_once('=').ok_or(ScopeFlagError)?;
        let values: BTreeSet<String> = values.split(',').map(str::to_owned).collect();
        if name.is_empty() || values.contains("") {
            return Err(ScopeFlagError);
        }
        let name = name.to_owned();
        Ok(Self { name, values })
    }
}

impl ScopeFlag {
    /// All scopes by their names. Values of the same name are joined.
    pub(crate) fn joined(
        flags: impl IntoIterator<Item = Self>,
    ) -> BTreeMap<String, BTreeSet<String>> {
        let mut scopes = BTreeMap::<_, BTreeSet<_>>::new();
        for Self { name, values } in flags {
            scopes.entry(name).or_default().extend(values);
        }
        scopes
    }

    /// The queues that the owner of a token may use.
    pub(crate) fn queues(queues: Vec<String>) -> Option<Self> {
        (!queues.is_empty()).then(|| Self {
            name: "queues".to_owned(),
            values: queues.into_iter().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_has_a_name_and_values() {
        let flags = ["queues=a,b", "tenants=x", "queues=b,c"];
        let flags = flags.map(|flag| flag.parse::<ScopeFlag>().expect("a scope"));
        let scopes = ScopeFlag::joined(flags);
        let all: Vec<(&str, Vec<&str>)> = scopes
            .iter()
            .map(|(name, values)| (name.as_str(), values.iter().map(String::as_str).collect()))
            .collect();
        assert_eq!(
            all,
            [("queues", vec!["a", "b", "c"]), ("tenants", vec!["x"])]
        );
        for wrong in ["", "queues", "=a", "queues=", "queues=a,,b"] {
            assert_eq!(wrong.parse::<ScopeFlag>(), Err(ScopeFlagError), "{wrong}");
        }
    }

    #[test]
    fn queues_are_a_scope() {
        assert_eq!(ScopeFlag::queues(Vec::new()), None);
        let queues = ScopeFlag::queues(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(queues, Some("queues=a,b".parse().expect("a scope")));
    }
}
