//! A guest as a module: the exports of world `service`. The machine itself lives in a static of the
//! guest's crate; everything else is here.

use std::marker::PhantomData;

use bindings::exports::oarlock::state_machine::{about, machine, queries, timers};
use bindings::oarlock::state_machine::host;
use bindings::oarlock::state_machine::streams::{Sink, Source};
use bindings::oarlock::state_machine::types::{
    Batch, Description, Moment as WitMoment, Outcomes as WitOutcomes, Verdict,
};

use crate::codec::Codec;
use crate::context::{Event, Host, Level, Moment};
use crate::engine::{self, Outcomes};
use crate::machine::Guest;
use crate::snapshot;

#[doc(hidden)]
#[allow(missing_docs, unused_qualifications, reason = "wit-bindgen wrote it")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "service",
        pub_export_macro: true,
        default_bindings_module: "oarlock_guest::__wasm::bindings",
        runtime_path: "oarlock_guest::__wasm::wit_bindgen::rt",
    });
}
pub use wit_bindgen;

/// The one machine of a module. Implemented by [`__export_guest!`](crate::__export_guest).
pub trait Held: Guest {
    /// Gives the machine to `f`.
    fn with<R>(f: impl FnOnce(&mut Self) -> R) -> R;
}

/// Says why before a panic becomes a trap, which itself has no words.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        host::log(host::Level::Error, &info.to_string());
    }));
}

/// What the module exports.
pub struct Exports<M>(PhantomData<M>);

impl<M: Held> machine::Guest for Exports<M> {
    fn apply(at: WitMoment, commands: Batch) -> WitOutcomes {
        let applied = M::with(|machine| {
            engine::apply_batch(machine, &Imports, at.into(), &commands.data, &commands.ends)
        });
        match applied {
            Ok(Outcomes {
                accepted,
                data,
                ends,
            }) => {
                let verdict = |yes| {
                    if yes {
                        Verdict::Accepted
                    } else {
                        Verdict::Rejected
                    }
                };
                WitOutcomes {
                    verdicts: accepted.into_iter().map(verdict).collect(),
                    data,
                    ends,
                }
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn snapshot(to: &Sink) -> Result<(), String> {
        M::with(|machine| snapshot::write(machine, &mut |chunk| to.write(chunk)))
            .map_err(|error| error.to_string())
    }

    fn restore(written_by: u32, from: &Source) -> Result<(), String> {
        let restored = snapshot::read(written_by, &mut |most| from.read(most));
        let restored = restored.map_err(|error| error.to_string())?;
        M::with(|machine| *machine = restored);
        Ok(())
    }
}

impl<M: Held> queries::Guest for Exports<M> {
    fn query(at: WitMoment, request: Vec<u8>) -> Result<Vec<u8>, Vec<u8>> {
        match M::with(|machine| engine::query(machine, &Imports, at.into(), &request)) {
            Ok(answer) => answer,
            Err(error) => panic!("{error}"),
        }
    }
}

impl<M: Held> timers::Guest for Exports<M> {
    fn wake(at: WitMoment) {
        M::with(|machine| engine::wake(machine, &Imports, at.into()));
    }
}

impl<M: Held> about::Guest for Exports<M> {
    fn describe() -> Description {
        Description {
            name: M::NAME.to_owned(),
            version: M::VERSION,
            codec: <M::Codec as Codec<M>>::NAME.to_owned(),
            schema: M::SCHEMA.to_owned(),
        }
    }
}

impl From<WitMoment> for Moment {
    fn from(at: WitMoment) -> Self {
        Self {
            index: at.index,
            time_ms: at.time_ms,
        }
    }
}

/// The host's side of a call.
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

    fn random(&self, length: u32) -> Vec<u8> {
        host::random(length)
    }
}

/// Puts the one machine of a module in place and exports it. Written by the attribute.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_guest {
    ($machine:ty) => {
        const _: () = {
            thread_local! {
                static MACHINE: ::std::cell::RefCell<::std::option::Option<$machine>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }

            impl $crate::__wasm::Held for $machine {
                fn with<R>(f: impl ::std::ops::FnOnce(&mut Self) -> R) -> R {
                    MACHINE.with_borrow_mut(|machine| {
                        f(machine.get_or_insert_with(|| {
                            $crate::__wasm::log_panics();
                            ::std::default::Default::default()
                        }))
                    })
                }
            }

            type Exported = $crate::__wasm::Exports<$machine>;
    $crate::__wasm::bindings::export!(Exported with_types_in $crate::__wasm::bindings);
        };
    };
}
