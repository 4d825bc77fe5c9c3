//! The wake time that the guest sets itself.

use serde::{Deserialize, Serialize};

/// The wake time of [`Apply::wake_at`](crate::Apply::wake_at).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WakeTime {
    #[default]
    None,
    At(u64),
    /// The state is from an SDK that left the wake time to the host, so the host may have one.
    Unknown,
}
