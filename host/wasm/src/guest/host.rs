//! The host's functions that a guest imports, and the state of one instance that they work on.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use task_queue_raft::state_machine::Moment;
use wasmtime::component::{Linker, Resource, ResourceType, WasmList, WasmStr};
use wasmtime::{StoreContextMut, Trap};

use crate::guest::bindings::oarlock::state_machine::callers::{Caller, Scope};
use crate::guest::call::{CallPurpose, GuestCall};
use crate::guest::effects::{Completion, GuestEvent};
use crate::guest::guest_log::{self, GuestLog, Level};
use crate::guest::limiter::Limiter;
use crate::guest::limits::MachineLimits;
use crate::guest::streams::{Sink, Source};
use crate::guest::wasi::console::{Console, ConsoleStream};
use crate::records::caller::GuestCaller;
use crate::records::chunks::CHUNK_BYTES;
use crate::records::failure::GuestFailure;

/// Interfaces that a guest may import, with their functions.
pub(crate) const IMPORTS: [(&str, &[&str]); 4] = [
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
        &[
            "log",
            "emit",
            "wake-at",
            "complete",
            "random",
            "memory-pressure",
            "reply-limit",
            "level",
        ],
    ),
    (CALLERS, &["has-callers", "caller-of", "caller", "scope"]),
];
const TYPES: &str = "oarlock:state-machine/types@0.1.0";
const STREAMS: &str = "oarlock:state-machine/streams@0.1.0";
const HOST: &str = "oarlock:state-machine/host@0.1.0";

const CALLERS: &str = "oarlock:state-machine/callers@0.1.0";

/// Fuel for any call of the host, besides one for each byte that is copied. Without it a guest with little fuel could
/// keep the host busy for hours.
const CALL_FUEL: u64 = 200;

/// The host's state of one instance.
pub(crate) struct HostState {
    pub(crate) limiter: Limiter,
    pub(crate) call: GuestCall,
    /// Number of WASI handles that the guest holds.
    pub(crate) handles: u32,
    console: Console,
    log: Arc<GuestLog>,
}

impl HostState {
    pub(crate) fn new(limits: &MachineLimits, log: Arc<GuestLog>) -> Self {
        Self {
            limiter: Limiter::new(limits),
            call: GuestCall::read_only(Moment::default(), limits),
            handles: 0,
            console: Console::default(),
            log,
        }
    }

    /// Time of the entry that the call belongs to, in milliseconds since 1970; 0 outside of an entry.
    pub(crate) fn now_ms(&self) -> u64 {
        self.call.now_ms
    }

    /// Writes to a standard stream of the guest.
    pub(crate) fn print(&mut self, stream: ConsoleStream, bytes: &[u8]) {
        let Self {
            console, call, log, ..
        } = self;
        console.write(stream, bytes, |line| log_line(log, call, stream, line));
    }

    /// Logs unfinished lines, at the end of a call.
    pub(crate) fn finish_output(&mut self) {
        let Self {
            console, call, log, ..
        } = self;
        for stream in [ConsoleStream::Output, ConsoleStream::Error] {
            console.finish(stream, |line| log_line(log, call, stream, line));
        }
    }
}

/// Logs a line of a standard stream. A runtime writes its reason to standard error before it traps, so the last lines there
/// are kept for the failure.
fn log_line(log: &GuestLog, call: &mut GuestCall, stream: ConsoleStream, line: &str) {
    let line = guest_log::cut(line);
    if call.purpose != CallPurpose::Replay {
        log.write(stream.level(), line);
    }
    if stream == ConsoleStream::Error {
        call.error_lines.push(line);
    }
}

pub(crate) type HostContext<'a> = StoreContextMut<'a, HostState>;

/// Charges the fuel for a call of the host that copies `bytes` bytes.
pub(crate) fn charge(store: &mut HostContext<'_>, bytes: usize) -> wasmtime::Result<()> {
    let cost = CALL_FUEL + bytes as u64;
    let left = store.get_fuel()?;
    store.set_fuel(left.saturating_sub(cost))?;
    if left < cost {
        return Err(Trap::OutOfFuel.into());
    }
    Ok(())
}

/// Adds the interfaces of `oarlock:state-machine` that a guest may import.
pub(crate) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.instance(TYPES)?;
    let mut streams = linker.instance(STREAMS)?;
    // A guest only borrows them, so the destructors have nothing to do.
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
    host.func_wrap("memory-pressure", memory_pressure)?;
    host.func_wrap("reply-limit", reply_limit)?;
    let mut callers = linker.instance(CALLERS)?;
    callers.func_wrap("has-callers", has_callers)?;
    callers.func_wrap("caller-of", caller_of)?;
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
    (_source, limit): (Resource<Source>, u32),
) -> wasmtime::Result<(Vec<u8>,)> {
    if limit == 0 {
        wasmtime::bail!("the guest requested chunks of 0 bytes; an empty chunk means the end");
    }
    let limit = (limit as usize).min(CHUNK_BYTES);
    let Some(source) = store.data_mut().call.source.as_mut() else {
        wasmtime::bail!("no snapshot is being read");
    };
    let chunk = source.next(limit);
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
        state.call.error_lines.push(&line);
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
    if call.reserve_effect(bytes)? {
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
    if call.reserve_effect(reply.len())? {
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

fn memory_pressure(mut store: HostContext<'_>, (): ()) -> wasmtime::Result<(bool,)> {
    charge(&mut store, 0)?;
    Ok((store.data().call.view.memory_is_low,))
}

fn reply_limit(mut store: HostContext<'_>, (): ()) -> wasmtime::Result<(u64,)> {
    charge(&mut store, 0)?;
    Ok((store.data().call.reply_bytes,))
}

fn has_callers(mut store: HostContext<'_>, (): ()) -> wasmtime::Result<(bool,)> {
    charge(&mut store, 0)?;
    Ok((store.data().call.callers.any(),))
}

fn caller_of(
    mut store: HostContext<'_>,
    (command,): (u32,),
) -> wasmtime::Result<(Option<Caller>,)> {
    let found = store.data().call.callers.get(command);
    let bytes = found.map_or(0, GuestCaller::bytes);
    let caller = found.map(|caller| Caller {
        name: caller.name().to_owned(),
        scopes: caller.scopes().iter().map(scope).collect(),
    });
    charge(&mut store, bytes)?;
    Ok((caller,))
}

fn scope((name, values): (&String, &BTreeSet<String>)) -> Scope {
    Scope {
        name: name.clone(),
        values: values.iter().cloned().collect(),
    }
}

/// Draws bytes from the call's random generator.
pub(crate) fn draw(store: &mut HostContext<'_>, length: u64) -> wasmtime::Result<Vec<u8>> {
    const MAX_BYTES: u64 = 1 << 20;
    if length > MAX_BYTES {
        return Err(GuestFailure::TooLarge {
            what: "a draw of random bytes",
            bytes: length,
            limit: MAX_BYTES,
        }
        .into());
    }
    charge(store, length as usize)?;
    Ok(store.data_mut().call.random.bytes(length as usize))
}
