//! The digest of the complete state, computed concurrently with apply.
//!
//! The state hash covers what the guest did, so it can't show a state that differs and had no effect yet: a flipped bit in
//! memory, or state that two nodes dropped at different entries. The digest covers a snapshot. Two nodes with the same state
//! have the same snapshot only if the guest writes a state in one way. So the snapshot is restored in another instance and
//! written again: if that differs, this node's digest can't be compared.

use std::io::{self, Write};

use sha2::Digest;

use crate::failure::MachineFailure;
use crate::guest::limits::MachineLimits;
use crate::guest::module::GuestModule;
use crate::machine::snapshot::{self, ModuleBytes};
use crate::machine::state::ReplicatedState;
use crate::records::digest::Sha256;
use crate::records::snapshot_error::MachineSnapshotError;
use crate::rollback::checkpoint::CapturedState;
use crate::rollback::recoverable::RecoverableGuest;

/// The digest of a guest that writes the same state in different ways.
pub(crate) const NOT_COMPARABLE: Sha256 = Sha256([0; 32]);

/// A captured state.
pub(crate) struct StateDigest {
    pub(crate) guest: CapturedState,
    pub(crate) replicated: ReplicatedState,
    pub(crate) module: GuestModule,
    pub(crate) limits: MachineLimits,
}

impl StateDigest {
    /// Computes the digest, or [`NOT_COMPARABLE`].
    ///
    /// # Errors
    /// The guest can't write its state, or can't read it again.
    pub(crate) fn compute(self) -> Result<Sha256, MachineFailure> {
        let Self {
            guest,
            replicated,
            module,
            limits,
        } = self;
        let version = module.description().version;
        let written = guest.write()?;
        let mut copy = RecoverableGuest::start(module.clone(), &limits)?;
        copy.restore(version, written.clone())?;
        let again = copy.snapshot(replicated.applied)?;
        drop(copy);
        if again.digest(version) != written.digest(version) {
            return Ok(NOT_COMPARABLE);
        }
        let mut digest = DigestWriter(sha2::Sha256::new());
        let module = ModuleBytes::from(&module);
        snapshot::write(&mut digest, &module, version, &replicated, &written)
            .map_err(MachineSnapshotError::Io)?;
        Ok(Sha256(digest.0.finalize().into()))
    }
}

struct DigestWriter(sha2::Sha256);

impl Write for DigestWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
