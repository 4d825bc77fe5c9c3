//! How commands, queries and what is said to them are written in bytes.
//!
//! JSON unless the attribute names another: `#[state_machine(name = "…", version = 1, codec = "bytes")]`.
//! Any type that implements [`Codec`] can be given by its path: `codec = my_crate::Borsh`.

mod bytes;
mod json;

use std::error::Error;

pub use bytes::Bytes;
pub use json::Json;

use crate::{Refusal, StateMachine};

/// A way to write the messages of the state machine `M` in bytes.
#[diagnostic::on_unimplemented(
    message = "the codec `{Self}` cannot carry the messages of `{M}`",
    note = "`Json` needs `Deserialize` on Command and Query, and `Serialize` on Reply, Answer and Refusal",
    note = "`Bytes` needs `TryFrom<Vec<u8>>` on Command and Query, and `AsRef<[u8]>` on Reply, Answer and Refusal"
)]
pub trait Codec<M: StateMachine> {
    /// What the host shows: `json`, `bytes`, ….
    const NAME: &'static str;

    /// Reads a command.
    ///
    /// # Errors
    ///
    /// A refusal with the code `bad_command` that names what is wrong.
    fn decode_command(bytes: &[u8]) -> Result<M::Command, Refusal>;

    /// Reads a query.
    ///
    /// # Errors
    ///
    /// A refusal with the code `bad_query` that names what is wrong.
    fn decode_query(bytes: &[u8]) -> Result<M::Query, Refusal>;

    /// Adds a reply to `out`.
    ///
    /// # Errors
    ///
    /// The reply has no form in this codec. The command is then undone by a trap.
    fn encode_reply(reply: &M::Reply, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Adds an answer to `out`.
    ///
    /// # Errors
    ///
    /// The answer has no form in this codec.
    fn encode_answer(answer: &M::Answer, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Adds the state machine's own refusal to `out`.
    ///
    /// # Errors
    ///
    /// The refusal has no form in this codec.
    fn encode_refusal(refusal: &M::Refusal, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Adds the refusal of bytes that [`decode_command`](Self::decode_command) or
    /// [`decode_query`](Self::decode_query) could not read. JSON text unless the codec says otherwise.
    fn encode_malformed(refusal: &Refusal, out: &mut Vec<u8>) {
        out.extend_from_slice(refusal.to_json().as_bytes());
    }
}

/// A reply, answer or refusal that its codec cannot write, such as a JSON map whose keys are lists.
#[derive(Debug, thiserror::Error)]
#[error("the {what} has no form in the codec {codec}: {source}; change its type")]
pub struct EncodeError {
    /// `reply`, `answer` or `refusal`.
    pub what: &'static str,
    /// Name of the codec.
    pub codec: &'static str,
    /// What the encoder said.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// What is being read. It decides the code and the words of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    Command,
    Query,
}

impl Message {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Command => "bad_command",
            Self::Query => "bad_query",
        }
    }

    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Query => "query",
        }
    }
}
