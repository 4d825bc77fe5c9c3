//! One running instance of a guest: a store, and typed calls into it.
//!
//! After a failed call the store is poisoned, for any trap leaves it so: the instance has to be thrown away.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use task_queue_raft::state_machine::Moment;
use thiserror::Error;
use wasmtime::Store;
use wasmtime::component::Resource;

use crate::bindings::exports::oarlock::state_machine::{about, machine, queries, timers};
use crate::bindings::oarlock::state_machine::types;
use crate::chunks::{ChunkWriter, SnapshotChunks};
use crate::engine::with_stack;
use crate::failure::{self, Circumstances, GuestCallError, GuestFailure};
use crate::guest_log::GuestLog;
use crate::host::{CallPurpose, Effects, GuestCall, HostState};
use crate::images::map::{self, HeldClone, Image, Mapping};
use crate::limits::MachineLimits;
use crate::module::{Description, GuestModule};

pub(crate) use types::Batch;

/// Bytes that one call may hand to the host at once: a chunk of a snapshot, a batch's outcomes. A batch that has more
/// to say fails as a batch and runs command by command.
const LEAST_TRANSFER_BYTES: usize = 128 << 20;

/// What a guest said of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReplyKind {
    Accepted(Bytes),
    Rejected(Bytes),
    Deferred(u64),
}

/// A call that changed the state: its outcomes, in order, and its effects.
#[derive(Debug, Default)]
pub(crate) struct CallOutput {
    pub(crate) verdicts: Vec<ReplyKind>,
    pub(crate) effects: Effects,
    /// CRC-32C of the outcomes as the guest laid them out: a replay has to give the same.
    pub(crate) checksum: u32,
}

/// Why an instance could not be made.
#[derive(Debug, Error)]
pub(crate) enum InstantiateError {
    /// An export has not the type of the WIT.
    #[error("an export has another type than the contract's: {message}")]
    WrongType { message: String },
    /// Its memory is over the limit, or its start function failed.
    #[error(transparent)]
    Call(#[from] GuestCallError),
    /// It can't be started over an image.
    #[error("the image of its memory can't be used: {0}")]
    Image(io::Error),
}

/// A running guest.
pub(crate) struct Instance {
    store: Store<HostState>,
    limits: MachineLimits,
    /// Fuel of the last call.
    fuel_given: u64,
    machine: machine::Guest,
    queries: Option<queries::Guest>,
    timers: Option<timers::Guest>,
    about: Option<about::Guest>,
    /// Its memory, where it has one alone.
    mapping: Option<Arc<Mapping>>,
}

impl Instance {
    /// A new one, in its first state.
    ///
    /// # Errors
    /// See [`InstantiateError`].
    pub(crate) fn start(
        module: &GuestModule,
        limits: &MachineLimits,
        log: &Arc<GuestLog>,
    ) -> Result<Self, InstantiateError> {
        Self::start_over(module, limits, log, None)
    }

    /// A new one in the state of an image. Whatever starting it writes to its memory is thrown away.
    ///
    /// # Errors
    /// See [`InstantiateError`].
    pub(crate) fn start_at(
        module: &GuestModule,
        limits: &MachineLimits,
        log: &Arc<GuestLog>,
        image: &Arc<Image>,
    ) -> Result<Self, InstantiateError> {
        let mut instance = Self::start_over(module, limits, log, Some(image))?;
        let wrong = |message: &str| InstantiateError::Image(io::Error::other(message.to_owned()));
        let mapping = instance.mapping.as_ref();
        let mapping = mapping.ok_or_else(|| wrong("it has no memory"))?;
        mapping.throw_back().map_err(InstantiateError::Image)?;
        let bytes = mapping.bytes();
        // The image itself may have grown meanwhile, where this is a copy.
        if mapping.has_grown() {
            return Err(wrong("the guest grows its memory when it starts"));
        }
        instance.store.data_mut().limiter.memory_bytes = bytes as u64;
        Ok(instance)
    }

