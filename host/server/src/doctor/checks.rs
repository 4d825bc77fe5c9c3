//! The table of checks. A check is a row: what it looks for, why that matters, what to do, and the function that looks.
//! `host/docs/doctor.md` is made from it, and a test plants each condition.

mod access;
mod clocks;
mod directory;
mod disk;
mod members;
mod resources;
mod state;
mod versions;

use super::check::Check;

/// All checks, in the order of the page.
pub(crate) fn all() -> impl Iterator<Item = &'static Check> {
    [
        members::CHECKS,
        state::CHECKS,
        disk::CHECKS,
        clocks::CHECKS,
        access::CHECKS,
        resources::CHECKS,
        versions::CHECKS,
        directory::CHECKS,
    ]
    .into_iter()
    .flatten()
}
