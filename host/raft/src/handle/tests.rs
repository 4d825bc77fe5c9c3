mod async_work;
mod cluster;
mod kit;
mod members;
mod repair;
mod seat;
mod start;
mod stop;
