mod async_work;
mod cluster;
mod kit;
mod members;
mod repair;
mod shared_driver;
mod start;
mod stop;
