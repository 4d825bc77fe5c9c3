//! A guest as a module: the exports of the world `service`. The state machine is in a static of the guest's crate;
//! everything else is here.

use std::marker::PhantomData;

use crate::bindings::exports::oarlock::state_machine::{about, layout, machine, queries, timers};
use crate::bindings::oarlock::state_machine::host;
use crate::bindings::oarlock::state_machine::streams::{Sink, Source};
use crate::bindings::oarlock::state_machine::types::{
    Batch, Description, Moment, Outcomes as WitOutcomes, Verdict,
};
use crate::codec::Codec;
use crate::context::{Event, Host, LateReply, Level, LogPosition};
use crate::engine::{self, CommandVerdict, Outcomes};
use crate::guest::Guest;
pub use crate::live::LiveGuest;

#[doc(hidden)]
pub use crate::bindings;
pub use wit_bindgen;

/// Access to the single state machine of a module. Implemented by [`__export_guest!`](crate::__export_guest).
pub trait SingleMachine: Guest {
    /// Calls `f` with the state machine and what the SDK keeps for it.
    fn with<R>(f: impl FnOnce(&mut LiveGuest<Self>) -> R) -> R;
}

/// Logs the message of a panic. The trap that follows carries no message.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        host::log(host::Level::Error, &info.to_string());
    }));
}

/// The exports of the module.
pub struct GuestExports<M>(PhantomData<M>);

impl<M: SingleMachine> machine::Guest for GuestExports<M> {
    fn apply(at: Moment, commands: Batch) -> WitOutcomes {
        let applied = M::with(|guest| {
            engine::apply_batch(guest, &Imports, at.into(), &commands.data, &commands.ends)
        });
        match applied {
            Ok(Outcomes {
                verdicts,
                data,
                ends,
            }) => WitOutcomes {
                verdicts: verdicts.into_iter().map(Verdict::from).collect(),
                data,
                ends,
            },
            Err(error) => panic!("{error}"),
        }
    }

    fn snapshot(to: &Sink) -> Result<(), String> {
        M::with(|guest| guest.write(&mut |chunk| to.write(chunk)))
            .map_err(|error| error.to_string())
    }

    fn restore(written_by: u32, from: &Source) -> Result<(), String> {
        let restored = LiveGuest::read(written_by, &mut |most| from.read(most));
        let restored = restored.map_err(|error| error.to_string())?;
        M::with(|guest| *guest = restored);
        Ok(())
    }
}

impl<M: SingleMachine> queries::Guest for GuestExports<M> {
    fn query(at: Moment, request: Vec<u8>) -> Result<Vec<u8>, Vec<u8>> {
        match M::with(|guest| engine::query(&guest.machine, &Imports, at.into(), &request)) {
            Ok(result) => result,
            Err(error) => panic!("{error}"),
        }
    }
}

impl<M: SingleMachine> timers::Guest for GuestExports<M> {
    fn wake(at: Moment) {
        M::with(|guest| engine::wake(guest, &Imports, at.into(), false));
    }
}

impl<M: SingleMachine> about::Guest for GuestExports<M> {
    fn describe() -> Description {
        Description {
            name: M::NAME.to_owned(),
            version: M::VERSION,
            codec: <M::Codec as Codec<M>>::NAME.to_owned(),
            schema: M::SCHEMA.to_owned(),
        }
    }
}

impl<M: SingleMachine> layout::Guest for GuestExports<M> {
    fn fingerprint() -> String {
        // Empty: unknown.
        crate::snapshot::own_layout::<M>().unwrap_or_default()
    }
}

impl From<CommandVerdict> for Verdict {
    fn from(verdict: CommandVerdict) -> Self {
        match verdict {
            CommandVerdict::Accepted => Self::Accepted,
            CommandVerdict::Rejected => Self::Rejected,
            CommandVerdict::Deferred => Self::Deferred,
        }
    }
}

impl From<Moment> for LogPosition {
    fn from(at: Moment) -> Self {
        Self {
            index: at.index,
            time_ms: at.time_ms,
        }
    }
}

/// The imports of the module.
struct Imports;

impl Host for Imports {
    fn log(&self, level: Level, message: &str) {
        let level = match level {
            Level::Trace => host::Level::Trace,
            Level::Debug => host::Level::Debug,
            Level::Info => host::Level::Info,
            Level::Warn => host::Level::Warn,
            Level::Error => host::Level::Error,
        };
        host::log(level, message);
    }

    fn emit(&self, event: Event) {
        host::emit(&event.topic, &event.payload);
    }

    fn wake_at(&self, time_ms: u64) {
        host::wake_at(time_ms);
    }

    fn complete(&self, reply: LateReply) {
        host::complete(reply.token.get(), reply.accepted, &reply.body);
    }

    fn random(&self, length: u32) -> Vec<u8> {
        host::random(length)
    }

    fn memory_is_low(&self) -> bool {
        host::memory_pressure()
    }

    fn reply_limit(&self) -> u64 {
        host::reply_limit()
    }
}

/// Defines the single state machine of a module and exports it. The attribute calls this macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_guest {
    ($machine:ty) => {
        const _: () = {
            thread_local! {
                static GUEST: ::std::cell::RefCell<::std::option::Option<$crate::__wasm::LiveGuest<$machine>>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }

            impl $crate::__wasm::SingleMachine for $machine {
                fn with<R>(f: impl ::std::ops::FnOnce(&mut $crate::__wasm::LiveGuest<Self>) -> R) -> R {
                    GUEST.with_borrow_mut(|guest| {
                        f(guest.get_or_insert_with(|| {
                            $crate::__wasm::log_panics();
                            ::std::default::Default::default()
                        }))
                    })
                }
            }

            type Exported = $crate::__wasm::GuestExports<$machine>;
    $crate::__wasm::bindings::export!(Exported with_types_in $crate::__wasm::bindings);
        };
    };
}
