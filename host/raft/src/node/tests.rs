//! Networks on loopback, and strangers who speak to them.

mod exchange;
mod hostile;
mod membership;
mod support;
