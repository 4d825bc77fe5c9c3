//! The part of WASI 0.2 that language runtimes need to start. Its results depend on the log only, never on this node.
//!
//! Python, JavaScript and C guests import WASI because their runtimes do, even if their authors do not use it.
//!
//! | what | result |
//! |---|---|
//! | clocks | the entry's time; 0 while the guest starts or reads a snapshot. It does not advance during a call |
//! | random numbers | the generator of `host.random`, seeded with the entry's index |
//! | standard output and error | lines in the guest's log, see [`console`] |
//! | standard input | end of file |
//! | environment, arguments, files, terminals | none |
//! | sockets, host names | the error `access-denied` |
//! | exit | a trap |
//!
//! Functions on handles that a guest can't get, such as reading a file, are defined but never run: [`surface`] lists
//! them. Other parts of WASI are not defined, and `check` refuses a guest that imports them.

use wasmtime::component::{ComponentType, Lower, Resource, ResourceType, Val, WasmList};
use wasmtime::component::{Linker, LinkerInstance};

use crate::guest::host::{HostContext, HostState, charge, draw};
use crate::records::failure::GuestFailure;

pub(crate) mod console;
pub(crate) mod surface;

use console::{ConsoleStream, WRITE_BYTES};

/// Handles of streams, pollables and networks that a guest may hold at once. Runtimes hold about five.
const MAX_HANDLES: u32 = 4096;

/// Resolution of the clocks: the log has milliseconds.
const MILLISECOND_NS: u64 = 1_000_000;

/// Standard input, always at its end.
struct InputStream;
/// Standard output or error, by the number of the handle.
struct OutputStream;
/// An event to wait for; always ready.
struct Pollable;
/// The network; every operation on it fails.
struct WasiNetwork;
/// A resource of which a guest never gets a handle.
struct Unreachable;

/// WASI's `stream-error`.
#[derive(ComponentType, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    #[allow(dead_code, reason = "part of the WIT type; no operation fails")]
    Failed(Resource<Unreachable>),
    #[component(name = "closed")]
    Closed,
}

/// WASI's `datetime`.
#[derive(ComponentType, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

/// Adds the supported part of WASI.
pub(crate) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    for interface in surface::INTERFACES {
        let mut instance = linker.instance(interface.name)?;
        for resource in interface.unheld {
            instance.resource(
                resource.name,
                ResourceType::host::<Unreachable>(),
                |_, _| Ok(()),
            )?;
            for method in resource.methods {
                let name = format!("[method]{}.{method}", resource.name);
                define_unreachable(&mut instance, &name)?;
            }
        }
        for name in interface.unreachable {
            define_unreachable(&mut instance, name)?;
        }
    }
    poll(&mut linker.instance(surface::POLL)?)?;
    streams(&mut linker.instance(surface::STREAMS)?)?;
    console_handles(linker)?;
    clocks(linker)?;
    random(linker)?;
    process(linker)?;
    outside(linker)
}

/// Defines a function on a handle that a guest can't get.
fn define_unreachable(
    instance: &mut LinkerInstance<'_, HostState>,
    name: &str,
) -> wasmtime::Result<()> {
    let message = format!("`{name}` was called on a handle that does not exist");
    instance.func_new(name, move |_, _, _, _| wasmtime::bail!("{message}"))
}

/// Gives the guest one more handle, up to the limit.
fn new_handle<T: 'static>(
    store: &mut HostContext<'_>,
    number: u32,
) -> wasmtime::Result<(Resource<T>,)> {
    charge(store, 0)?;
    let handles = &mut store.data_mut().handles;
    if *handles >= MAX_HANDLES {
        return Err(GuestFailure::TooMany {
            what: "handles of streams and pollables that the guest holds and never drops",
            limit: u64::from(MAX_HANDLES),
        }
        .into());
    }
    *handles += 1;
    Ok((Resource::new_own(number),))
}

/// Defines a resource whose handles are counted.
fn counted<T: 'static>(
    instance: &mut LinkerInstance<'_, HostState>,
    name: &str,
) -> wasmtime::Result<()> {
    instance.resource(name, ResourceType::host::<T>(), |mut store, _| {
        let handles = &mut store.data_mut().handles;
        *handles = handles.saturating_sub(1);
        Ok(())
    })
}

fn poll(poll: &mut LinkerInstance<'_, HostState>) -> wasmtime::Result<()> {
    counted::<Pollable>(poll, "pollable")?;
    poll.func_wrap(
        "[method]pollable.ready",
        |mut store: HostContext<'_>, (_,): (Resource<Pollable>,)| {
            charge(&mut store, 0)?;
            Ok((true,))
        },
    )?;
    poll.func_wrap(
        "[method]pollable.block",
        |mut store: HostContext<'_>, (_,): (Resource<Pollable>,)| charge(&mut store, 0),
    )?;
    poll.func_wrap(
        "poll",
        |mut store: HostContext<'_>, (pollables,): (Vec<Resource<Pollable>>,)| {
            charge(&mut store, 8 * pollables.len())?;
            if pollables.is_empty() {
                wasmtime::bail!("`poll` was called without pollables");
            }
            Ok(((0..pollables.len() as u32).collect::<Vec<u32>>(),))
        },
    )
}

