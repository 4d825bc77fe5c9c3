//! Whether this node accepts a module by its signature.

use oarlock_wasm::Sha256;

use crate::built_in;
use crate::signers::{ModuleSigners, UnsignedModule};

/// Checks that one of the keys has signed a module, if there are keys. The task queues in this program need no signature: who
/// chooses the program chooses them.
///
/// # Errors
/// See [`UnsignedModule`].
pub(crate) fn check(
    signers: Option<&ModuleSigners>,
    module: Sha256,
    signature: Option<&str>,
) -> Result<(), UnsignedModule> {
    let checked = signers.map_or(Ok(()), |signers| signers.check(module, signature));
    // Looked up last: it computes the digests of all these modules.
    checked.or_else(|error| built_in::find(module).map(drop).ok_or(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_queues_of_this_program_need_no_signature() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("signers");
        // Any 32 bytes are a key.
        std::fs::write(&path, "A".repeat(43)).expect("writable");
        let signers = ModuleSigners::read(&path).expect("a key");
        let own = built_in::digest();
        assert_eq!(check(Some(&signers), own, None), Ok(()));
        let other = Sha256::of(b"a module");
        assert!(check(Some(&signers), other, None).is_err());
        assert_eq!(check(None, other, None), Ok(()));
    }
}
