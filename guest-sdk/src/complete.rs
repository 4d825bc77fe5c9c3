//! Completing a deferred command with a typed reply.

use crate::codec::{Codec, EncodeError};
use crate::context::{Apply, LateReply};
use crate::guest::Guest;
use crate::token::Token;

impl Apply<'_> {
    /// Completes a deferred command: its client gets this reply. `M` is the state machine, in its own methods `Self`:
    /// `cx.complete::<Self>(token, &reply)`.
    ///
    /// Returns whether the command was waiting. False, and nothing happens, if it was completed before, if its deadline has
    /// passed, or if there was never such a token.
    ///
    /// # Panics
    ///
    /// The codec cannot encode the reply. In a module this is a trap: the host undoes the command.
    pub fn complete<M: Guest>(&mut self, token: Token, reply: &M::Reply) -> bool {
        self.finish(token, true, |out| M::Codec::encode_reply(reply, out))
    }

    /// Completes a deferred command with a refusal: `cx.refuse::<Self>(token, &refusal)`. Otherwise like
    /// [`complete`](Self::complete). It is the client's answer and undoes nothing: what the command changed before it was
    /// deferred stays.
    ///
    /// # Panics
    ///
    /// As [`complete`](Self::complete).
    pub fn refuse<M: Guest>(&mut self, token: Token, refusal: &M::Refusal) -> bool {
        self.finish(token, false, |out| M::Codec::encode_refusal(refusal, out))
    }

    fn finish(
        &mut self,
        token: Token,
        accepted: bool,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> bool {
        if !self.is_waiting(token) {
            return false;
        }
        let mut body = Vec::new();
        if let Err(error) = encode(&mut body) {
            panic!("{error}");
        }
        self.complete_encoded(LateReply {
            token,
            accepted,
            body,
        })
    }
}
