mod apply;
mod events;
mod nodes;
mod queries;
mod support;
