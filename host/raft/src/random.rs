//! Random numbers of the operating system.

/// 64 random bits: a session, a store id, a seed. Two nodes, or two runs of one, never draw the same.
///
/// # Panics
/// The operating system has no randomness. Linux, macOS and Windows always have some.
pub(crate) fn random_u64() -> u64 {
    getrandom::u64()
        .unwrap_or_else(|error| panic!("the operating system has no randomness: {error}"))
}

/// As [`random_u64`], with twice as many bits.
pub(crate) fn random_u128() -> u128 {
    u128::from(random_u64()) << 64 | u128::from(random_u64())
}
