//! Calls a guest. A module and the test harness run the same code.

use crate::codec::{Codec, EncodeError};
use crate::context::{Apply, Host, LogPosition, Read};
use crate::guest::Guest;

/// Applies one command and appends its reply or refusal to `out`. Returns whether it was accepted.
///
/// # Errors
///
/// The codec cannot encode the result. The state may have changed, so the caller must trap.
fn apply<M: Guest>(
    machine: &mut M,
    host: &dyn Host,
    position: LogPosition,
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
    let mut cx = Apply::new(host, position);
    match machine.apply(&mut cx, command) {
        Ok(reply) => {
            M::Codec::encode_reply(&reply, out)?;
            cx.commit();
            Ok(true)
        }
        Err(refusal) => M::Codec::encode_refusal(&refusal, out).map(|()| false),
    }
}

/// The outcomes of the commands of one entry, concatenated as in `outcomes` of the WIT.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcomes {
    pub(crate) accepted: Vec<bool>,
    pub(crate) data: Vec<u8>,
    pub(crate) ends: Vec<u32>,
}

/// A batch cannot be applied. The caller traps.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BatchError {
    #[error(
        "the offsets of the batch do not match its {length} bytes (command {command} ends at {end}); this is a bug of the host"
    )]
    Offsets {
        command: usize,
        end: u32,
        length: usize,
    },
    #[error("the replies of one entry exceed 4 GiB; return smaller replies")]
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
    position: LogPosition,
    data: &[u8],
    ends: &[u32],
) -> Result<Outcomes, BatchError> {
    let mut outcomes = Outcomes::default();
    let mut start = 0;
    for (command, &end) in ends.iter().enumerate() {
        let error = BatchError::Offsets {
            command,
            end,
            length: data.len(),
        };
        let bytes = data.get(start..end as usize).ok_or(error)?;
        start = end as usize;
        let accepted = apply(machine, host, position, bytes, &mut outcomes.data)?;
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

/// Calls `on_wake`.
pub(crate) fn wake<M: Guest>(machine: &mut M, host: &dyn Host, position: LogPosition) {
    let mut cx = Apply::new(host, position);
    machine.on_wake(&mut cx);
    cx.commit();
}

/// Evaluates a query. Returns the encoded response, or the encoded refusal.
///
/// # Errors
///
/// The codec cannot encode the result.
pub(crate) fn query<M: Guest>(
    machine: &M,
    host: &dyn Host,
    position: LogPosition,
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
    match machine.query(&Read::new(host, position), request) {
        Ok(response) => M::Codec::encode_response(&response, &mut out).map(|()| Ok(out)),
        Err(refusal) => M::Codec::encode_refusal(&refusal, &mut out).map(|()| Err(out)),
    }
}

#[cfg(test)]
mod tests;