    fn start_over(
        module: &GuestModule,
        limits: &MachineLimits,
        log: &Arc<GuestLog>,
        image: Option<&Arc<Image>>,
    ) -> Result<Self, InstantiateError> {
        let linked = module.linked();
        let mut store = Store::new(linked.pre.engine(), HostState::new(limits, Arc::clone(log)));
        store.limiter(|state| &mut state.limiter);
        let transfer = usize::try_from(limits.reply_bytes).unwrap_or(usize::MAX);
        store.set_hostcall_fuel(transfer.max(LEAST_TRANSFER_BYTES));
        if let Err(error) = store.set_fuel(limits.fuel_per_query) {
            return Err(failed(&mut store, &error).into());
        }
        let make = || with_stack(|| linked.pre.instantiate(&mut store));
        let (instance, mapping) = map::made_by(image, make);
        store.data_mut().finish_output();
        let instance = match instance {
            Ok(instance) => instance,
            Err(error) => return Err(failed(&mut store, &error).into()),
        };
        match linked.load(&mut store, &instance) {
            Ok(exports) => Ok(Self {
                store,
                limits: *limits,
                fuel_given: limits.fuel_per_query,
                machine: exports.machine,
                queries: exports.queries,
                timers: exports.timers,
                about: exports.about,
                mapping,
            }),
            Err(error) => Err(InstantiateError::WrongType {
                message: format!("{error:#}"),
            }),
        }
    }

    /// Applies a batch. `number` tells the calls of one entry apart.
    pub(crate) fn apply(
        &mut self,
        purpose: CallPurpose,
        at: Moment,
        number: u32,
        batch: &Batch,
    ) -> Result<CallOutput, GuestCallError> {
        let commands = batch.ends.len();
        let fuel = self.limits.fuel_per_command.saturating_mul(commands as u64);
        self.begin(
            GuestCall::new(purpose, at, number, commands, &self.limits),
            fuel_for(purpose, fuel),
        )?;
        let outcomes = with_stack(|| self.machine.call_apply(&mut self.store, wit(at), batch));
        let outcomes = self.end(outcomes)?;
        let checksum = checksum(&outcomes);
        Ok(CallOutput {
            verdicts: verdicts(outcomes, commands, self.limits.reply_bytes)
                .map_err(GuestCallError::Guest)?,
            effects: self.store.data_mut().call.take_effects(),
            checksum,
        })
    }

    /// Wakes the guest. One that has no timers does nothing.
    pub(crate) fn wake(
        &mut self,
        purpose: CallPurpose,
        at: Moment,
        number: u32,
    ) -> Result<CallOutput, GuestCallError> {
        let call = GuestCall::new(purpose, at, number, 1, &self.limits);
        self.begin(call, fuel_for(purpose, self.limits.fuel_per_command))?;
        if let Some(timers) = &self.timers {
            let woken = with_stack(|| timers.call_wake(&mut self.store, wit(at)));
            self.end(woken)?;
        }
        Ok(CallOutput {
            effects: self.store.data_mut().call.take_effects(),
            ..CallOutput::default()
        })
    }

    /// Answers a query: with an answer, with a refusal, or with `None` where the guest answers none at all.
    pub(crate) fn query(
        &mut self,
        at: Moment,
        request: &[u8],
    ) -> Result<Option<Result<Bytes, Bytes>>, GuestCallError> {
        let Some(queries) = &self.queries else {
            return Ok(None);
        };
        let queries = queries.clone();
        self.begin(
            GuestCall::look(at, &self.limits),
            self.limits.fuel_per_query,
        )?;
        let answer = with_stack(|| queries.call_query(&mut self.store, wit(at), request));
        let answer = self.end(answer)?;
        let bytes = answer.as_ref().map_or_else(Vec::len, Vec::len) as u64;
        if bytes > self.limits.reply_bytes {
            return Err(GuestCallError::Guest(GuestFailure::TooLarge {
                what: "the answer",
                bytes,
                limit: self.limits.reply_bytes,
            }));
        }
        Ok(Some(answer.map(Bytes::from).map_err(Bytes::from)))
    }

