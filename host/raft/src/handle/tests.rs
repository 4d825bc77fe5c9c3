mod cluster;
mod kit;
mod members;
mod start;
mod stop;
