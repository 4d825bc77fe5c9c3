//! The trait that the author of a guest implements.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::{Apply, Read};
use crate::snapshot::error::MigrateError;
use crate::snapshot::old_state::OldState;
use crate::token::Token;

/// A replicated state machine. `Self` is the state, and commands change it.
///
/// Every node applies the same commands in the same order. So [`apply`](Self::apply) must be a function of the state, of
/// `cx` and of the command, and of nothing else. The crate page lists what that forbids.
///
/// Serde reads and writes the state: `#[derive(Default, Serialize, Deserialize)]` is enough. The default value is the
/// state of a cluster without any command.
pub trait StateMachine: Default + Serialize + DeserializeOwned + 'static {
    /// A command changes the state. With JSON, an enum with
    /// `#[serde(rename_all = "snake_case", deny_unknown_fields)]` decodes `{"add":{"by":5}}`.
    type Command;
    /// Result of an accepted command, returned to the client.
    type Reply;
    /// A query reads the state and changes nothing. It is not in the log.
    type Query;
    /// Result of a query, returned to the client.
    type Response;
    /// Result of a refused command or query, returned to the client. [`crate::Refusal`] is ready to use.
    type Refusal;

    /// Applies one command.
    ///
    /// # Errors
    ///
    /// A refusal. **A refused command must not change the state**: check first, change after. The host does not undo
    /// the changes of a refused command. (It undoes a trap, at a higher cost.) The harness in [`crate::testing`] compares
    /// the state before and after each refusal and fails the test if they differ. What a refused command did through `cx`
    /// is undone.
    ///
    /// # Panics
    ///
    /// A panic is a trap: the host undoes the whole command, and the client gets the error code `trap`. Use a panic for a
    /// bug in the guest, not for an invalid command.
    fn apply(
        &mut self,
        cx: &mut Apply<'_>,
        command: Self::Command,
    ) -> Result<Self::Reply, Self::Refusal>;

    /// Evaluates a query on the current state.
    ///
    /// # Errors
    ///
    /// A refusal, for a query that has no response.
    fn query(&self, cx: &Read<'_>, query: Self::Query) -> Result<Self::Response, Self::Refusal>;

    /// Called through the log, at or after the time set with [`Apply::wake_at`]. It may change the state, but it cannot
    /// refuse. The default does nothing.
    fn on_wake(&mut self, cx: &mut Apply<'_>) {
        let _ = cx;
    }

    /// Called through the log, at or after the time of the timer `id` that [`Apply::set_timer`] set. The timer is no longer
    /// set; it may be set again here. It may change the state, but it cannot refuse. The default does nothing.
    ///
    /// # Panics
    ///
    /// A panic undoes all that fired in the same wake-up, and none of it is lost: the SDK tries again after the next command.
    /// A handler that always fails blocks all later timers, until an upgrade corrects it.
    fn on_timer(&mut self, cx: &mut Apply<'_>, id: &str) {
        let _ = (cx, id);
    }

    /// Called through the log when the deadline of a deferred command has passed, before the reply that its `apply` returned
    /// is sent. Remove the token from your own queues here. [`Apply::complete`] with this token sends another reply instead.
    /// The default does nothing.
    fn on_deadline(&mut self, cx: &mut Apply<'_>, token: Token) {
        let _ = (cx, token);
    }

    /// Converts a state that an older version of this guest wrote. Never called for a state of the current version.
    ///
    /// If the layout is unchanged, the whole method is `old.decode()`. If only names of fields changed, it is
    /// `old.decode_renamed()`. Otherwise keep the old type and convert it: `Ok(old.decode::<StateV1>()?.into())`.
    ///
    /// Also called for a state of another guest with another layout, if an operator replaces that guest by this one with
    /// `oarlock upgrade --replace-machine`. Then [`OldState::name`] is the name of that guest.
    ///
    /// # Errors
    ///
    /// The default refuses every older state. The encoding does not describe itself, so bytes of another layout could
    /// decode to a wrong state without an error.
    fn migrate(old: OldState<'_>) -> Result<Self, MigrateError> {
        Err(MigrateError::NotImplemented {
            version: old.version(),
        })
    }
}
