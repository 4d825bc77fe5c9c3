//! One running instance of a guest: a store, and typed calls into it.
//!
//! Any trap leaves the store poisoned, so the instance must be dropped after a failed call.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use task_queue_raft::state_machine::{ClientWatch, Moment};
use thiserror::Error;
use wasmtime::Store;
use wasmtime::component::Resource;

use crate::guest::bindings::exports::oarlock::state_machine::{
    about, layout, machine, queries, timers,
};
use crate::guest::bindings::oarlock::state_machine::types;
use crate::guest::call::{CallPurpose, CallView, Callers, GuestCall};
use crate::guest::effects::Effects;
use crate::guest::engine::with_stack;
use crate::guest::failure::{self, Circumstances, GuestCallError};
use crate::guest::guest_log::GuestLog;
use crate::guest::host::HostState;
use crate::guest::limits::MachineLimits;
use crate::guest::long_query::{self, FUEL_OF_SHORT_QUERY, QueryFunction};
use crate::guest::module::{Description, GuestModule};
use crate::images::map::{self, HeldClone, Image, Mapping};
use crate::records::chunks::{ChunkWriter, SnapshotChunks};
use crate::records::failure::GuestFailure;
use crate::records::query::MachineQuery;

pub(crate) use types::Batch;

/// Fuel to start a guest, and for its description. Not a limit of the node: a guest must start on all of them alike.
const FUEL_TO_START: u64 = 10_000_000_000;

/// A guest's outcome of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReplyKind {
    Accepted(Bytes),
    Rejected(Bytes),
    Deferred(u64),
}

/// Result of a call that changed the state: outcomes in the order of the commands, and effects.
#[derive(Debug, Default)]
pub(crate) struct CallOutput {
    pub(crate) replies: Vec<ReplyKind>,
    pub(crate) effects: Effects,
    /// CRC-32C of the outcomes as the guest encoded them. A replay must have the same.
    pub(crate) checksum: u32,
}

/// A response to a query, a rejection (the inner error), or `None` if the guest has no queries.
pub(crate) type QueryOutcome = Option<Result<Bytes, Bytes>>;

/// The end of a query, or of the part of it that is run at first.
pub(crate) enum ShortQuery {
    Ended(QueryOutcome),
    /// It takes more fuel than a short query has. The instance is of no use any more.
    IsLong,
}

/// Why an instance could not be created.
#[derive(Debug, Error)]
pub(crate) enum InstantiateError {
    /// An export has another type than in the WIT.
    #[error("an export has another type than in the contract: {message}")]
    WrongType { message: String },
    /// The memory is over the limit, or the start function failed.
    #[error(transparent)]
    Call(#[from] GuestCallError),
    /// The instance can't be started over a memory image.
    #[error("the memory image can't be used: {0}")]
    Image(io::Error),
}

/// A running guest.
pub(crate) struct Instance {
    store: Store<HostState>,
    limits: MachineLimits,
    /// Fuel given to the last call.
    fuel_given: u64,
    /// What `apply` and `wake` can see.
    view: CallView,
    machine: machine::Guest,
    queries: Option<queries::Guest>,
    /// The same function as in `queries`, for calls that can be suspended.
    query_function: Option<QueryFunction>,
    timers: Option<timers::Guest>,
    about: Option<about::Guest>,
    layout: Option<layout::Guest>,
    /// The linear memory, if this system supports images. Only used for guests with exactly one memory.
    mapping: Option<Arc<Mapping>>,
}

impl Instance {
    /// Creates an instance in the initial state.
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

    /// Creates an instance in the state of an image. Writes of the start to memory are discarded.
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
        let mapping = mapping.ok_or_else(|| wrong("the guest has no memory"))?;
        mapping.discard_changes().map_err(InstantiateError::Image)?;
        let bytes = mapping.bytes();
        // Another thread may freeze a larger memory into the image meanwhile, so compare with what this mapping shows.
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
        store.set_hostcall_fuel(transfer_bytes(limits));
        if let Err(error) = store.set_fuel(FUEL_TO_START) {
            return Err(failed(&mut store, limits, &error).into());
        }
        let make = || with_stack(|| linked.pre.instantiate(&mut store));
        let (instance, mapping) = map::made_by(image, make);
        store.data_mut().finish_output();
        let instance = match instance {
            Ok(instance) => instance,
            Err(error) => return Err(failed(&mut store, limits, &error).into()),
        };
        match linked.load(&mut store, &instance) {
            Ok(exports) => Ok(Self {
                store,
                limits: *limits,
                fuel_given: FUEL_TO_START,
                view: CallView::NORMAL,
                machine: exports.machine,
                queries: exports.queries,
                query_function: exports.query_function,
                timers: exports.timers,
                about: exports.about,
                layout: exports.layout,
                mapping,
            }),
            Err(error) => Err(InstantiateError::WrongType {
                message: format!("{error:#}"),
            }),
        }
    }