fn streams(streams: &mut LinkerInstance<'_, HostState>) -> wasmtime::Result<()> {
    counted::<InputStream>(streams, "input-stream")?;
    counted::<OutputStream>(streams, "output-stream")?;
    input(streams)?;
    output(streams)
}

type Streamed<T> = wasmtime::Result<(Result<T, StreamError>,)>;

fn input(streams: &mut LinkerInstance<'_, HostState>) -> wasmtime::Result<()> {
    for name in ["read", "blocking-read"] {
        streams.func_wrap(
            &format!("[method]input-stream.{name}"),
            |mut store: HostContext<'_>, _: (Resource<InputStream>, u64)| -> Streamed<Vec<u8>> {
                charge(&mut store, 0)?;
                Ok((Err(StreamError::Closed),))
            },
        )?;
    }
    for name in ["skip", "blocking-skip"] {
        streams.func_wrap(
            &format!("[method]input-stream.{name}"),
            |mut store: HostContext<'_>, _: (Resource<InputStream>, u64)| -> Streamed<u64> {
                charge(&mut store, 0)?;
                Ok((Err(StreamError::Closed),))
            },
        )?;
    }
    streams.func_wrap(
        "[method]input-stream.subscribe",
        |mut store: HostContext<'_>, _: (Resource<InputStream>,)| {
            new_handle::<Pollable>(&mut store, 0)
        },
    )
}

fn output(streams: &mut LinkerInstance<'_, HostState>) -> wasmtime::Result<()> {
    streams.func_wrap(
        "[method]output-stream.check-write",
        |mut store: HostContext<'_>, _: (Resource<OutputStream>,)| -> Streamed<u64> {
            charge(&mut store, 0)?;
            Ok((Ok(WRITE_BYTES as u64),))
        },
    )?;
    for name in ["write", "blocking-write-and-flush"] {
        streams.func_wrap(
            &format!("[method]output-stream.{name}"),
            |mut store: HostContext<'_>,
             (to, bytes): (Resource<OutputStream>, WasmList<u8>)|
             -> Streamed<()> {
                let bytes = permitted(bytes.as_le_slice(&store))?.to_vec();
                charge(&mut store, bytes.len())?;
                store.data_mut().print(ConsoleStream::of(to.rep()), &bytes);
                Ok((Ok(()),))
            },
        )?;
    }
    for name in ["flush", "blocking-flush"] {
        streams.func_wrap(
            &format!("[method]output-stream.{name}"),
            |mut store: HostContext<'_>, _: (Resource<OutputStream>,)| -> Streamed<()> {
                charge(&mut store, 0)?;
                Ok((Ok(()),))
            },
        )?;
    }
    for name in ["write-zeroes", "blocking-write-zeroes-and-flush"] {
        streams.func_wrap(
            &format!("[method]output-stream.{name}"),
            |mut store: HostContext<'_>,
             (to, count): (Resource<OutputStream>, u64)|
             -> Streamed<()> {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                let zeroes = [0; WRITE_BYTES];
                let zeroes = zeroes.get(..count).ok_or_else(|| too_much(count))?;
                charge(&mut store, count)?;
                store.data_mut().print(ConsoleStream::of(to.rep()), zeroes);
                Ok((Ok(()),))
            },
        )?;
    }
    for name in ["splice", "blocking-splice"] {
        streams.func_wrap(
            &format!("[method]output-stream.{name}"),
            |mut store: HostContext<'_>,
             _: (Resource<OutputStream>, Resource<InputStream>, u64)|
             -> Streamed<u64> {
                charge(&mut store, 0)?;
                Ok((Err(StreamError::Closed),))
            },
        )?;
    }
    streams.func_wrap(
        "[method]output-stream.subscribe",
        |mut store: HostContext<'_>, _: (Resource<OutputStream>,)| {
            new_handle::<Pollable>(&mut store, 0)
        },
    )
}

/// Checks a write against the size that `check-write` permits.
fn permitted(bytes: &[u8]) -> wasmtime::Result<&[u8]> {
    if bytes.len() > WRITE_BYTES {
        return Err(too_much(bytes.len()));
    }
    Ok(bytes)
}

fn too_much(bytes: usize) -> wasmtime::Error {
    let limit = WRITE_BYTES as u64;
    let what = "one write to a standard stream";
    let bytes = bytes as u64;
    GuestFailure::TooLarge { what, bytes, limit }.into()
}

fn console_handles(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker
        .instance(surface::STDIN)?
        .func_wrap("get-stdin", |mut store: HostContext<'_>, (): ()| {
            new_handle::<InputStream>(&mut store, 0)
        })?;
    linker.instance(surface::STDOUT)?.func_wrap(
        "get-stdout",
        |mut store: HostContext<'_>, (): ()| {
            new_handle::<OutputStream>(&mut store, ConsoleStream::Output.number())
        },
    )?;
    linker.instance(surface::STDERR)?.func_wrap(
        "get-stderr",
        |mut store: HostContext<'_>, (): ()| {
            new_handle::<OutputStream>(&mut store, ConsoleStream::Error.number())
        },
    )?;
    for (interface, name) in surface::TERMINALS {
        linker
            .instance(interface)?
            .func_wrap(name, |mut store: HostContext<'_>, (): ()| {
                charge(&mut store, 0)?;
                Ok((None::<Resource<Unreachable>>,))
            })?;
    }
    Ok(())
}

