//! The description of a guest, which the attribute adds to its state machine.

use crate::codec::Codec;
use crate::machine::StateMachine;

/// Name, version and codec of a guest. Implemented by the [`state_machine`](crate::state_machine) attribute; do not
/// implement it by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is a state machine without a name",
    label = "not a guest yet",
    note = "put `#[state_machine(name = \"…\", version = 1)]` on its `impl StateMachine`"
)]
pub trait Guest: StateMachine {
    /// Short, stable name, for example `task-queue`.
    const NAME: &'static str;
    /// Version of the state and the commands. Raise it when either changes. A snapshot records the version that wrote
    /// it; a guest with a lower version refuses that snapshot.
    const VERSION: u32;
    /// Name of the layout of the state, if the attribute gives one. Otherwise the SDK derives it from the type.
    const LAYOUT: Option<&'static str>;
    /// JSON Schema of commands and queries. May be empty.
    const SCHEMA: &'static str;
    /// Encoding of commands, replies, queries, responses and refusals.
    type Codec: Codec<Self>;
}
