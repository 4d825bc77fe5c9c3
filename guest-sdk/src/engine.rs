//! Calls a guest. A module and the test harness run the same code.

use crate::caller::BatchCallers;
use crate::codec::{Codec, EncodeError};
use crate::context::{Apply, BatchPosition, EffectsUsed, Host, LogPosition, Read};
use crate::guest::Guest;
use crate::live::LiveGuest;
use crate::runtime::{Due, RuntimeState, WakeSlot};

/// Most bytes of the reply that a deferred command gets at its deadline. The events and replies of a wake-up have a limit at
/// the host, 1 MiB by default.
const MAX_KEPT_REPLY_BYTES: usize = 64 << 10;
/// A wake-up ends when it has caused this many events and late replies. The default limit of the host is 1,000.
const MAX_WAKE_EFFECTS: usize = 256;
/// A wake-up ends when its events and late replies have this many bytes.
const MAX_WAKE_BYTES: usize = 256 << 10;

/// What became of a command: a verdict of the WIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommandVerdict {
    Accepted,
    Rejected,
    /// The body is the token: eight bytes, little-endian.
    Deferred,
}

/// Applies one command, with its position in the batch, and appends its reply, refusal or token to `out`.
///
/// # Errors
///
/// The result cannot be encoded or kept. The state may have changed, so the caller must trap.
fn apply<M: Guest>(
    guest: &mut LiveGuest<M>,
    host: &dyn Host,
    position: LogPosition,
    (batch, command): (BatchPosition<'_>, &[u8]),
    out: &mut Vec<u8>,
) -> Result<CommandVerdict, BatchError> {
    let command = match M::Codec::decode_command(command) {
        Ok(command) => command,
        Err(malformed) => {
            M::Codec::encode_malformed(&malformed, out);
            return Ok(CommandVerdict::Rejected);
        }
    };
    let start = out.len();
    let mut cx = Apply::new(host, position, &mut guest.runtime, Some(batch));
    match guest.machine.apply(&mut cx, command) {
        Ok(reply) => {
            M::Codec::encode_reply(&reply, out)?;
            let Some(token) = cx.deferred() else {
                cx.commit();
                return Ok(CommandVerdict::Accepted);
            };
            keep(cx, out.split_off(start))?;
            out.extend_from_slice(&token.get().to_le_bytes());
            Ok(CommandVerdict::Deferred)
        }
        Err(refusal) => {
            cx.roll_back();
            M::Codec::encode_refusal(&refusal, out)?;
            Ok(CommandVerdict::Rejected)
        }
    }
}

/// Commits a deferred command with the encoded reply for its deadline.
fn keep(cx: Apply<'_>, reply: Vec<u8>) -> Result<(), BatchError> {
    if reply.len() > MAX_KEPT_REPLY_BYTES {
        return Err(BatchError::KeptReply { bytes: reply.len() });
    }
    cx.commit_deferred(reply);
    Ok(())
}

/// Applies a typed command, for native tests.
///
/// # Errors
///
/// As [`apply_batch`]. The inner error is the guest's refusal.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn apply_typed<M: Guest>(
    guest: &mut LiveGuest<M>,
    host: &dyn Host,
    position: LogPosition,
    command: M::Command,
) -> Result<Result<M::Reply, M::Refusal>, BatchError> {
    let before = guest.runtime.slot();
    let alone = BatchPosition {
        number: 0,
        callers: &BatchCallers::default(),
    };
    let mut cx = Apply::new(host, position, &mut guest.runtime, Some(alone));
    let result = guest.machine.apply(&mut cx, command);
    match &result {
        Ok(reply) if cx.deferred().is_some() => {
            let mut kept = Vec::new();
            M::Codec::encode_reply(reply, &mut kept)?;
            keep(cx, kept)?;
        }
        Ok(_) => {
            cx.commit();
        }
        Err(_) => cx.roll_back(),
    }
    if result.is_ok() {
        pass_on_wake_time(&mut guest.runtime, before, host, position);
    }
    Ok(result)
}

