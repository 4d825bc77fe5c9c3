pub(in crate::storage) mod disk;
mod formats;
mod log;