    /// Applies a batch. `number` distinguishes the calls of one entry.
    pub(crate) fn apply(
        &mut self,
        purpose: CallPurpose,
        at: Moment,
        number: u32,
        batch: &Batch,
        callers: &Callers,
    ) -> Result<CallOutput, GuestCallError> {
        let commands = batch.ends.len();
        let fuel = self.limits.fuel_per_command.saturating_mul(commands as u64);
        self.begin(
            GuestCall::new(purpose, at, number, commands, &self.limits)
                .with_view(self.view)
                .with_callers(callers.clone()),
            fuel_for(purpose, fuel),
        )?;
        let outcomes = with_stack(|| self.machine.call_apply(&mut self.store, wit(at), batch));
        let outcomes = self.end(outcomes)?;
        let checksum = checksum(&outcomes);
        Ok(CallOutput {
            replies: replies(outcomes, commands, self.limits.reply_bytes)
                .map_err(GuestCallError::Guest)?,
            effects: self.store.data_mut().call.take_effects(),
            checksum,
        })
    }

    /// Wakes the guest. Does nothing if the guest has no timers.
    pub(crate) fn wake(
        &mut self,
        purpose: CallPurpose,
        at: Moment,
        number: u32,
    ) -> Result<CallOutput, GuestCallError> {
        let call = GuestCall::new(purpose, at, number, 1, &self.limits).with_view(self.view);
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

    /// Runs a query, if it takes little fuel.
    pub(crate) fn query(
        &mut self,
        at: Moment,
        query: &MachineQuery,
    ) -> Result<ShortQuery, GuestCallError> {
        let Some(queries) = self.queries.clone() else {
            return Ok(ShortQuery::Ended(None));
        };
        let limit = query.class.fuel(self.limits.fuel_per_query);
        let fuel = limit.min(FUEL_OF_SHORT_QUERY);
        self.begin(self.query_call(at, query), fuel)?;
        let response = with_stack(|| queries.call_query(&mut self.store, wit(at), &query.request));
        query.cost.add(self.fuel_spent(), 0);
        match self.end(response) {
            Err(GuestCallError::Guest(GuestFailure::OutOfFuel)) if fuel < limit => {
                Ok(ShortQuery::IsLong)
            }
            response => self.query_outcome(query, response?).map(ShortQuery::Ended),
        }
    }

    /// Runs a query of any length, and ends it once its client has gone. The instance can't be used again.
    pub(crate) fn query_long(
        mut self,
        at: Moment,
        query: &MachineQuery,
        client: &ClientWatch,
    ) -> Result<QueryOutcome, GuestCallError> {
        let Some(function) = self.query_function.take() else {
            return Ok(None);
        };
        self.begin(self.query_call(at, query), self.limits.fuel_per_query)?;
        let ran = long_query::run(
            &function,
            &mut self.store,
            (wit(at), &query.request),
            client,
        );
        query.cost.add(self.fuel_spent(), 0);
        let response = self.end(ran)?.ok_or(GuestCallError::ClientGone)?;
        self.query_outcome(query, response)
    }

    fn query_call(&self, at: Moment, query: &MachineQuery) -> GuestCall {
        let callers = Callers::of(std::iter::once(query.caller.as_ref()));
        GuestCall::read_only(at, &self.limits).with_callers(callers)
    }

    fn query_outcome(
        &self,
        query: &MachineQuery,
        response: Result<Vec<u8>, Vec<u8>>,
    ) -> Result<QueryOutcome, GuestCallError> {
        let bytes = response.as_ref().map_or_else(Vec::len, Vec::len) as u64;
        query.cost.add(0, bytes);
        if bytes > self.limits.reply_bytes {
            return Err(GuestCallError::Guest(GuestFailure::TooLarge {
                what: "the query response",
                bytes,
                limit: self.limits.reply_bytes,
            }));
        }
        Ok(Some(response.map(Bytes::from).map_err(Bytes::from)))
    }

    /// Has the guest write a snapshot. The inner error is the guest's own.
    pub(crate) fn snapshot(
        &mut self,
        at: Moment,
    ) -> Result<Result<SnapshotChunks, String>, GuestCallError> {
        let call = GuestCall::read_only(at, &self.limits).with_sink(self.limits.snapshot_bytes);
        self.begin(call, self.limits.fuel_per_snapshot)?;
        // A state at the limit must still be written, and so must one from before the limit was lowered.
        let before = self.store.data().limiter.max_memory_bytes;
        let headroom = self.limits.memory_lowered_by() + self.limits.memory_headroom();
        self.store.data_mut().limiter.max_memory_bytes = before.saturating_add(headroom);
        let written = with_stack(|| {
            self.machine
                .call_snapshot(&mut self.store, Resource::new_own(0))
        });
        let written = self.end(written);
        self.store.data_mut().limiter.max_memory_bytes = before;
        let written = written?;
        let chunks = self.store.data_mut().call.take_sink();
        Ok(written.map(|()| chunks.map(ChunkWriter::finish).unwrap_or_default()))
    }

    /// Has the guest restore a snapshot. The inner error is the guest's own.
    pub(crate) fn restore(
        &mut self,
        written_by: u32,
        chunks: &SnapshotChunks,
    ) -> Result<Result<(), String>, GuestCallError> {
        let call =
            GuestCall::read_only(Moment::default(), &self.limits).with_source(chunks.reader());
        self.begin(call, self.limits.fuel_per_snapshot)?;
        let restored = with_stack(|| {
            self.machine
                .call_restore(&mut self.store, written_by, Resource::new_own(0))
        });
        self.end(restored)
    }

    /// Reads the guest's description; `None` if it exports none.
    pub(crate) fn describe(&mut self) -> Result<Option<Description>, GuestCallError> {
        let Some(about) = self.about.clone() else {
            return Ok(None);
        };
        let call = GuestCall::read_only(Moment::default(), &self.limits);
        self.begin(call, FUEL_TO_START)?;
        let description = with_stack(|| about.call_describe(&mut self.store));
        let description = self.end(description)?;
        Ok(Some(Description {
            name: description.name,
            version: description.version,
            codec: description.codec,
            schema: description.schema,
            layout: None,
        }))
    }

    /// Reads the fingerprint of the layout of the guest's state; `None` if it exports none, or does not know it.
    pub(crate) fn layout(&mut self) -> Result<Option<String>, GuestCallError> {
        let Some(layout) = self.layout.clone() else {
            return Ok(None);
        };
        let call = GuestCall::read_only(Moment::default(), &self.limits);
        self.begin(call, FUEL_TO_START)?;
        let fingerprint = with_stack(|| layout.call_fingerprint(&mut self.store));
        let fingerprint = self.end(fingerprint)?;
        Ok(Some(fingerprint).filter(|text| !text.is_empty()))
    }

    /// Freezes the memory into `image`, or into a new image if there is none.
    ///
    /// # Errors
    /// The operating system refuses. Then neither the instance nor the image may be used any more.
    pub(crate) fn freeze(
        &mut self,
        image: Option<Arc<Image>>,
        at: Moment,
    ) -> io::Result<Arc<Image>> {
        let handles = self.store.data().handles;
        if handles > 0 {
            // A new instance over the image would not have them.
            let reason = format!("the guest holds {handles} handles of the host");
            return Err(io::Error::other(reason));
        }
        let mapping = self.mapping.as_ref();
        let mapping =
            mapping.ok_or_else(|| io::Error::other("the guest has no memory of its own"))?;
        let image = match image {
            Some(image) => image,
            None => Image::of(mapping)?,
        };
        mapping.freeze(&image, at)?;
        Ok(image)
    }

    /// Updates an instance that was started over `image` to the image's current state, and keeps that state until the
    /// result is dropped. `None`: the memory has grown, so a new instance is needed.
    ///
    /// # Errors
    /// The image is broken, or the operating system refuses.
    pub(crate) fn hold(&mut self, image: &Arc<Image>) -> io::Result<Option<HeldClone>> {
        let mapping = self.mapping.as_ref();
        let mapping =
            mapping.ok_or_else(|| io::Error::other("the guest has no memory of its own"))?;
        image.hold(mapping)
    }

    /// Total size of the linear memories, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.store.data().limiter.memory_bytes
    }

