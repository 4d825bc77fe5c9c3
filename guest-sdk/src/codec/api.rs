//! The trait that every codec implements, and its error.

use std::error::Error;

use crate::machine::StateMachine;
use crate::refusal::Refusal;

/// Encodes and decodes the messages of the state machine `M`.
#[diagnostic::on_unimplemented(
    message = "the codec `{Self}` cannot encode the messages of `{M}`",
    note = "`Json` needs `Deserialize` on Command and Query, and `Serialize` on Reply, Response and Refusal",
    note = "`Bytes` needs `TryFrom<Vec<u8>>` on Command and Query, and `AsRef<[u8]>` on Reply, Response and Refusal"
)]
pub trait Codec<M: StateMachine> {
    /// Name that the host shows, for example `json` or `bytes`.
    const NAME: &'static str;

    /// Decodes a command.
    ///
    /// # Errors
    ///
    /// A refusal with the code `bad_command`. Its message names the part that is wrong.
    fn decode_command(bytes: &[u8]) -> Result<M::Command, Refusal>;

    /// Decodes a query.
    ///
    /// # Errors
    ///
    /// A refusal with the code `bad_query`. Its message names the part that is wrong.
    fn decode_query(bytes: &[u8]) -> Result<M::Query, Refusal>;

    /// Appends the encoded reply to `out`.
    ///
    /// # Errors
    ///
    /// This codec cannot encode the reply. The guest traps, and the host undoes the command.
    fn encode_reply(reply: &M::Reply, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Appends the encoded response to a query to `out`.
    ///
    /// # Errors
    ///
    /// This codec cannot encode the response. The guest traps, and the query fails.
    fn encode_response(response: &M::Response, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Appends the state machine's own refusal to `out`.
    ///
    /// # Errors
    ///
    /// This codec cannot encode the refusal. The guest traps.
    fn encode_refusal(refusal: &M::Refusal, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Appends the refusal of bytes that [`decode_command`](Self::decode_command) or
    /// [`decode_query`](Self::decode_query) could not decode. The default writes JSON.
    fn encode_malformed(refusal: &Refusal, out: &mut Vec<u8>) {
        out.extend_from_slice(refusal.to_json().as_bytes());
    }
}

/// The codec cannot encode a reply, response or refusal. Example: a JSON map whose keys are lists.
#[derive(Debug, thiserror::Error)]
#[error("the codec {codec} cannot encode the {what}: {source}; change the type of the {what}")]
pub struct EncodeError {
    /// `reply`, `response` or `refusal`.
    pub what: &'static str,
    /// Name of the codec.
    pub codec: &'static str,
    /// Error of the encoder.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// Which kind of message is decoded. It selects the refusal's code and the noun of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessageKind {
    Command,
    Query,
}

impl MessageKind {
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
