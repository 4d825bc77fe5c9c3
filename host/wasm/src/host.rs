//! The host's side of a guest: what it may call, and what it may take.

use std::sync::Arc;

use bytes::Bytes;
use task_queue_raft::state_machine::Moment;
use wasmtime::component::{Linker, Resource, ResourceType, WasmList, WasmStr};
use wasmtime::{ResourceLimiter, StoreContextMut, Trap};

use crate::chunks::{CHUNK_BYTES, ChunkReader, ChunkWriter};
use crate::failure::GuestFailure;
use crate::guest_log::{self, GuestLog, Level};
use crate::limits::MachineLimits;
use crate::random::Random;
use crate::wasi::console::{Console, Stream};

/// Interfaces that a guest may import, and their functions.
pub(crate) const IMPORTS: [(&str, &[&str]); 3] = [
    (TYPES, &[]),
    (
        STREAMS,
        &[
            "sink",
            "source",
            "[method]sink.write",
            "[method]source.read",
        ],
    ),
    (
        HOST,
        &["log", "emit", "wake-at", "complete", "random", "level"],
    ),
];
const TYPES: &str = "oarlock:state-machine/types@0.1.0";
const STREAMS: &str = "oarlock:state-machine/streams@0.1.0";
const HOST: &str = "oarlock:state-machine/host@0.1.0";

/// What any call of the host costs, beside one for each byte that is copied. Without it a guest could have the host
/// work for hours on little fuel of its own.
const CALL_FUEL: u64 = 200;

/// Instances, memories and tables in one guest. A foreign language's runtime takes about ten.
const PARTS: usize = 64;

/// The other end of a snapshot that is written. There is one at a time, so it has no content of its own.
#[allow(
    unreachable_pub,
    reason = "the generated bindings export it once more, within this crate"
)]
pub struct Sink;

/// The other end of a snapshot that is read.
#[allow(
    unreachable_pub,
    reason = "the generated bindings export it once more, within this crate"
)]
pub struct Source;

/// Something that a guest published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestEvent {
    /// What it is about.
    pub topic: String,
    /// What it says, opaque.
    pub payload: Bytes,
}

/// The late answer to a command that was deferred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The token that [`CommandOutcome::Deferred`](crate::CommandOutcome::Deferred) named.
    pub token: u64,
    /// Carried out, or refused.
    pub accepted: bool,
    /// The reply or the refusal.
    pub reply: Bytes,
}

/// What an entry did beside its outcomes, in the order in which it did it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// What the guest published. With the entry's index, the position in this list names an event.
    pub events: Vec<GuestEvent>,
    /// Deferred commands that now have their answer.
    pub completions: Vec<Completion>,
    /// When the guest asked to be woken, in milliseconds of replicated time, where it asked; 0: never.
    pub wake_at_ms: Option<u64>,
}

/// Why a guest is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallPurpose {
    /// `apply` or `wake`: effects count.
    Change,
    /// `apply` or `wake` once more, to get back to a state: effects were had already.
    Replay,
    /// Anything else: no effects.
    ReadOnly,
}

/// A call that runs: what it may do and what it did.
pub(crate) struct GuestCall {
    purpose: CallPurpose,
    now_ms: u64,
    random: Random,
    effects: Effects,
    effect_bytes: u64,
    most_effect_bytes: u64,
    most_effects: u64,
    last_words: Option<String>,
    sink: Option<ChunkWriter>,
    source: Option<ChunkReader>,
}

impl GuestCall {
    /// A call for `commands` commands; `number` tells the calls of one entry apart.
    pub(crate) fn new(
        purpose: CallPurpose,
        at: Moment,
        number: u32,
        commands: usize,
        limits: &MachineLimits,
    ) -> Self {
        // A batch of many shares this much; one that needs more runs command by command.
        let share = commands.clamp(1, 16) as u64;
        Self {
            purpose,
            now_ms: at.time_ms,
            random: Random::new(at.index.0, number),
            effects: Effects::default(),
            effect_bytes: 0,
            most_effect_bytes: limits.event_bytes.saturating_mul(share),
            most_effects: u64::from(limits.events).saturating_mul(share),
            last_words: None,
            sink: None,
            source: None,
        }
    }

    /// One without effects.
    pub(crate) fn look(at: Moment, limits: &MachineLimits) -> Self {
        Self::new(CallPurpose::ReadOnly, at, u32::MAX, 1, limits)
    }

    pub(crate) fn with_sink(mut self, limit: u64) -> Self {
        self.sink = Some(ChunkWriter::new(limit));
        self
    }

    pub(crate) fn with_source(mut self, source: ChunkReader) -> Self {
        self.source = Some(source);
        self
    }

    pub(crate) fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    pub(crate) fn take_sink(&mut self) -> Option<ChunkWriter> {
        self.sink.take()
    }

    pub(crate) fn take_last_words(&mut self) -> Option<String> {
        self.last_words.take()
    }

