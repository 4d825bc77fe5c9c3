//! Bytes as they are: for guests that read their messages themselves.

use std::fmt::Display;

use super::{Codec, EncodeError, Message};
use crate::{Refusal, StateMachine};

/// Messages are bytes. `Vec<u8>` works for each of them, and so does any type that is made from a
/// `Vec<u8>` (commands and queries) or can be seen as bytes (the others).
#[derive(Debug, Clone, Copy)]
pub enum Bytes {}

fn read<T: TryFrom<Vec<u8>>>(message: Message, bytes: &[u8]) -> Result<T, Refusal>
where
    T::Error: Display,
{
    T::try_from(bytes.to_vec()).map_err(|error| {
        let words = format!("the {} cannot be read: {error}", message.noun());
        Refusal::new(message.code(), words)
    })
}

impl<M: StateMachine> Codec<M> for Bytes
where
    M::Command: TryFrom<Vec<u8>, Error: Display>,
    M::Query: TryFrom<Vec<u8>, Error: Display>,
    M::Reply: AsRef<[u8]>,
    M::Answer: AsRef<[u8]>,
    M::Refusal: AsRef<[u8]>,
{
    const NAME: &'static str = "bytes";

    fn decode_command(bytes: &[u8]) -> Result<M::Command, Refusal> {
        read(Message::Command, bytes)
    }

    fn decode_query(bytes: &[u8]) -> Result<M::Query, Refusal> {
        read(Message::Query, bytes)
    }

    fn encode_reply(reply: &M::Reply, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(reply.as_ref());
        Ok(())
    }

    fn encode_answer(answer: &M::Answer, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(answer.as_ref());
        Ok(())
    }

    fn encode_refusal(refusal: &M::Refusal, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(refusal.as_ref());
        Ok(())
    }
}
