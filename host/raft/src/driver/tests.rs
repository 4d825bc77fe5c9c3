mod forwarding;
mod kit;
mod ordering;
mod proposals;
mod reads;
