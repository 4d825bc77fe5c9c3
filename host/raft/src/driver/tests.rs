mod forwarding;
mod kit;
mod ordering;
mod orders;
mod proposals;
mod reads;
mod reinstall;
