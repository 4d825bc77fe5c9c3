use super::*;
use crate::envelope::{Envelope, EnvelopeError};

fn every_word() -> Vec<UpgradeWord> {
    let (upgrade, state) = (Index(7), Sha256([9; 32]));
    let begin = Begin {
        sha256: Sha256([1; 32]),
        bytes: 300,
        wait_ms: 60_000,
        dry_run: true,
        by: "ann".to_owned(),
    };
    let report = |verdict| UpgradeWord::Report {
        upgrade,
        node: "node1".to_owned(),
        verdict,
    };
    let close = |end| UpgradeWord::Close { upgrade, end };
    let words = "no room".to_owned();
    vec![
        UpgradeWord::Begin(begin),
        UpgradeWord::Chunk {
            upgrade,
            offset: 100,
            bytes: Bytes::from_static(b"bytes"),
        },
        report(Verdict::Ready {
            tried_at: Index(8),
            route: Route::Journal,
            state,
        }),
        report(Verdict::Refused {
            words: words.clone(),
        }),
        UpgradeWord::Activate {
            upgrade,
            route: Route::Snapshot,
            state,
        },
        close(End::TriedOut),
        close(End::Abandoned {
            cause: Cause::Differs,
            words,
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
    let close = UpgradeWord::Close {
        upgrade: Index(7),
        end: End::because(Cause::TimedOut),
    };
    assert_eq!(
        Envelope::upgrade(&close)[..],
        *b"\x02\x04\x07\0\0\0\0\0\0\0\x02\x02\0\0\0\0\0\0\0\0"
    );
    let chunk = UpgradeWord::Chunk {
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
            UpgradeWord::Chunk { bytes, .. } => whole.len() - bytes.len(),
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
    let refused = Verdict::refused(&"ü".repeat(MAX_WORDS_BYTES));
    let Verdict::Refused { words } = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(words.len(), MAX_WORDS_BYTES);
    let report = |words: String| {
        let verdict = Verdict::Refused { words };
        Envelope::upgrade(&UpgradeWord::Report {
            upgrade: Index(1),
            node: "n".to_owned(),
            verdict,
        })
    };
    assert!(Envelope::decode(&report(words.clone())).is_ok());
    assert_eq!(
        Envelope::decode(&report(format!("{words}x"))),
        Err(EnvelopeError::Upgrade)
    );
}
