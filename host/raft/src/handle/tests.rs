mod beside;
mod cluster;
mod kit;
mod members;
mod repair;
mod start;
mod stop;