/// The outcomes of the commands of one entry, concatenated as in `outcomes` of the WIT.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcomes {
    pub(crate) verdicts: Vec<CommandVerdict>,
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
    #[error(
        "the reply of a deferred command at its deadline has {bytes} bytes; at most {MAX_KEPT_REPLY_BYTES} are possible, return a smaller one"
    )]
    KeptReply { bytes: usize },
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Applies the commands of one entry: command `i` is `data[ends[i-1]..ends[i]]`.
///
/// # Errors
///
/// See [`BatchError`].
pub(crate) fn apply_batch<M: Guest>(
    guest: &mut LiveGuest<M>,
    host: &dyn Host,
    position: LogPosition,
    data: &[u8],
    ends: &[u32],
) -> Result<Outcomes, BatchError> {
    let mut outcomes = Outcomes::default();
    let before = guest.runtime.slot();
    let callers = BatchCallers::default();
    let mut start = 0;
    for (command, &end) in ends.iter().enumerate() {
        let error = BatchError::Offsets {
            command,
            end,
            length: data.len(),
        };
        let bytes = data.get(start..end as usize).ok_or(error)?;
        start = end as usize;
        let batch = BatchPosition {
            // A batch has fewer commands than bytes and offsets, and these have 32 bits.
            number: command as u32,
            callers: &callers,
        };
        let verdict = apply(guest, host, position, (batch, bytes), &mut outcomes.data)?;
        outcomes.verdicts.push(verdict);
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
    if outcomes
        .verdicts
        .iter()
        .any(|verdict| *verdict != CommandVerdict::Rejected)
    {
        pass_on_wake_time(&mut guest.runtime, before, host, position);
    }
    Ok(outcomes)
}

/// After a batch: passes the earliest time to the host if it has changed, or if it has passed. If it has passed, a wake-up is
/// on its way, or it failed and the host does not repeat it.
fn pass_on_wake_time(
    runtime: &mut RuntimeState,
    before: WakeSlot,
    host: &dyn Host,
    position: LogPosition,
) {
    let after = runtime.slot();
    let is_overdue = matches!(after, WakeSlot::At(time_ms) if time_ms <= position.time_ms);
    if is_overdue && after == before {
        runtime.note_overdue();
    }
    if is_overdue || after != before {
        request_wake(host, after);
    }
}

fn request_wake(host: &dyn Host, slot: WakeSlot) {
    match slot {
        WakeSlot::At(time_ms) => host.wake_at(time_ms),
        WakeSlot::Clear => host.wake_at(0),
        WakeSlot::Kept => {}
    }
}

/// A wake-up: fires what is due, in order, up to the limits of one wake-up. The rest follows in the next one, immediately
/// after. With `calls_on_wake`, calls `on_wake` first even if its time is not reached.
pub(crate) fn wake<M: Guest>(
    guest: &mut LiveGuest<M>,
    host: &dyn Host,
    position: LogPosition,
    calls_on_wake: bool,
) {
    let mut used = EffectsUsed::default();
    // What is set from now on, to a time that has passed, waits for the next wake-up.
    let mut due = guest.runtime.due(position.time_ms);
    if calls_on_wake {
        due.retain(|(_, due)| *due != Due::Wake);
        guest.runtime.clear_wake();
        fire(guest, host, position, &Due::Wake, &mut used);
    }
    for (at_ms, due) in due {
        if used.count >= MAX_WAKE_EFFECTS || used.bytes >= MAX_WAKE_BYTES {
            break;
        }
        if guest.runtime.begin(at_ms, &due) {
            fire(guest, host, position, &due, &mut used);
        }
    }
    guest.runtime.end_wake();
    // The host has cleared its wake time.
    match guest.runtime.slot() {
        WakeSlot::Clear => {}
        slot => request_wake(host, slot),
    }
}

/// Calls the method for what is due.
fn fire<M: Guest>(
    guest: &mut LiveGuest<M>,
    host: &dyn Host,
    position: LogPosition,
    due: &Due,
    used: &mut EffectsUsed,
) {
    let mut cx = Apply::new(host, position, &mut guest.runtime, None);
    match due {
        Due::Wake => guest.machine.on_wake(&mut cx),
        Due::Timer(id) => guest.machine.on_timer(&mut cx, id),
        Due::Deadline(token) => {
            guest.machine.on_deadline(&mut cx, *token);
            cx.expire(*token);
        }
    }
    let committed = cx.commit();
    used.count += committed.count;
    used.bytes += committed.bytes;
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
