//! A guest's own part of `Cargo.lock`.

use std::collections::{BTreeMap, BTreeSet};

/// Why `Cargo.lock` could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It does not have the form of one.
    #[error("Cargo.lock has no list of packages with names and versions; let cargo write it anew")]
    Form,
    /// A package is named and not there.
    #[error("Cargo.lock does not hold {name}; let cargo write it anew")]
    Missing {
        /// As it is named.
        name: String,
    },
}

/// A package at an exact version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it comes from; nothing for a package of this repository.
    pub source: Option<String>,
    checksum: Option<String>,
    /// As the file names them: `name`, `name version` or `name version (source)`.
    dependencies: Vec<String>,
}

impl Package {
    /// What tells it from every other package: the same wherever it was fetched from.
    pub fn identity(&self) -> String {
        format!(
            "{} {} {}",
            self.name,
            self.version,
            self.checksum.as_deref().unwrap_or("-")
        )
    }
}

/// The packages of a `Cargo.lock`.
#[derive(Debug)]
pub struct Lock {
    packages: BTreeMap<String, Vec<Package>>,
}

impl Lock {
    /// Reads the packages.
    ///
    /// # Errors
    ///
    /// It does not have the form of a `Cargo.lock`.
    pub fn parse(lock: toml::Table) -> Result<Self, LockError> {
        let listed = lock
            .get("package")
            .and_then(toml::Value::as_array)
            .ok_or(LockError::Form)?;
        let mut packages = BTreeMap::<String, Vec<Package>>::new();
        for package in listed {
            let package = package_of(package).ok_or(LockError::Form)?;
            packages
                .entry(package.name.clone())
                .or_default()
                .push(package);
        }
        Ok(Self { packages })
    }

    /// A package and all that it depends on, in order.
    ///
    /// # Errors
    ///
    /// One of them is not there.
    pub fn closure(&self, name: &str) -> Result<BTreeSet<&Package>, LockError> {
        let mut found = BTreeSet::new();
        let mut open = vec![name];
        while let Some(name) = open.pop() {
            let package = self.find(name)?;
            if found.insert(package) {
                open.extend(package.dependencies.iter().map(String::as_str));
            }
        }
        Ok(found)
    }

    fn find(&self, dependency: &str) -> Result<&Package, LockError> {
        let mut parts = dependency.split(' ');
        let (name, version, source) =
            (parts.next().unwrap_or_default(), parts.next(), parts.next());
        let fits = |package: &&Package| {
            version.is_none_or(|version| package.version == version)
                && source.is_none_or(|source| {
                    package.source.as_deref() == Some(source.trim_matches(['(', ')']))
                })
        };
        let mut named = self.packages.get(name).into_iter().flatten();
        named.find(fits).ok_or_else(|| LockError::Missing {
            name: dependency.to_owned(),
        })
    }
}

fn package_of(value: &toml::Value) -> Option<Package> {
    let text = |key: &str| value.get(key)?.as_str().map(str::to_owned);
    let dependencies = value
        .get("dependencies")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten();
    Some(Package {
        name: text("name")?,
        version: text("version")?,
        source: text("source"),
        checksum: text("checksum"),
        dependencies: dependencies
            .map(|it| it.as_str().map(str::to_owned))
            .collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests;
