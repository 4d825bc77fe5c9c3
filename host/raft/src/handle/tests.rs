mod cluster;
mod kit;
mod start;
mod stop;
