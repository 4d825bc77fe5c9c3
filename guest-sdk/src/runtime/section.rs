//! The section of a snapshot with the timers and deferred commands.
//!
//! It is empty if there was never one. Otherwise it is, encoded with postcard: the version of this layout (1), the wake
//! time, the number of overdue batches, the last token, the timers by id, and the deferred commands by token.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::deferrals::Deferral;
use super::state::RuntimeState;
use super::wake_time::WakeTime;
use crate::token::Token;

const VERSION: u8 = 1;

/// The section cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SectionError {
    #[error("{0}")]
    Decode(#[from] postcard::Error),
    #[error("it has version {0}, and this SDK reads version {VERSION}")]
    Version(u8),
    #[error("a timer or a deferred command is in it twice, or out of order")]
    Order,
}

#[derive(Serialize, Deserialize)]
struct Section<'a> {
    wake: WakeTime,
    overdue_batches: u8,
    last_token: u64,
    #[serde(borrow)]
    timers: Vec<(&'a str, u64)>,
    #[serde(borrow)]
    waiting: Vec<(Token, u64, &'a [u8])>,
}

impl RuntimeState {
    /// Writes the section.
    ///
    /// # Errors
    ///
    /// None in practice: all lengths are known.
    pub(crate) fn to_section(&self) -> postcard::Result<Vec<u8>> {
        if *self == Self::default() {
            return Ok(Vec::new());
        }
        let section = Section {
            wake: self.wake,
            overdue_batches: self.overdue_batches,
            last_token: self.deferrals.last_token(),
            timers: self.timers.iter().collect(),
            waiting: self
                .deferrals
                .iter()
                .map(|(token, Deferral { deadline_ms, reply })| (token, *deadline_ms, &reply[..]))
                .collect(),
        };
        postcard::to_extend(&section, vec![VERSION])
    }

    /// Reads the section.
    ///
    /// # Errors
    ///
    /// See [`SectionError`].
    pub(crate) fn from_section(bytes: &[u8]) -> Result<Self, SectionError> {
        let mut runtime = Self::default();
        let Some((version, bytes)) = bytes.split_first() else {
            return Ok(runtime);
        };
        if *version != VERSION {
            return Err(SectionError::Version(*version));
        }
        let (section, rest): (Section<'_>, _) = postcard::take_from_bytes(bytes)?;
        let timers = section.timers.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let waiting = section.waiting.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !(rest.is_empty() && timers && waiting) {
            return Err(SectionError::Order);
        }
        runtime.wake = section.wake;
        runtime.overdue_batches = section.overdue_batches;
        runtime.deferrals.set_last_token(section.last_token);
        for (id, at_ms) in section.timers {
            runtime.timers.insert(Arc::from(id), at_ms);
        }
        for (token, deadline_ms, reply) in section.waiting {
            let reply = reply.to_vec();
            runtime
                .deferrals
                .insert(token, Deferral { deadline_ms, reply });
        }
        Ok(runtime)
    }
}
