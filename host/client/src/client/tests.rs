mod apply;
mod events;
mod leader;
mod logs;
mod nodes;
mod queries;
pub(crate) mod support;