    /// Fuel that the last call used.
    pub(crate) fn fuel_spent(&self) -> u64 {
        // Fuel is always enabled, so this never fails; if it did, all of it counts as used.
        let left = self.store.get_fuel().unwrap_or(0);
        self.fuel_given.saturating_sub(left)
    }

    /// Shows this view to `apply` and `wake` from now on, and gives them the memory that goes with it.
    pub(crate) fn set_view(&mut self, view: CallView, purpose: CallPurpose) {
        self.view = view;
        if purpose == CallPurpose::Change {
            self.set_headroom(if view.memory_is_low {
                self.limits.memory_headroom()
            } else {
                0
            });
        }
    }

    /// Raises the memory limit by `bytes`, while an earlier state is rebuilt: a call that succeeded before must succeed
    /// again.
    pub(crate) fn set_headroom(&mut self, bytes: u64) {
        let limits = self.limits;
        self.set_limits(&limits, bytes);
    }

    /// Applies other limits from the next call on, with this headroom.
    pub(crate) fn set_limits(&mut self, limits: &MachineLimits, headroom: u64) {
        self.limits = *limits;
        self.store.set_hostcall_fuel(transfer_bytes(limits));
        let limiter = &mut self.store.data_mut().limiter;
        limiter.set_limits(limits, headroom);
    }

