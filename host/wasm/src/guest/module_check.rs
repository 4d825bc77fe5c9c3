//! A check of modules outside this process, before it parses them.

use crate::guest::check::CheckError;
use crate::guest::limits::MachineLimits;

/// Checks a module where a module that exhausts memory, time or stack of the compiler does no harm: in another process.
///
/// [`GuestModule::load`](crate::GuestModule::load) calls it for bytes that it would have to parse and compile, and not for
/// a module that is loaded already or whose compiled code is stored.
pub trait ModuleCheck: Send + Sync {
    /// Loads the module as [`GuestModule::load`](crate::GuestModule::load) does. May keep the compiled code in the engine's
    /// [store](crate::CompiledStore), so that it is not compiled again. Blocks until the check has ended.
    ///
    /// # Errors
    /// Every reason why the bytes are not a guest, or what the check ran out of.
    fn check(&self, bytes: &[u8], limits: &MachineLimits) -> Result<(), CheckError>;
}
