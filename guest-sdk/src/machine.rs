//! The trait that a guest's author implements, and the name card that the attribute adds to it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::Codec;
use crate::context::{Apply, Read};
use crate::snapshot::{MigrateError, OldState};

/// A replicated state machine: the state is `Self`, and commands change it.
///
/// Every node applies the same commands in the same order, so [`apply`](Self::apply) has to be a function
/// of the state, of what `cx` says and of the command, and of nothing else. See the crate page for what
/// that rules out.
///
/// The state is written and read by serde: `#[derive(Default, Serialize, Deserialize)]` is enough. Its
/// default is the state of a cluster that has seen no command.
pub trait StateMachine: Default + Serialize + DeserializeOwned + 'static {
    /// What changes the state. With JSON, an enum with
    /// `#[serde(rename_all = "snake_case", deny_unknown_fields)]` reads `{"add":{"by":5}}`.
    type Command;
    /// What an accepted command is answered with.
    type Reply;
    /// A question that changes nothing. It is not in the log.
    type Query;
    /// What a query is answered with.
    type Answer;
    /// The words of a refusal; [`crate::Refusal`] is ready-made.
    type Refusal;

    /// Applies one command.
    ///
    /// # Errors
    ///
    /// A refusal. **A refused command changed nothing**: decide first, change after. The host does not
    /// undo what a refused command did (it undoes a trap, which is dear); the harness of
    /// [`crate::testing`] compares the state before and after each refusal and fails the test if they
    /// differ. What a refused command emitted or asked for through `cx` is dropped.
    ///
    /// # Panics
    ///
    /// A panic is a trap: the host undoes the command completely and answers with the code `trap`.
    /// It is for what cannot happen, not for a command that is wrong.
    fn apply(
        &mut self,
        cx: &mut Apply<'_>,
        command: Self::Command,
    ) -> Result<Self::Reply, Self::Refusal>;

    /// Answers a question about the state as it stands.
    ///
    /// # Errors
    ///
    /// A refusal, for a question that has no answer.
    fn query(&self, cx: &Read<'_>, query: Self::Query) -> Result<Self::Answer, Self::Refusal>;

    /// Called through the log, at or after the time that [`Apply::wake_at`] asked for. Like a command it
    /// may change the state; unlike one it cannot be refused. Does nothing unless you write it.
    fn on_wake(&mut self, cx: &mut Apply<'_>) {
        let _ = cx;
    }

    /// Reads a state that an older version of this guest wrote.
    ///
    /// If the layout is still the same, `old.decode()` is the whole method; if it is not, keep the old
    /// type and convert it: `Ok(old.decode::<StateV1>()?.into())`. It is never called for a state of the
    /// present version.
    ///
    /// # Errors
    ///
    /// Unless you write it, every older state is refused: the encoding does not describe itself, so a
    /// changed layout could be read as nonsense that looks whole.
    fn migrate(old: OldState<'_>) -> Result<Self, MigrateError> {
        Err(MigrateError::NotWritten {
            version: old.version(),
        })
    }
}

/// Who a guest is. Written by the [`state_machine`](crate::state_machine) attribute, not by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is a state machine without a name",
    label = "not a guest yet",
    note = "put `#[state_machine(name = \"…\", version = 1)]` on its `impl StateMachine`"
)]
pub trait Guest: StateMachine {
    /// Short and stable, such as `task-queue`.
    const NAME: &'static str;
    /// Rises with each release that changes the state or the commands. A snapshot names the version that
    /// wrote it, and an older guest refuses it.
    const VERSION: u32;
    /// JSON Schema of commands and queries, or empty.
    const SCHEMA: &'static str;
    /// How commands, replies, queries and answers are written in bytes.
    type Codec: Codec<Self>;
}