    /// Whether effects count, after checking that there is room for so many bytes of them.
    fn effect(&mut self, bytes: usize) -> Result<bool, GuestFailure> {
        if self.purpose == CallPurpose::ReadOnly {
            return Ok(false);
        }
        self.effect_bytes += bytes as u64;
        if self.effect_bytes > self.most_effect_bytes {
            return Err(GuestFailure::TooLarge {
                what: "what a command emits and completes",
                bytes: self.effect_bytes,
                limit: self.most_effect_bytes,
            });
        }
        if (self.effects.events.len() + self.effects.completions.len()) as u64 >= self.most_effects
        {
            return Err(GuestFailure::TooMany {
                what: "events and completions of a command",
                limit: self.most_effects,
            });
        }
        Ok(true)
    }
}

/// Memory and tables of one guest.
#[derive(Debug)]
pub(crate) struct Limiter {
    pub(crate) memory_bytes: u64,
    pub(crate) most_memory_bytes: u64,
    table_elements: u64,
    most_table_elements: u64,
    denied: bool,
    node_denied: bool,
    node_granted: bool,
}

impl Limiter {
    fn new(limits: &MachineLimits) -> Self {
        Self {
            memory_bytes: 0,
            most_memory_bytes: limits.memory_bytes,
            table_elements: 0,
            most_table_elements: limits.table_elements,
            denied: false,
            node_denied: false,
            node_granted: false,
        }
    }

    /// Forgets the refusals before a call.
    pub(crate) fn begin(&mut self) {
        self.denied = false;
        self.node_denied = false;
    }

    /// A growth was refused by the limit, or by the module's own maximum.
    pub(crate) fn denied(&self) -> bool {
        self.denied
    }

    /// A growth was within the limit, and the system had no memory for it.
    pub(crate) fn node_denied(&self) -> bool {
        self.node_denied
    }

    fn grow(&mut self, total: u64, most: u64, desired: usize, maximum: Option<usize>) -> bool {
        let granted = total <= most && maximum.is_none_or(|maximum| desired <= maximum);
        self.denied |= !granted;
        self.node_granted = granted;
        granted
    }

    fn grow_failed(&mut self, error: &wasmtime::Error) {
        // It is also called after a refusal, which is no failure of this machine.
        if self.node_granted {
            tracing::error!(error = format!("{error:#}"), "no memory for the guest");
            self.node_denied = true;
        }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self
            .memory_bytes
            .saturating_add(desired.saturating_sub(current) as u64);
        let granted = self.grow(total, self.most_memory_bytes, desired, maximum);
        if granted {
            self.memory_bytes = total;
        }
        Ok(granted)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.grow_failed(&error);
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self
            .table_elements
            .saturating_add(desired.saturating_sub(current) as u64);
        let granted = self.grow(total, self.most_table_elements, desired, maximum);
        if granted {
            self.table_elements = total;
        }
        Ok(granted)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.grow_failed(&error);
        Ok(())
    }

    fn instances(&self) -> usize {
        PARTS
    }

    fn tables(&self) -> usize {
        PARTS
    }

    fn memories(&self) -> usize {
        PARTS
    }
}

/// What belongs to one instance of a guest.
pub(crate) struct HostState {
    pub(crate) limiter: Limiter,
    pub(crate) call: GuestCall,
    /// Handles of WASI that the guest holds.
    pub(crate) handles: u32,
    console: Console,
    log: Arc<GuestLog>,
}

impl HostState {
    pub(crate) fn new(limits: &MachineLimits, log: Arc<GuestLog>) -> Self {
        Self {
            limiter: Limiter::new(limits),
            call: GuestCall::look(Moment::default(), limits),
            handles: 0,
            console: Console::default(),
            log,
        }
    }

    /// The time of the entry that the call belongs to, in milliseconds since 1970; 0 where there is none.
    pub(crate) fn now_ms(&self) -> u64 {
        self.call.now_ms
    }

    /// Takes what a guest writes to a standard stream.
    pub(crate) fn print(&mut self, stream: Stream, bytes: &[u8]) {
        let Self {
            console, call, log, ..
        } = self;
        console.write(stream, bytes, |line| say(log, call, stream, line));
    }

    /// Gives out the lines that have no end yet, because the call has one.
    pub(crate) fn finish_output(&mut self) {
        let Self {
            console, call, log, ..
        } = self;
        for stream in [Stream::Output, Stream::Error] {
            console.finish(stream, |line| say(log, call, stream, line));
        }
    }
}

/// A line of a standard stream. The last one that says anything on standard error is what a runtime says before it
/// traps.
fn say(log: &GuestLog, call: &mut GuestCall, stream: Stream, line: &str) {
    let line = guest_log::cut(line);
    if call.purpose != CallPurpose::Replay {
        log.write(stream.level(), line);
    }
    if stream == Stream::Error && !line.trim().is_empty() {
        call.last_words = Some(line.to_owned());
    }
}

pub(crate) type HostContext<'a> = StoreContextMut<'a, HostState>;

