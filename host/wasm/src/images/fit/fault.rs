//! Why a component's state can't be had as an image.

use wasmparser::BinaryReaderError;

/// The scan of a component stopped.
pub(super) enum ScanFault {
    /// The bytes can't be parsed.
    Unread(BinaryReaderError),
    /// State may be kept outside of memory, for this reason.
    Unfit(String),
}

impl From<BinaryReaderError> for ScanFault {
    fn from(error: BinaryReaderError) -> Self {
        Self::Unread(error)
    }
}

impl From<&str> for ScanFault {
    fn from(reason: &str) -> Self {
        Self::Unfit(reason.to_owned())
    }
}
