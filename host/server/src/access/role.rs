//! Roles: each allows one kind of requests. No role contains another one.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessRole {
    /// Queries, events, status, schema, and the active module.
    Reader,
    /// Commands.
    Writer,
    /// Members, leadership, settings, snapshots, audits.
    Operator,
    /// Upgrades of the module.
    Upgrader,
    /// Metrics.
    Monitor,
}

impl AccessRole {
    /// All roles.
    pub(crate) const ALL: [Self; 5] = [
        Self::Reader,
        Self::Writer,
        Self::Operator,
        Self::Upgrader,
        Self::Monitor,
    ];

    /// Its name in certificates and flags.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Operator => "operator",
            Self::Upgrader => "upgrader",
            Self::Monitor => "monitor",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for AccessRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Some roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RoleSet(u8);

/// A list of roles is not valid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "the role {0:?} does not exist; use `all`, or some of reader, writer, operator, upgrader and monitor, separated by commas"
)]
pub(crate) struct RoleSetError(String);

impl RoleSet {
    /// Every role.
    pub(crate) fn all() -> Self {
        AccessRole::ALL.into_iter().collect()
    }

    /// Whether a role is among them.
    pub(crate) fn contains(self, role: AccessRole) -> bool {
        self.0 & role.bit() != 0
    }
}

impl FromIterator<AccessRole> for RoleSet {
    fn from_iter<I: IntoIterator<Item = AccessRole>>(roles: I) -> Self {
        Self(roles.into_iter().fold(0, |set, role| set | role.bit()))
    }
}

impl FromStr for RoleSet {
    type Err = RoleSetError;

    /// Parses `all` or names separated by commas.
    fn from_str(text: &str) -> Result<Self, RoleSetError> {
        if text == "all" {
            return Ok(Self::all());
        }
        let role = |name: &str| {
            let known = AccessRole::ALL.into_iter().find(|role| role.name() == name);
            known.ok_or_else(|| RoleSetError(name.to_owned()))
        };
        text.split(',').map(role).collect()
    }
}

impl fmt::Display for RoleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = AccessRole::ALL
            .into_iter()
            .filter(|role| self.contains(*role));
        let names: Vec<&str> = names.map(AccessRole::name).collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_parsed_and_none_contains_another() {
        let set: RoleSet = "writer,monitor".parse().expect("valid");
        assert_eq!(set.to_string(), "writer,monitor");
        for role in AccessRole::ALL {
            let alone: RoleSet = role.name().parse().expect("valid");
            assert_eq!(
                AccessRole::ALL
                    .into_iter()
                    .filter(|other| alone.contains(*other))
                    .count(),
                1
            );
            assert!(RoleSet::all().contains(role));
            assert!(!RoleSet::default().contains(role));
        }
        assert_eq!("all".parse(), Ok(RoleSet::all()));
        assert_eq!(
            "reader,writer,operator,upgrader,monitor".parse(),
            Ok(RoleSet::all())
        );
        for wrong in ["", "admin", "reader,", "Reader", "reader writer"] {
            assert!(wrong.parse::<RoleSet>().is_err(), "{wrong}");
        }
    }
}
