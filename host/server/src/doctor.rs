//! `oarlock doctor` and `GET /v1/doctor`: what is wrong with a cluster, a node or a data directory, why it matters and what to do.
//!
//! | module | what it does |
//! |---|---|
//! | [`examine`] | facts in, findings out: a pure function |
//! | [`checks`] | the table of checks, one row for each condition |
//! | [`check`] | a check, and where its condition holds |
//! | [`view`] | the facts as the checks read them: which node knows best, which voters run |
//! | [`finding`] | what a check finds |
//! | [`facts`] | what a node, a cluster or a data directory tells about itself |
//!
//! The node gathers its own facts in `http::doctor`; the command asks every member, or reads a directory.

mod check;
mod checks;
mod examine;
pub(crate) mod facts;
mod finding;
#[cfg(test)]
mod tests;
mod view;

/// The names of all checks.
#[cfg(test)]
pub(crate) fn check_ids() -> impl Iterator<Item = &'static str> {
    checks::all().map(|check| check.id)
}

pub(crate) use examine::examine;
pub(crate) use finding::{Finding, FindingSeverity};
