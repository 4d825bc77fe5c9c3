//! What runs a guest: the same code inside a module and under the harness.

use crate::codec::{Codec, EncodeError};
use crate::context::{Apply, Host, Moment, Read};
use crate::machine::Guest;

/// Applies one command and adds its reply or refusal to `out`. Says whether it was accepted.
///
/// # Errors
///
/// The reply has no form in bytes. The state may have changed: the caller traps.
fn apply<M: Guest>(
    machine: &mut M,
    host: &dyn Host,
    moment: Moment,
    command: &[u8],
    out: &mut Vec<u8>,
) -> Result<bool, EncodeError> {
    let command = match M::Codec::decode_command(command) {
        Ok(command) => command,
        Err(malformed) => {
            M::Codec::encode_malformed(&malformed, out);
            return Ok(false);
        }
    };
    let mut cx = Apply::new(host, moment);
    match machine.apply(&mut cx, command) {
        Ok(reply) => {
            M::Codec::encode_reply(&reply, out)?;
            cx.commit();
            Ok(true)
        }
        Err(refusal) => M::Codec::encode_refusal(&refusal, out).map(|()| false),
    }
}

/// What became of the commands of one entry, laid end to end as in the WIT's `outcomes`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcomes {
    pub(crate) accepted: Vec<bool>,
    pub(crate) data: Vec<u8>,
    pub(crate) ends: Vec<u32>,
}

/// Why a batch could not be applied. Neither is the command's fault, so both end in a trap.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BatchError {
    #[error(
        "the host sent a batch whose offsets do not fit its {length} bytes (command {command} ends at {end}); the host is at fault"
    )]
    Offsets {
        command: usize,
        end: u32,
        length: usize,
    },
    #[error("the replies of one entry take more than 4 GiB; reply with less")]
    TooLarge,
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Applies the commands of one entry: command `i` is `data[ends[i-1]..ends[i]]`.
///
/// # Errors
///
/// See [`BatchError`].
pub(crate) fn apply_batch<M: Guest>(
    machine: &mut M,
    host: &dyn Host,
    moment: Moment,
    data: &[u8],
    ends: &[u32],
) -> Result<Outcomes, BatchError> {
    let mut outcomes = Outcomes::default();
    let mut start = 0;
    for (command, &end) in ends.iter().enumerate() {
        let fault = BatchError::Offsets {
            command,
            end,
            length: data.len(),
        };
        let bytes = data.get(start..end as usize).ok_or(fault)?;
        start = end as usize;
        let accepted = apply(machine, host, moment, bytes, &mut outcomes.data)?;
        outcomes.accepted.push(accepted);
        outcomes
            .ends
            .push(u32::try_from(outcomes.data.len()).map_err(|_| BatchError::TooLarge)?);
    }
    if start != data.len() {
        let end = ends.last().copied().unwrap_or(0);
        return Err(BatchError::Offsets {
            command: ends.len(),
            end,
            length: data.len(),
        });
    }
    Ok(outcomes)
}

/// Calls the guest because its time has come.
pub(crate) fn wake<M: Guest>(machine: &mut M, host: &dyn Host, moment: Moment) {
    let mut cx = Apply::new(host, moment);
    machine.on_wake(&mut cx);
    cx.commit();
}

/// Answers a query: the bytes of an answer, or of a refusal.
///
/// # Errors
///
/// The answer has no form in bytes.
pub(crate) fn query<M: Guest>(
    machine: &M,
    host: &dyn Host,
    moment: Moment,
    request: &[u8],
) -> Result<Result<Vec<u8>, Vec<u8>>, EncodeError> {
    let mut out = Vec::new();
    let request = match M::Codec::decode_query(request) {
        Ok(request) => request,
        Err(malformed) => {
            M::Codec::encode_malformed(&malformed, &mut out);
            return Ok(Err(out));
        }
    };
    match machine.query(&Read::new(host, moment), request) {
        Ok(answer) => M::Codec::encode_answer(&answer, &mut out).map(|()| Ok(out)),
        Err(refusal) => M::Codec::encode_refusal(&refusal, &mut out).map(|()| Err(out)),
    }
}

#[cfg(test)]
mod tests;
