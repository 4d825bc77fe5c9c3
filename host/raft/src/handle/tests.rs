mod async_work;
mod cluster;
mod kit;
mod members;
mod repair;
mod start;
mod stop;
