//! What a refused command must undo. Empty, and without an allocation, for a command that uses none of it.

use std::sync::Arc;

use super::deferrals::Deferral;
use super::wake_time::WakeTime;
use crate::token::Token;

pub(crate) type UndoLog = Vec<Undo>;

/// One change, with what was there before.
#[derive(Debug)]
pub(crate) enum Undo {
    Wake(WakeTime),
    Timer { id: Arc<str>, before: Option<u64> },
    LastToken(u64),
    Deferral { token: Token, before: Deferral },
}