    /// Limits further growth of memory to `bytes`.
    pub(crate) fn limit_growth(&mut self, bytes: u64) {
        let limiter = &mut self.store.data_mut().limiter;
        limiter.max_memory_bytes = limiter.memory_bytes.saturating_add(bytes);
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
            // The guest may have recovered from the refusal, but then its result could differ from that of a node with
            // more memory.
            Ok(_) if self.store.data().limiter.node_denied() => {
                Err(GuestCallError::NodeOutOfMemory)
            }
            Ok(value) => Ok(value),
            Err(error) => Err(failed(&mut self.store, &self.limits, &error)),
        }
    }
}

/// Largest number of bytes that a call may pass to the host at once.
fn transfer_bytes(limits: &MachineLimits) -> usize {
    usize::try_from(limits.reply_bytes.max(limits.transfer_bytes)).unwrap_or(usize::MAX)
}

/// A replay must succeed like the call before, but may use more fuel.
fn fuel_for(purpose: CallPurpose, fuel: u64) -> u64 {
    if purpose == CallPurpose::Replay {
        u64::MAX
    } else {
        fuel
    }
}

fn failed(
    store: &mut Store<HostState>,
    limits: &MachineLimits,
    error: &wasmtime::Error,
) -> GuestCallError {
    let state = store.data_mut();
    failure::classify(
        error,
        Circumstances {
            memory_denied: state.limiter.denied(),
            node_denied: state.limiter.node_denied(),
            error_quote: state.call.take_error_lines().quote(),
            stack_bytes: limits.stack_bytes,
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

/// Splits and checks the outcomes of a batch.
fn replies(
    outcomes: types::Outcomes,
    commands: usize,
    reply_bytes: u64,
) -> Result<Vec<ReplyKind>, GuestFailure> {
    let bad = |reason: String| GuestFailure::BadOutcomes { reason };
    let (kinds, ends) = (outcomes.verdicts.len(), outcomes.ends.len());
    if kinds != commands || ends != commands {
        return Err(bad(format!(
            "{commands} commands were passed, but {kinds} verdicts and {ends} offsets were returned"
        )));
    }
    let data = Bytes::from(outcomes.data);
    let mut start = 0;
    let mut replies = Vec::with_capacity(commands);
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
        replies.push(match verdict {
            types::Verdict::Accepted => ReplyKind::Accepted(reply),
            types::Verdict::Rejected => ReplyKind::Rejected(reply),
            types::Verdict::Deferred => ReplyKind::Deferred(token(&reply).ok_or_else(|| {
                bad(format!(
                    "the token of outcome {position} has {} bytes instead of 8",
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
    Ok(replies)
}

fn token(reply: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(reply.try_into().ok()?))
}

#[cfg(test)]
mod tests;
