use super::*;
use crate::envelope::{Envelope, EnvelopeError};

fn every_word() -> Vec<UpgradeRecord> {
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
    let words = "no room".to_owned();
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
            message: words.clone(),
        }),
        UpgradeRecord::Activate {
            upgrade,
            route: MigrationRoute::Snapshot,
            state,
        },
        close(UpgradeEnd::DryRunPassed),
        close(UpgradeEnd::Aborted {
            cause: AbortCause::StatesDiffer,
            message: words,
        }),
    ]
}

#[test]
fn what_is_written_is_read() {
    for word in every_word() {
        let bytes = Envelope::upgrade(&word);
        assert_eq!(bytes[0], 2, "the version of the envelope");
        assert_eq!(Envelope::decode(&bytes), Ok(Envelope::Upgrade(word)));
    }
}

#[test]
fn the_bytes_are_those_of_the_page() {
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
fn words_that_are_cut_or_too_long_or_unknown_are_refused() {
    let is_word = |bytes: &[u8]| Envelope::decode(&Bytes::copy_from_slice(bytes));
    for word in every_word() {
        let whole = Envelope::upgrade(&word);
        // The bytes of a chunk may be any number; the machine refuses an empty one.
        let least = match &word {
            UpgradeRecord::Chunk { bytes, .. } => whole.len() - bytes.len(),
            _ => whole.len(),
        };
        for length in 1..least {
            assert_eq!(is_word(&whole[..length]), Err(EnvelopeError::Upgrade));
        }
        if least == whole.len() {
            let longer = [&whole[..], b"x"].concat();
            assert_eq!(is_word(&longer), Err(EnvelopeError::Upgrade));
        }
    }
    assert_eq!(is_word(b"\x02\x09"), Err(EnvelopeError::Upgrade));
    assert_eq!(is_word(b"\x02"), Err(EnvelopeError::Upgrade));
}

#[test]
fn words_for_people_have_a_limit() {
    let refused = CheckResult::refused(&"ü".repeat(MAX_WORDS_BYTES));
    let CheckResult::Refused { message: words } = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(words.len(), MAX_WORDS_BYTES);
    let report = |words: String| {
        let result = CheckResult::Refused { message: words };
        Envelope::upgrade(&UpgradeRecord::Report {
            upgrade: Index(1),
            node: "n".to_owned(),
            result,
        })
    };
    assert!(Envelope::decode(&report(words.clone())).is_ok());
    assert_eq!(
        Envelope::decode(&report(format!("{words}x"))),
        Err(EnvelopeError::Upgrade)
    );
}