    /// Writes the whole state. The inner error is the guest's refusal.
    pub(crate) fn snapshot(
        &mut self,
        at: Moment,
    ) -> Result<Result<SnapshotChunks, String>, GuestCallError> {
        let call = GuestCall::look(at, &self.limits).with_sink(self.limits.snapshot_bytes);
        self.begin(call, self.limits.fuel_per_snapshot)?;
        let written = with_stack(|| {
            self.machine
                .call_snapshot(&mut self.store, Resource::new_own(0))
        });
        let written = self.end(written)?;
        let chunks = self.store.data_mut().call.take_sink();
        Ok(written.map(|()| chunks.map(ChunkWriter::finish).unwrap_or_default()))
    }

    /// Replaces the state. The inner error is the guest's refusal.
    pub(crate) fn restore(
        &mut self,
        written_by: u32,
        chunks: &SnapshotChunks,
    ) -> Result<Result<(), String>, GuestCallError> {
        let call = GuestCall::look(Moment::default(), &self.limits).with_source(chunks.reader());
        self.begin(call, self.limits.fuel_per_snapshot)?;
        let restored = with_stack(|| {
            self.machine
                .call_restore(&mut self.store, written_by, Resource::new_own(0))
        });
        self.end(restored)
    }

    /// What the guest says of itself, if it does.
    pub(crate) fn describe(&mut self) -> Result<Option<Description>, GuestCallError> {
        let Some(about) = self.about.clone() else {
            return Ok(None);
        };
        let call = GuestCall::look(Moment::default(), &self.limits);
        self.begin(call, self.limits.fuel_per_query)?;
        let description = with_stack(|| about.call_describe(&mut self.store));
        let description = self.end(description)?;
        Ok(Some(Description {
            name: description.name,
            version: description.version,
            codec: description.codec,
            schema: description.schema,
        }))
    }

    /// Freezes its memory into an image: a new one where there is none yet.
    ///
    /// # Errors
    /// The system refuses; the instance and the image are then of no use any more.
    pub(crate) fn freeze(
        &mut self,
        image: Option<Arc<Image>>,
        at: Moment,
    ) -> io::Result<Arc<Image>> {
        let mapping = self.mapping.as_ref();
        let mapping = mapping.ok_or_else(|| io::Error::other("it has no memory of its own"))?;
        let image = match image {
            Some(image) => image,
            None => Image::of(mapping)?,
        };
        mapping.freeze(&image, at)?;
        Ok(image)
    }

    /// Has an instance that was started at an image show it as it is now, until the hold is let go. `None` where it takes
    /// another instance, for the memory has another length.
    ///
    /// # Errors
    /// The image is of no use any more, or the system refuses.
    pub(crate) fn hold(&mut self, image: &Arc<Image>) -> io::Result<Option<HeldClone>> {
        let mapping = self.mapping.as_ref();
        let mapping = mapping.ok_or_else(|| io::Error::other("it has no memory of its own"))?;
        image.hold(mapping)
    }

    /// Its linear memories, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.store.data().limiter.memory_bytes
    }

    /// Fuel that the last call took.
    pub(crate) fn fuel_spent(&self) -> u64 {
        // Fuel is always on; without it the least that can be said is that nothing is left.
        let left = self.store.get_fuel().unwrap_or(0);
        self.fuel_given.saturating_sub(left)
    }

    /// Lets memory grow past its limit by so many bytes, while an earlier state is built again: what succeeded once
    /// must not fail then.
    pub(crate) fn set_headroom(&mut self, bytes: u64) {
        let most = self.limits.memory_bytes.saturating_add(bytes);
        self.store.data_mut().limiter.most_memory_bytes = most;
    }

    /// Lets memory grow by so many bytes from where it is, and no further.
    pub(crate) fn limit_growth(&mut self, bytes: u64) {
        let limiter = &mut self.store.data_mut().limiter;
        limiter.most_memory_bytes = limiter.memory_bytes.saturating_add(bytes);
    }

