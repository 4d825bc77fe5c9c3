//! The task queue on three real nodes: what its clients see, and its upgrade from version 1 under load.

#[path = "queue"]
mod parts {
    mod content;
    mod delivery;
    mod failures;
    pub(crate) mod kit;
    mod operations;
    mod related;
    mod upgrade;
    mod waiting;
}
