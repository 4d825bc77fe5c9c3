mod admin;
mod forwarding;
mod kit;
mod ordering;
mod proposals;
mod reads;
mod reinstall;
