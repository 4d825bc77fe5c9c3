//! Networks on loopback, and unknown or broken clients that connect to them.

mod contact;
mod exchange;
mod hostile;
mod identity;
mod membership;
mod probe;
mod support;
