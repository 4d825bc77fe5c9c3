//! Each end of an upgrade has its code.

use oarlock_wasm::UpgradeEnd;

use super::*;

#[test]
fn each_cause_of_an_aborted_upgrade_has_its_code() {
    for (cause, status, code) in [
        (AbortCause::TimedOut, 409, "voters_not_ready"),
        (AbortCause::NodeRefused, 422, "module_refused"),
        (AbortCause::NewRestoreFailed, 422, "module_refused"),
        (AbortCause::StatesDiffer, 422, "states_differ"),
        (AbortCause::ModuleCorrupt, 422, "upgrade_abandoned"),
        (AbortCause::OldSnapshotFailed, 422, "upgrade_abandoned"),
        (AbortCause::JournalTooLarge, 422, "upgrade_abandoned"),
    ] {
        let end = UpgradeEnd::Aborted {
            cause,
            message: String::new(),
        };
        let api = of_upgrade(UpgradeError::Aborted { cause, end });
        assert_eq!((api.status().as_u16(), api.code()), (status, code));
    }
}

#[test]
fn an_upgrade_without_an_end_is_504() {
    for error in [
        UpgradeError::TimedOut,
        UpgradeError::Stopping,
        UpgradeError::Submit(SubmitError::TimedOut),
        UpgradeError::Submit(SubmitError::Stopped),
    ] {
        let api = of_upgrade(error);
        assert_eq!((api.status().as_u16(), api.code()), (504, "timeout"));
    }
}
