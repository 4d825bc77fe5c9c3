use serde::{Deserialize, Serialize};

use super::crc::Crc;
use super::layout::CHUNK_BYTES;
use super::*;
use crate::{Apply, Read, Refusal, StateMachine, state_machine};

/// A guest whose commands do nothing. Only its state matters here.
macro_rules! keeper {
    ($name:ident, $version:literal, $($migrate:item)?) => {
        #[state_machine(name = "keeper", version = $version)]
        impl StateMachine for $name {
            type Command = ();
            type Reply = ();
            type Query = ();
            type Response = ();
            type Refusal = Refusal;

            fn apply(&mut self, _cx: &mut Apply<'_>, (): ()) -> Result<(), Refusal> {
                Ok(())
            }

            fn query(&self, _cx: &Read<'_>, (): ()) -> Result<(), Refusal> {
                Ok(())
            }

            $($migrate)?
        }
    };
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Two {
    names: Vec<String>,
}
keeper!(Two, 2,);

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Three {
    names: Vec<String>,
    count: u64,
}
keeper!(
    Three,
    3,
    fn migrate(old: OldState<'_>) -> Result<Self, MigrateError> {
        if old.version() < 2 {
            return Err(MigrateError::Refused(
                "version 1 was never released".to_owned(),
            ));
        }
        let Two { names } = old.decode()?;
        Ok(Self {
            count: names.len() as u64,
            names,
        })
    }
);

#[derive(Debug, Default, Serialize, Deserialize)]
struct OtherTwo {
    a: u64,
    b: u64,
    c: String,
}
keeper!(OtherTwo, 2,);

fn two() -> Two {
    Two {
        names: vec!["oar".into(), "lock".into()],
    }
}

fn chunks(state: &Two) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    write(state, &mut |chunk| chunks.push(chunk.to_vec())).unwrap();
    chunks
}

fn read_from<M: crate::Guest>(written_by: u32, bytes: &[u8]) -> Result<M, RestoreError> {
    let mut rest = bytes;
    read(written_by, &mut |_| {
        let (chunk, later) = rest.split_at(rest.len().min(7));
        rest = later;
        chunk.to_vec()
    })
}

/// The bytes with a matching checksum.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut crc = Crc::new();
    let end = bytes.len() - 4;
    crc.add(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.value().to_le_bytes());
    bytes
}

#[test]
fn the_checksum_is_crc_32c() {
    let mut crc = Crc::new();
    crc.add(b"12345");
    crc.add(b"6789");
    assert_eq!(crc.value(), 0xE306_9283);
}

#[test]
fn the_layout_is_the_documented_one() {
    let bytes = chunks(&two()).concat();
    let state = b"\x02\x03oar\x04lock";
    assert_eq!(&bytes[..16], b"OARLOCKG\x01\0\0\0\x02\0\0\0");
    assert_eq!(&bytes[16..16 + state.len()], state);
    assert_eq!(&bytes[16 + state.len()..][..8], 10_u64.to_le_bytes());
    assert_eq!(bytes, sealed(bytes.clone()));
    assert_eq!(bytes.len(), 16 + state.len() + 12);
}

#[test]
fn a_state_survives_writing_and_reading() {
    let bytes = chunks(&two()).concat();
    assert_eq!(read_from::<Two>(2, &bytes).unwrap(), two());
    assert_eq!(read_from::<Two>(0, &bytes).unwrap(), two());
}

#[test]
fn chunks_have_one_mebibyte_and_the_last_has_the_rest() {
    let large = Two {
        names: (0..700).map(|n| format!("{n:04}").repeat(1000)).collect(),
    };
    let chunks = chunks(&large);
    let lengths: Vec<_> = chunks.iter().map(Vec::len).collect();
    assert_eq!(lengths[..2], [CHUNK_BYTES, CHUNK_BYTES]);
    assert_eq!(lengths.len(), 3);
    assert!(lengths[2] < CHUNK_BYTES);
    assert_eq!(read_from::<Two>(2, &chunks.concat()).unwrap(), large);
}

#[test]
fn every_flipped_bit_is_detected() {
    let bytes = chunks(&two()).concat();
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        read_from::<Two>(0, &bytes).unwrap_err();
    }
}

#[test]
fn every_shorter_or_longer_snapshot_is_refused() {
    let bytes = chunks(&two()).concat();
    for length in 0..bytes.len() {
        read_from::<Two>(2, &bytes[..length]).unwrap_err();
    }
    let longer = [&bytes[..], b"x"].concat();
    assert!(matches!(
        read_from::<Two>(2, &longer),
        Err(RestoreError::Corrupt { .. })
    ));
    assert!(matches!(
        read_from::<Two>(2, &bytes[..20]),
        Err(RestoreError::Truncated {
            length: 20,
            minimum: 28
        })
    ));
    assert!(matches!(
        read_from::<Two>(2, b""),
        Err(RestoreError::NotASnapshot)
    ));
}

#[test]
fn a_wrong_length_is_refused_even_with_a_matching_checksum() {
    let mut bytes = chunks(&two()).concat();
    let at = bytes.len() - 12;
    bytes[at] += 1;
    let error = read_from::<Two>(2, &sealed(bytes)).unwrap_err();
    assert!(
        error.to_string().contains("the length does not match"),
        "{error}"
    );
}

#[test]
fn a_snapshot_of_a_newer_version_is_refused() {
    let mut bytes = Vec::new();
    write(&Three::default(), &mut |chunk| {
        bytes.extend_from_slice(chunk);
    })
    .unwrap();
    let error = read_from::<Two>(3, &bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the snapshot was written by version 3 of keeper, and this is version 2, which cannot read a newer \
         state; use version 3 or later"
    );
}

#[test]
fn a_newer_layout_is_refused() {
    let mut bytes = chunks(&two()).concat();
    bytes[8] = 2;
    let error = read_from::<Two>(2, &sealed(bytes)).unwrap_err();
    assert!(
        matches!(
            error,
            RestoreError::UnknownLayout {
                found: 2,
                supported: 1
            }
        ),
        "{error}"
    );
}

#[test]
fn a_writer_that_differs_from_the_hosts_is_refused() {
    let bytes = chunks(&two()).concat();
    assert!(matches!(
        read_from::<Two>(1, &bytes),
        Err(RestoreError::WriterMismatch {
            host: 1,
            snapshot: 2
        })
    ));
}

#[test]
fn an_older_state_is_migrated() {
    let bytes = chunks(&two()).concat();
    let three = read_from::<Three>(2, &bytes).unwrap();
    assert_eq!(
        three,
        Three {
            names: two().names,
            count: 2
        }
    );
}

#[test]
fn an_older_state_without_a_migration_is_refused() {
    let mut bytes = chunks(&two()).concat();
    bytes[12] = 1;
    let bytes = sealed(bytes);
    let error = read_from::<Two>(1, &bytes).unwrap_err();
    assert!(
        error.to_string().contains("this guest has no `migrate`"),
        "{error}"
    );
    let error = read_from::<Three>(1, &bytes).unwrap_err();
    assert!(
        error.to_string().contains("version 1 was never released"),
        "{error}"
    );
}

#[test]
fn a_state_of_another_type_under_the_same_version_is_refused() {
    let error = read_from::<OtherTwo>(2, &chunks(&two()).concat()).unwrap_err();
    assert!(
        matches!(error, RestoreError::Decode { version: 2, .. }),
        "{error}"
    );
    let nothing = chunks(&Two::default()).concat();
    assert!(matches!(
        read_from::<OtherTwo>(2, &nothing),
        Err(RestoreError::Decode { .. })
    ));
}