fn clocks(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut monotonic = linker.instance(surface::MONOTONIC_CLOCK)?;
    monotonic.func_wrap("now", |mut store: HostContext<'_>, (): ()| {
        charge(&mut store, 0)?;
        Ok((store.data().now_ms().saturating_mul(MILLISECOND_NS),))
    })?;
    monotonic.func_wrap("resolution", |mut store: HostContext<'_>, (): ()| {
        charge(&mut store, 0)?;
        Ok((MILLISECOND_NS,))
    })?;
    for name in ["subscribe-instant", "subscribe-duration"] {
        monotonic.func_wrap(name, |mut store: HostContext<'_>, (_,): (u64,)| {
            new_handle::<Pollable>(&mut store, 0)
        })?;
    }
    let mut wall = linker.instance(surface::WALL_CLOCK)?;
    wall.func_wrap("now", |mut store: HostContext<'_>, (): ()| {
        charge(&mut store, 0)?;
        let now_ms = store.data().now_ms();
        Ok((Datetime {
            seconds: now_ms / 1000,
            nanoseconds: (now_ms % 1000) as u32 * MILLISECOND_NS as u32,
        },))
    })?;
    wall.func_wrap("resolution", |mut store: HostContext<'_>, (): ()| {
        charge(&mut store, 0)?;
        Ok((Datetime {
            seconds: 0,
            nanoseconds: MILLISECOND_NS as u32,
        },))
    })
}

fn random(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let number = |store: &mut HostContext<'_>| -> wasmtime::Result<u64> {
        let bytes = draw(store, 8)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)))
    };
    for (interface, bytes, one) in surface::RANDOM {
        let mut random = linker.instance(interface)?;
        random.func_wrap(bytes, |mut store: HostContext<'_>, (length,): (u64,)| {
            Ok((draw(&mut store, length)?,))
        })?;
        random.func_wrap(one, move |mut store: HostContext<'_>, (): ()| {
            Ok((number(&mut store)?,))
        })?;
    }
    linker.instance(surface::INSECURE_SEED)?.func_wrap(
        "insecure-seed",
        move |mut store: HostContext<'_>, (): ()| Ok(((number(&mut store)?, number(&mut store)?),)),
    )
}

fn process(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let mut environment = linker.instance(surface::ENVIRONMENT)?;
    environment.func_wrap("get-environment", |mut store: HostContext<'_>, (): ()| {
        charge(&mut store, 0)?;
        Ok((Vec::<(String, String)>::new(),))
    })?;
    environment.func_wrap("get-arguments", |mut store: HostContext<'_>, (): ()| {
        charge(&mut store, 0)?;
        Ok((Vec::<String>::new(),))
    })?;
    environment.func_wrap("initial-cwd", |mut store: HostContext<'_>, (): ()| {
        charge(&mut store, 0)?;
        Ok((None::<String>,))
    })?;
    let mut exit = linker.instance(surface::EXIT)?;
    exit.func_wrap(
        "exit",
        |_: HostContext<'_>, (status,): (Result<(), ()>,)| -> wasmtime::Result<()> {
            let status = if status.is_ok() { "success" } else { "failure" };
            wasmtime::bail!("the guest called `exit` with {status}, which a guest must not")
        },
    )?;
    exit.func_wrap(
        "exit-with-code",
        |_: HostContext<'_>, (code,): (u8,)| -> wasmtime::Result<()> {
            wasmtime::bail!("the guest called `exit` with code {code}, which a guest must not")
        },
    )
}

/// No files and no network.
/// Files and network: none, or refused.
fn outside(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.instance(surface::PREOPENS)?.func_wrap(
        "get-directories",
        |mut store: HostContext<'_>, (): ()| {
            charge(&mut store, 0)?;
            Ok((Vec::<(Resource<Unreachable>, String)>::new(),))
        },
    )?;
    counted::<WasiNetwork>(&mut linker.instance(surface::NETWORK)?, "network")?;
    linker
        .instance(surface::INSTANCE_NETWORK)?
        .func_wrap("instance-network", |mut store: HostContext<'_>, (): ()| {
            new_handle::<WasiNetwork>(&mut store, 0)
        })?;
    for (interface, name) in surface::REFUSED {
        // An untyped result, because a typed one would have to list all of WASI's error codes.
        linker
            .instance(interface)?
            .func_new(name, |mut store, _, parameters, results| {
                charge(&mut store, 0)?;
                // An untyped function has to drop borrowed handles itself.
                for value in parameters {
                    if let Val::Resource(borrowed) = value {
                        borrowed.resource_drop(&mut store)?;
                    }
                }
                let denied = Val::Enum("access-denied".to_owned());
                results[0] = Val::Result(Err(Some(Box::new(denied))));
                Ok(())
            })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
