mod apply;
mod events;
mod leader;
mod nodes;
mod queries;
pub(crate) mod support;
