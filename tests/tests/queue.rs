//! The task queue on three real nodes: what its clients see, and its upgrade from version 1 under load.

#[path = "queue"]
mod parts {
    mod content;
    mod cron;
    mod delivery;
    mod failures;
    mod headroom;
    pub(crate) mod kit;
    mod large;
    mod operations;
    mod related;
    mod semantics;
    mod time;
    mod upgrade;
    mod waiting;
}
