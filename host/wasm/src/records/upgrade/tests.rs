use super::*;
use crate::records::envelope::{Envelope, EnvelopeError};

fn every_record() -> Vec<UpgradeRecord> {
    let (upgrade, state) = (Index(7), Sha256([9; 32]));
    let begin = UpgradeBegin {
        sha256: Sha256([1; 32]),
        bytes: 300,
        wait_ms: 60_000,
        dry_run: true,
        by: "ann".to_owned(),
    };
    let report = |result| UpgradeRecord::Report {
        upgrade,
        node: "node1".to_owned(),
        result,
    };
    let close = |end| UpgradeRecord::Close { upgrade, end };
    let message = "no room".to_owned();
    vec![
        UpgradeRecord::Begin(begin),
        UpgradeRecord::Chunk {
            upgrade,
            offset: 100,
            bytes: Bytes::from_static(b"bytes"),
        },
        report(CheckResult::Ready {
            tried_at: Index(8),
            route: MigrationRoute::Journal,
            state,
        }),
        report(CheckResult::Refused {
            message: message.clone(),
        }),
        UpgradeRecord::Activate {
            upgrade,
            route: MigrationRoute::Snapshot,
            state,
        },
        close(UpgradeEnd::DryRunPassed),
        close(UpgradeEnd::Aborted {
            cause: AbortCause::StatesDiffer,
            message,
        }),
    ]
}

#[test]
fn an_encoded_record_decodes_to_the_same() {
    for record in every_record() {
        let bytes = Envelope::upgrade(&record);
        assert_eq!(bytes[0], 2, "the version of the envelope");
        assert_eq!(Envelope::decode(&bytes), Ok(Envelope::Upgrade(record)));
    }
}

#[test]
fn the_bytes_are_as_documented() {
    let close = UpgradeRecord::Close {
        upgrade: Index(7),
        end: UpgradeEnd::because(AbortCause::TimedOut),
    };
    assert_eq!(
        Envelope::upgrade(&close)[..],
        *b"\x02\x04\x07\0\0\0\0\0\0\0\x02\x02\0\0\0\0\0\0\0\0"
    );
    let chunk = UpgradeRecord::Chunk {
        upgrade: Index(7),
        offset: 5,
        bytes: Bytes::from_static(b"xy"),
    };
    assert_eq!(
        Envelope::upgrade(&chunk)[..],
        *b"\x02\x01\x07\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0xy"
    );
}

#[test]
fn truncated_overlong_and_unknown_records_are_refused() {
    let decode = |bytes: &[u8]| Envelope::decode(&Bytes::copy_from_slice(bytes));
    for record in every_record() {
        let complete = Envelope::upgrade(&record);
        // The bytes of a chunk may be any number; the machine refuses an empty one.
        let least = match &record {
            UpgradeRecord::Chunk { bytes, .. } => complete.len() - bytes.len(),
            _ => complete.len(),
        };
        for length in 1..least {
            assert_eq!(decode(&complete[..length]), Err(EnvelopeError::Upgrade));
        }
        if least == complete.len() {
            let longer = [&complete[..], b"x"].concat();
            assert_eq!(decode(&longer), Err(EnvelopeError::Upgrade));
        }
    }
    assert_eq!(decode(b"\x02\x09"), Err(EnvelopeError::Upgrade));
    assert_eq!(decode(b"\x02"), Err(EnvelopeError::Upgrade));
}

#[test]
fn messages_have_a_limit() {
    let refused = CheckResult::refused(&"ü".repeat(MAX_MESSAGE_BYTES));
    let CheckResult::Refused { message } = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(message.len(), MAX_MESSAGE_BYTES);
    let report = |message: String| {
        let result = CheckResult::Refused { message };
        Envelope::upgrade(&UpgradeRecord::Report {
            upgrade: Index(1),
            node: "n".to_owned(),
            result,
        })
    };
    assert!(Envelope::decode(&report(message.clone())).is_ok());
    assert_eq!(
        Envelope::decode(&report(format!("{message}x"))),
        Err(EnvelopeError::Upgrade)
    );
}