    fn begin(&mut self, call: GuestCall, fuel: u64) -> Result<(), GuestCallError> {
        let state = self.store.data_mut();
        state.call = call;
        state.limiter.begin();
        self.fuel_given = fuel;
        let given = self.store.set_fuel(fuel);
        self.end(given)
    }

    fn end<T>(&mut self, result: wasmtime::Result<T>) -> Result<T, GuestCallError> {
        self.store.data_mut().finish_output();
        match result {
            // A guest may get over a refusal, and would then do something else than on a node that has memory.
            Ok(_) if self.store.data().limiter.node_denied() => {
                Err(GuestCallError::NodeOutOfMemory)
            }
            Ok(value) => Ok(value),
            Err(error) => Err(failed(&mut self.store, &error)),
        }
    }
}

/// A replay may cost other fuel than the call did, and it has to succeed where the call did.
fn fuel_for(purpose: CallPurpose, fuel: u64) -> u64 {
    if purpose == CallPurpose::Replay {
        u64::MAX
    } else {
        fuel
    }
}

fn failed(store: &mut Store<HostState>, error: &wasmtime::Error) -> GuestCallError {
    let state = store.data_mut();
    failure::classify(
        error,
        Circumstances {
            memory_denied: state.limiter.denied(),
            node_denied: state.limiter.node_denied(),
            last_words: state.call.take_last_words(),
        },
    )
}

fn wit(at: Moment) -> types::Moment {
    types::Moment {
        index: at.index.0,
        time_ms: at.time_ms,
    }
}

fn checksum(outcomes: &types::Outcomes) -> u32 {
    let mut checksum = crc32c::crc32c(&outcomes.data);
    for end in &outcomes.ends {
        checksum = crc32c::crc32c_append(checksum, &end.to_le_bytes());
    }
    for verdict in &outcomes.verdicts {
        checksum = crc32c::crc32c_append(checksum, &[*verdict as u8]);
    }
    checksum
}

/// Cuts the outcomes of a batch apart and checks that they are that.
fn verdicts(
    outcomes: types::Outcomes,
    commands: usize,
    reply_bytes: u64,
) -> Result<Vec<ReplyKind>, GuestFailure> {
    let bad = |reason: String| GuestFailure::BadOutcomes { reason };
    let (said, ended) = (outcomes.verdicts.len(), outcomes.ends.len());
    if said != commands || ended != commands {
        return Err(bad(format!(
            "{commands} commands were given, {said} verdicts and {ended} offsets came back"
        )));
    }
    let data = Bytes::from(outcomes.data);
    let mut start = 0;
    let mut verdicts = Vec::with_capacity(commands);
    for (position, (verdict, end)) in outcomes.verdicts.iter().zip(outcomes.ends).enumerate() {
        let end = end as usize;
        if end < start || end > data.len() {
            return Err(bad(format!(
                "outcome {position} ends at {end}, but it starts at {start} and there are {} bytes",
                data.len()
            )));
        }
        let reply = data.slice(start..end);
        start = end;
        if reply.len() as u64 > reply_bytes {
            return Err(GuestFailure::TooLarge {
                what: "the reply",
                bytes: reply.len() as u64,
                limit: reply_bytes,
            });
        }
        verdicts.push(match verdict {
            types::Verdict::Accepted => ReplyKind::Accepted(reply),
            types::Verdict::Rejected => ReplyKind::Rejected(reply),
            types::Verdict::Deferred => ReplyKind::Deferred(token(&reply).ok_or_else(|| {
                bad(format!(
                    "the token of outcome {position} takes {} bytes instead of 8",
                    reply.len()
                ))
            })?),
        });
    }
    if start != data.len() {
        return Err(bad(format!(
            "{} bytes follow the last outcome",
            data.len() - start
        )));
    }
    Ok(verdicts)
}

fn token(reply: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(reply.try_into().ok()?))
}

#[cfg(test)]
mod tests;
