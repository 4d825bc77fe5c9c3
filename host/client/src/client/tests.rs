mod apply;
mod nodes;
mod queries;
mod support;
