//! Records of what operators do: one when a request begins, and one when it has ended.
//!
//! ```text
//! text      u16: length · UTF-8
//! kind 48   text who · text what · text details
//! kind 49   u64 the entry of the beginning · text: the code of the error, empty if the request succeeded
//! ```

use bytes::{BufMut, BytesMut};
use task_queue_raft::ids::Index;

use super::text::{put_text, take_text};

/// Kinds.
pub(crate) const BEGIN: u8 = 48;
pub(crate) const END: u8 = 49;
/// Longest text, in bytes. Longer ones are cut.
pub(crate) const MAX_TEXT_BYTES: usize = 512;

/// A record of what an operator does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationRecord {
    /// A request begins. The index of this entry identifies it.
    Begin {
        /// The name of the operator.
        by: String,
        /// What the request does, such as `addMember`.
        what: String,
        /// Its arguments, for people.
        details: String,
    },
    /// A request has ended.
    End {
        /// The entry with which it began.
        begun: Index,
        /// The code of the error, empty if the request succeeded.
        code: String,
    },
}

impl OperationRecord {
    /// Appends kind and content.
    pub(crate) fn encode(&self, to: &mut BytesMut) {
        match self {
            Self::Begin { by, what, details } => {
                to.put_u8(BEGIN);
                for text in [by, what, details] {
                    put_cut(to, text);
                }
            }
            Self::End { begun, code } => {
                to.put_u8(END);
                to.put_u64_le(begun.0);
                put_cut(to, code);
            }
        }
    }

    /// Reads what [`Self::encode`] wrote, to the last byte; `None` for anything else.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let from = &mut bytes;
        let (&kind, rest) = from.split_first()?;
        *from = rest;
        let record = match kind {
            BEGIN => Self::Begin {
                by: take_text(from, MAX_TEXT_BYTES)?,
                what: take_text(from, MAX_TEXT_BYTES)?,
                details: take_text(from, MAX_TEXT_BYTES)?,
            },
            END => {
                let (begun, rest) = from.split_first_chunk()?;
                *from = rest;
                Self::End {
                    begun: Index(u64::from_le_bytes(*begun)),
                    code: take_text(from, MAX_TEXT_BYTES)?,
                }
            }
            _ => return None,
        };
        from.is_empty().then_some(record)
    }
}

/// Cuts a text that is too long.
fn put_cut(to: &mut BytesMut, text: &str) {
    put_text(to, &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(record: &OperationRecord) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        record.encode(&mut bytes);
        bytes.to_vec()
    }

    fn begin(details: &str) -> OperationRecord {
        OperationRecord::Begin {
            by: "ann".to_owned(),
            what: "snapshot".to_owned(),
            details: details.to_owned(),
        }
    }

    #[test]
    fn a_record_survives_its_encoding_and_has_these_bytes() {
        let end = OperationRecord::End {
            begun: Index(7),
            code: "timeout".to_owned(),
        };
        assert_eq!(
            encoded(&begin("n")),
            b"\x30\x03\x00ann\x08\x00snapshot\x01\x00n"
        );
        assert_eq!(
            encoded(&end),
            b"\x31\x07\x00\x00\x00\x00\x00\x00\x00\x07\x00timeout"
        );
        for record in [begin("ä"), begin(""), end] {
            let bytes = encoded(&record);
            assert_eq!(OperationRecord::decode(&bytes), Some(record));
            for length in 0..bytes.len() {
                assert_eq!(OperationRecord::decode(&bytes[..length]), None, "{length}");
            }
            assert_eq!(OperationRecord::decode(&[bytes, vec![0]].concat()), None);
        }
        assert_eq!(OperationRecord::decode(b"\x32"), None);
        assert_eq!(
            OperationRecord::decode(b"\x30\x01\x00\xff\x00\x00\x00\x00"),
            None
        );
    }

    #[test]
    fn a_long_text_is_cut_and_never_refused() {
        let long = format!("{}ä", "a".repeat(MAX_TEXT_BYTES - 1));
        let Some(OperationRecord::Begin { details, .. }) =
            OperationRecord::decode(&encoded(&begin(&long)))
        else {
            panic!("it can be read");
        };
        assert_eq!(details, "a".repeat(MAX_TEXT_BYTES - 1));
        let too_long = [b"\x31\x07\0\0\0\0\0\0\0\x01\x02".to_vec(), vec![b'a'; 513]].concat();
        assert_eq!(OperationRecord::decode(&too_long), None);
    }
}