/// Takes the fuel for a call of the host that copies so many bytes.
pub(crate) fn charge(store: &mut HostContext<'_>, bytes: usize) -> wasmtime::Result<()> {
    let cost = CALL_FUEL + bytes as u64;
    let left = store.get_fuel()?;
    store.set_fuel(left.saturating_sub(cost))?;
    if left < cost {
        return Err(Trap::OutOfFuel.into());
    }
    Ok(())
}

/// Gives a linker everything that a guest may import.
pub(crate) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.instance(TYPES)?;
    let mut streams = linker.instance(STREAMS)?;
    // A guest only borrows them, so there is nothing to drop.
    streams.resource("sink", ResourceType::host::<Sink>(), |_, _| Ok(()))?;
    streams.resource("source", ResourceType::host::<Source>(), |_, _| Ok(()))?;
    streams.func_wrap("[method]sink.write", sink_write)?;
    streams.func_wrap("[method]source.read", source_read)?;
    let mut host = linker.instance(HOST)?;
    host.func_wrap("log", log)?;
    host.func_wrap("emit", emit)?;
    host.func_wrap("wake-at", wake_at)?;
    host.func_wrap("complete", complete)?;
    host.func_wrap("random", random)?;
    Ok(())
}

fn sink_write(
    mut store: HostContext<'_>,
    (_sink, chunk): (Resource<Sink>, WasmList<u8>),
) -> wasmtime::Result<()> {
    let mut sink = store.data_mut().call.take_sink();
    let chunk = chunk.as_le_slice(&store);
    let length = chunk.len();
    let Some(writer) = sink.as_mut() else {
        wasmtime::bail!("no snapshot is being written");
    };
    writer.write(chunk)?;
    store.data_mut().call.sink = sink;
    charge(&mut store, length)
}

fn source_read(
    mut store: HostContext<'_>,
    (_source, most): (Resource<Source>, u32),
) -> wasmtime::Result<(Vec<u8>,)> {
    if most == 0 {
        wasmtime::bail!("the guest asked for chunks of 0 bytes, which only the end has");
    }
    let most = (most as usize).min(CHUNK_BYTES);
    let Some(source) = store.data_mut().call.source.as_mut() else {
        wasmtime::bail!("no snapshot is being read");
    };
    let chunk = source.next(most);
    charge(&mut store, chunk.len())?;
    Ok((chunk.to_vec(),))
}

fn log(mut store: HostContext<'_>, (level, message): (Level, WasmStr)) -> wasmtime::Result<()> {
    let text = message.to_str(&store)?;
    let length = text.len();
    let line = guest_log::cut(&text).to_owned();
    charge(&mut store, length)?;
    let state = store.data_mut();
    if state.call.purpose != CallPurpose::Replay {
        state.log.write(level, &line);
    }
    if matches!(level, Level::Error) {
        state.call.last_words = Some(line);
    }
    Ok(())
}

fn emit(
    mut store: HostContext<'_>,
    (topic, payload): (WasmStr, WasmList<u8>),
) -> wasmtime::Result<()> {
    let topic = topic.to_str(&store)?;
    let payload = payload.as_le_slice(&store);
    let (topic, payload) = (topic.into_owned(), Bytes::copy_from_slice(payload));
    let bytes = topic.len() + payload.len();
    charge(&mut store, bytes)?;
    let call = &mut store.data_mut().call;
    if call.effect(bytes)? {
        call.effects.events.push(GuestEvent { topic, payload });
    }
    Ok(())
}

fn wake_at(mut store: HostContext<'_>, (time_ms,): (u64,)) -> wasmtime::Result<()> {
    charge(&mut store, 0)?;
    let call = &mut store.data_mut().call;
    if call.purpose != CallPurpose::ReadOnly {
        call.effects.wake_at_ms = Some(time_ms);
    }
    Ok(())
}

fn complete(
    mut store: HostContext<'_>,
    (token, accepted, reply): (u64, bool, WasmList<u8>),
) -> wasmtime::Result<()> {
    let reply = Bytes::copy_from_slice(reply.as_le_slice(&store));
    charge(&mut store, reply.len())?;
    let call = &mut store.data_mut().call;
    if call.effect(reply.len())? {
        call.effects.completions.push(Completion {
            token,
            accepted,
            reply,
        });
    }
    Ok(())
}

fn random(mut store: HostContext<'_>, (length,): (u32,)) -> wasmtime::Result<(Vec<u8>,)> {
    Ok((draw(&mut store, u64::from(length))?,))
}

/// The next bytes of the call's generator.
pub(crate) fn draw(store: &mut HostContext<'_>, length: u64) -> wasmtime::Result<Vec<u8>> {
    const MOST_BYTES: u64 = 1 << 20;
    if length > MOST_BYTES {
        return Err(GuestFailure::TooLarge {
            what: "a draw of random bytes",
            bytes: length,
            limit: MOST_BYTES,
        }
        .into());
    }
    charge(store, length as usize)?;
    Ok(store.data_mut().call.random.bytes(length as usize))
}
