//! The codec `bytes`: messages are passed through unchanged. The guest decodes them itself.

use std::fmt::Display;

use super::api::{Codec, EncodeError, MessageKind};
use crate::machine::StateMachine;
use crate::refusal::Refusal;

/// Messages are raw bytes. `Vec<u8>` works for all of them. Commands and queries may be any type that converts from
/// `Vec<u8>`; replies, responses and refusals any type that can be borrowed as bytes.
#[derive(Debug, Clone, Copy)]
pub enum Bytes {}

fn decode<T: TryFrom<Vec<u8>>>(kind: MessageKind, bytes: &[u8]) -> Result<T, Refusal>
where
    T::Error: Display,
{
    T::try_from(bytes.to_vec()).map_err(|error| {
        let text = format!("the {} cannot be decoded: {error}", kind.noun());
        Refusal::new(kind.code(), text)
    })
}

impl<M: StateMachine> Codec<M> for Bytes
where
    M::Command: TryFrom<Vec<u8>, Error: Display>,
    M::Query: TryFrom<Vec<u8>, Error: Display>,
    M::Reply: AsRef<[u8]>,
    M::Response: AsRef<[u8]>,
    M::Refusal: AsRef<[u8]>,
{
    const NAME: &'static str = "bytes";

    fn decode_command(bytes: &[u8]) -> Result<M::Command, Refusal> {
        decode(MessageKind::Command, bytes)
    }

    fn decode_query(bytes: &[u8]) -> Result<M::Query, Refusal> {
        decode(MessageKind::Query, bytes)
    }

    fn encode_reply(reply: &M::Reply, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(reply.as_ref());
        Ok(())
    }

    fn encode_response(response: &M::Response, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(response.as_ref());
        Ok(())
    }

    fn encode_refusal(refusal: &M::Refusal, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(refusal.as_ref());
        Ok(())
    }
}
