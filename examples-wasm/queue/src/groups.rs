//! Groups of tasks.

use serde::{Deserialize, Serialize};

use crate::draft::NewTask;

/// Tasks that are followed by another one when all are done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Group {
    /// Whether tasks can be added.
    pub(crate) is_open: bool,
    /// Tasks that are not done, dead ones included.
    pub(crate) pending: u64,
    /// Those of them that are dead.
    pub(crate) dead: u64,
    pub(crate) done: u64,
    pub(crate) on_complete: Option<Box<NewTask>>,
    pub(crate) on_dead: Option<Box<NewTask>>,
}
