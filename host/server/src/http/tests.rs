//! The routes on real nodes: real guests, a real disk, real sockets.

mod about;
mod audit;
mod clocks;
mod commands;
mod connections;
mod doctor;
mod entries;
mod events;
mod express;
mod guard;
mod hostile;
mod lifecycle;
mod logs;
mod members;
mod reference;
mod settings;
mod slow;
mod succession;
mod support;
mod tls;
mod upgrades;
mod waiting;
