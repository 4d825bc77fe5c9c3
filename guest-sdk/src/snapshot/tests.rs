use serde::{Deserialize, Serialize};

use super::crc::Crc;
use super::format::CHUNK_BYTES;
use super::read::Restored;
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

/// The SDK's own state in these tests.
const RUNTIME: &[u8] = b"timers";

/// The state `two()`, as an SDK before format 2 wrote it.
const FORMAT_1: &[u8] = include_bytes!("testdata/format-1.bin");

fn chunks(state: &Two) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    write(state, Some(RUNTIME), &mut |chunk| {
        chunks.push(chunk.to_vec());
    })
    .unwrap();
    chunks
}

fn read_from<M: crate::Guest>(written_by: u32, bytes: &[u8]) -> Result<M, RestoreError> {
    restored_from(written_by, bytes).map(|restored| restored.state)
}

fn restored_from<M: crate::Guest>(
    written_by: u32,
    bytes: &[u8],
) -> Result<Restored<M>, RestoreError> {
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
fn the_format_is_the_documented_one() {
    let bytes = chunks(&two()).concat();
    let layout = own_identity::<Two>().layout.unwrap_or_default();
    let length = u8::try_from(layout.len()).unwrap();
    let expected = [
        b"OARLOCKG\x02\0\0\0\x02\0\0\0\x06keeper",
        &[length][..],
        layout.as_bytes(),
        b"\x06\0\0\0\0\0\0\0timers",
        b"\x02\x03oar\x04lock",
        b"\x0a\0\0\0\0\0\0\0",
    ];
    assert_eq!(bytes[..bytes.len() - 4], expected.concat());
    assert_eq!(bytes, sealed(bytes.clone()));
}

#[test]
fn a_snapshot_of_format_1_is_read() {
    let restored = restored_from::<Two>(2, FORMAT_1).unwrap();
    assert_eq!(restored.state, two());
    assert_eq!(restored.runtime, None);
    let migrated = read_from::<Three>(2, FORMAT_1).unwrap();
    assert_eq!((migrated.names, migrated.count), (two().names, 2));
    let mut newer = FORMAT_1.to_vec();
    newer[12] = 3;
    assert!(matches!(
        read_from::<Two>(3, &sealed(newer)),
        Err(RestoreError::NewerVersion { written_by: 3, .. })
    ));
    for length in 0..FORMAT_1.len() {
        read_from::<Two>(2, &FORMAT_1[..length]).unwrap_err();
    }
}

#[test]
fn the_state_of_the_sdk_survives_a_restore_and_a_migration() {
    let bytes = chunks(&two()).concat();
    let restored = restored_from::<Two>(2, &bytes).unwrap();
    assert_eq!(restored.runtime.as_deref(), Some(RUNTIME));
    let migrated = restored_from::<Three>(2, &bytes).unwrap();
    assert_eq!(migrated.runtime.as_deref(), Some(RUNTIME));
}

#[test]
fn a_header_that_is_longer_than_the_snapshot_is_refused() {
    let bytes = chunks(&two()).concat();
    let name = 16;
    let runtime = bytes.len() - 12 - 10 - RUNTIME.len() - 8;
    for (at, value) in [(name, 255), (runtime, 255), (runtime + 7, 255)] {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        let error = read_from::<Two>(2, &sealed(bytes)).unwrap_err();
        assert!(matches!(error, RestoreError::Corrupt { .. }), "{error}");
    }
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
        read_from::<Two>(2, &FORMAT_1[..20]),
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
    write(&Three::default(), Some(&[]), &mut |chunk| {
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
fn an_unknown_format_is_refused() {
    for format in [0, 3] {
        let mut bytes = chunks(&two()).concat();
        bytes[8] = format;
        let error = read_from::<Two>(2, &sealed(bytes)).unwrap_err();
        let expected =
            format!("the snapshot has format {format}, and this guest reads formats 1 to 2");
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
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
    let text = error.to_string();
    assert!(matches!(error, RestoreError::OtherLayout(_)), "{text}");
    for part in [
        "keeper version 2 (layout serde1:",
        "raise the version and write `migrate`",
    ] {
        assert!(text.contains(part), "{text}");
    }
    // Format 1 has no fingerprint. Then only bytes that are no state of this type are detected.
    let error = read_from::<OtherTwo>(2, FORMAT_1).unwrap_err();
    assert!(
        matches!(&error, RestoreError::Decode { written_by, .. } if written_by.version == 2),
        "{error}"
    );
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Basket {
    apples: u64,
    pears: u64,
}

/// The same fields in another order: all bytes of a basket are one of these.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Swapped {
    pears: u64,
    apples: u64,
}

/// Guests of these tests, with their own name.
macro_rules! named {
    ($name:literal, $version:literal, $type:ident, $($migrate:item)?) => {
        #[state_machine(name = $name, version = $version)]
        impl StateMachine for $type {
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
named!("basket", 7, Basket,);
named!("basket", 7, Swapped,);

fn basket() -> Vec<u8> {
    let mut bytes = Vec::new();
    let basket = Basket {
        apples: 2,
        pears: 5,
    };
    write(&basket, Some(&[]), &mut |chunk| {
        bytes.extend_from_slice(chunk);
    })
    .unwrap();
    bytes
}

#[test]
fn two_swapped_numbers_are_not_exchanged_by_a_restore() {
    let error = read_from::<Swapped>(7, &basket()).unwrap_err();
    assert!(matches!(error, RestoreError::OtherLayout(_)), "{error}");
}

#[test]
fn a_migration_decodes_only_a_type_of_the_same_layout() {
    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Next(Swapped);
    named!(
        "basket",
        8,
        Next,
        fn migrate(old: OldState<'_>) -> Result<Self, MigrateError> {
            Ok(Self(old.decode()?))
        }
    );
    let error = read_from::<Next>(7, &basket()).unwrap_err().to_string();
    for part in [
        "basket version 7 (layout ",
        "basket version 8 (",
        "decode_renamed",
    ] {
        assert!(error.contains(part), "{error}");
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Renamed {
        red: u64,
        green: u64,
    }
    named!(
        "basket",
        8,
        Renamed,
        fn migrate(old: OldState<'_>) -> Result<Self, MigrateError> {
            old.decode_renamed()
        }
    );
    assert_eq!(
        read_from::<Renamed>(7, &basket()).unwrap(),
        Renamed { red: 2, green: 5 }
    );

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Narrower {
        apples: u64,
        pears: u32,
    }
    named!(
        "basket",
        8,
        Narrower,
        fn migrate(old: OldState<'_>) -> Result<Self, MigrateError> {
            old.decode_renamed()
        }
    );
    let error = read_from::<Narrower>(7, &basket()).unwrap_err().to_string();
    assert!(
        error.contains("keep the state type of that version"),
        "{error}"
    );
}

#[test]
fn a_state_of_another_guest_is_read_if_the_layout_is_the_same_or_migrate_takes_it() {
    /// The layout of `Basket`.
    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Bowl {
        apples: u64,
        pears: u64,
    }
    named!("bowl", 1, Bowl,);
    assert_eq!(
        read_from::<Bowl>(7, &basket()).unwrap(),
        Bowl {
            apples: 2,
            pears: 5
        }
    );

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Pears {
        pears: u64,
        apples: u64,
    }
    named!("pears", 1, Pears,);
    let error = read_from::<Pears>(7, &basket()).unwrap_err().to_string();
    for part in [
        "basket version 7 (",
        "pears version 1 (",
        "has no `migrate`",
    ] {
        assert!(error.contains(part), "{error}");
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Crate {
        fruits: u64,
    }
    named!(
        "crate",
        1,
        Crate,
        fn migrate(old: OldState<'_>) -> Result<Self, MigrateError> {
            assert_eq!((old.name(), old.version()), (Some("basket"), 7));
            let Basket { apples, pears } = old.decode()?;
            Ok(Self {
                fruits: apples + pears,
            })
        }
    );
    assert_eq!(
        read_from::<Crate>(7, &basket()).unwrap(),
        Crate { fruits: 7 }
    );
}

/// Its type refuses every made-up value.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
struct Choosy(Vec<u8>);

impl From<Choosy> for Vec<u8> {
    fn from(choosy: Choosy) -> Self {
        choosy.0
    }
}

impl Clone for Choosy {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl TryFrom<Vec<u8>> for Choosy {
    type Error = &'static str;

    fn try_from(bytes: Vec<u8>) -> Result<Self, Self::Error> {
        if bytes.len() == 3 || bytes.is_empty() {
            Ok(Self(bytes))
        } else {
            Err("three or none")
        }
    }
}

#[state_machine(name = "choosy", version = 1, layout = "choosy-1")]
impl StateMachine for Choosy {
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
}

#[test]
fn a_layout_that_the_attribute_names_is_compared_with_names_only() {
    let own = own_identity::<Choosy>();
    assert_eq!(own.layout.as_deref(), Some("choosy-1"));
    let with = |layout: &str| GuestIdentity {
        layout: Some(layout.to_owned()),
        ..own.clone()
    };
    assert_eq!(with("choosy-1").has_layout_of(&own), Some(true));
    assert_eq!(with("choosy-2").has_layout_of(&own), Some(false));
    let derived = with("serde1:00000000-0000000000000000");
    assert_eq!(derived.has_layout_of(&own), Some(false));
    let later = with("serde2:00000000-0000000000000000");
    assert_eq!(derived.has_layout_of(&later), None);
    // The author's own texts: another language's guest has another one.
    for (one, other) in [
        ("lock-python:1", "lock-js:1"),
        ("serde1:00000000-0000000000000000", "lock-js:1"),
        ("serde1:00000000-0000000000000000", "serde:1"),
    ] {
        assert_eq!(with(one).has_layout_of(&with(other)), Some(false));
        assert_eq!(with(other).has_layout_of(&with(one)), Some(false));
    }
    let mut bytes = Vec::new();
    write(&Choosy(vec![1, 2, 3]), Some(&[]), &mut |chunk| {
        bytes.extend_from_slice(chunk);
    })
    .unwrap();
    assert_eq!(
        read_from::<Choosy>(1, &bytes).unwrap(),
        Choosy(vec![1, 2, 3])
    );
}
