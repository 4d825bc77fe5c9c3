use task_queue_raft::ids::Index;

use super::*;
use crate::records::upgrade::UpgradeEnd;

fn decode(bytes: &[u8]) -> Result<Envelope, EnvelopeError> {
    Envelope::decode(&Bytes::copy_from_slice(bytes))
}

fn ann() -> GuestCaller {
    let scopes = [("area".to_owned(), ["x".to_owned()].into())].into();
    GuestCaller::new("ann", scopes).unwrap()
}

#[test]
fn the_bytes_are_as_documented() {
    assert_eq!(
        Envelope::command(None, b"body").unwrap()[..],
        *b"\x01\x00body"
    );
    assert_eq!(
        Envelope::command(Some("key"), b"body").unwrap()[..],
        *b"\x01\x01\x03\x00keybody"
    );
    assert_eq!(Envelope::wake()[..], *b"\x01\x02");
    assert_eq!(
        Envelope::called(&ann(), None, b"body").unwrap()[..],
        *b"\x03\x20\x11\x00\x03\x00ann\x01\x04\x00area\x01\x00\x01\x00xbody"
    );
    assert_eq!(
        Envelope::called(&ann(), Some("key"), b"body").unwrap()[..],
        *b"\x03\x21\x11\x00\x03\x00ann\x01\x04\x00area\x01\x00\x01\x00x\x03\x00keybody"
    );
    let digest = Sha256([7; 32]);
    assert_eq!(Envelope::runs(digest)[..2], *b"\x01\x03");
    assert_eq!(Envelope::runs(digest)[2..], [7; 32]);
}

#[test]
fn a_digest_must_be_32_bytes() {
    let bytes = Envelope::runs(Sha256::of(b"module"));
    assert_eq!(
        Envelope::decode(&bytes),
        Ok(Envelope::Runs(Sha256::of(b"module")))
    );
    for length in [0, 31, 33] {
        let mut bytes = vec![1, 3];
        bytes.resize(2 + length, 0);
        assert_eq!(decode(&bytes), Err(EnvelopeError::Digest { bytes: length }));
    }
}

#[test]
fn an_encoded_envelope_decodes_to_the_same() {
    let longest = "k".repeat(MAX_KEY_BYTES);
    for key in [None, Some("k"), Some("schlüssel"), Some(longest.as_str())] {
        for body in [b"".as_slice(), b"body", &[0xff; 1000]] {
            let bytes = Envelope::command(key, body).unwrap();
            assert_eq!(
                Envelope::decode(&bytes),
                Ok(Envelope::Command {
                    key: key.map(str::to_owned),
                    body: Bytes::copy_from_slice(body),
                    caller: None,
                })
            );
            let bytes = Envelope::called(&ann(), key, body).unwrap();
            assert_eq!(
                Envelope::decode(&bytes),
                Ok(Envelope::Command {
                    key: key.map(str::to_owned),
                    body: Bytes::copy_from_slice(body),
                    caller: Some(Arc::new(ann())),
                })
            );
        }
    }
    assert_eq!(Envelope::decode(&Envelope::wake()), Ok(Envelope::Wake));
    let report = AuditRecord::Report {
        requested_at: Index(2),
        hash: Sha256([7; 32]),
        node: "n".to_owned(),
    };
    let bytes = Envelope::state_audit(&report);
    assert_eq!(bytes[..3], *b"\x03\x12\x02");
    assert_eq!(Envelope::decode(&bytes), Ok(Envelope::StateAudit(report)));
    let bytes = Envelope::state_audit(&AuditRecord::Request);
    assert_eq!(bytes[..], *b"\x03\x11");
    let request = Envelope::StateAudit(AuditRecord::Request);
    assert_eq!(Envelope::decode(&bytes), Ok(request));
    let memory = MemoryRecord {
        node: "n".to_owned(),
        is_low: true,
    };
    let bytes = Envelope::memory(&memory);
    assert_eq!(bytes[..], *b"\x03\x10\x01n");
    assert_eq!(Envelope::decode(&bytes), Ok(Envelope::Memory(memory)));
}

#[test]
fn records_of_the_host_are_in_classes_above_the_commands_of_clients() {
    let hash = Sha256::of(b"");
    let report = AuditRecord::Report {
        requested_at: Index(1),
        hash,
        node: "n".to_owned(),
    };
    let close = UpgradeRecord::Close {
        upgrade: Index(1),
        end: UpgradeEnd::Activated,
    };
    for (bytes, class) in [
        (
            Envelope::command(None, b"\x05").unwrap(),
            CommandClass::Client,
        ),
        (
            Envelope::command(Some("k"), b"").unwrap(),
            CommandClass::Client,
        ),
        (Envelope::wake(), CommandClass::Client),
        (
            Envelope::called(&ann(), None, b"\x05").unwrap(),
            CommandClass::Client,
        ),
        (
            Envelope::called(&ann(), Some("k"), b"").unwrap(),
            CommandClass::Client,
        ),
        (Envelope::runs(hash), CommandClass::Report),
        (Envelope::audit(&AuditRecord::Request), CommandClass::Report),
        (Envelope::audit(&report), CommandClass::Report),
        (Envelope::upgrade(&close), CommandClass::Control),
        (Envelope::state_audit(&report), CommandClass::Report),
        (
            Envelope::memory(&MemoryRecord {
                node: "n".to_owned(),
                is_low: true,
            }),
            CommandClass::Control,
        ),
        (
            Envelope::operation(&OperationRecord::End {
                begun: Index(1),
                code: String::new(),
            }),
            CommandClass::Control,
        ),
        (Bytes::new(), CommandClass::Client),
    ] {
        assert_eq!(Envelope::class_of(&bytes), class, "{bytes:?}");
    }
}

#[test]
fn the_body_shares_the_buffer() {
    let bytes = Envelope::command(Some("key"), b"body").unwrap();
    let Ok(Envelope::Command { body, .. }) = Envelope::decode(&bytes) else {
        panic!("it is a command");
    };
    assert_eq!(body.as_ptr(), bytes[7..].as_ptr());
}

#[test]
fn an_empty_or_too_long_key_is_refused_when_encoding_and_decoding() {
    let too_long = "k".repeat(MAX_KEY_BYTES + 1);
    for key in ["", &too_long] {
        let error = EnvelopeError::KeyLength { bytes: key.len() };
        assert_eq!(Envelope::command(Some(key), b"body"), Err(error.clone()));
        assert_eq!(
            Envelope::called(&ann(), Some(key), b"body"),
            Err(error.clone())
        );
        let mut bytes = vec![1, 1];
        bytes.extend_from_slice(&(key.len() as u16).to_le_bytes());
        bytes.extend_from_slice(key.as_bytes());
        assert_eq!(decode(&bytes), Err(error));
    }
}

#[test]
fn corrupt_bytes_are_refused_with_the_matching_error() {
    assert_eq!(decode(b""), Err(EnvelopeError::Truncated));
    assert_eq!(decode(b"\x01"), Err(EnvelopeError::Truncated));
    assert_eq!(
        decode(b"\x00\x00x"),
        Err(EnvelopeError::Version { found: 0 })
    );
    assert_eq!(
        decode(b"\x04\x00x"),
        Err(EnvelopeError::Version { found: 4 })
    );
    assert_eq!(decode(b"\x03"), Err(EnvelopeError::Truncated));
    assert_eq!(
        decode(b"\x03\x00x"),
        Err(EnvelopeError::RecordKind { found: 0 })
    );
    assert_eq!(decode(b"\x03\x01x"), Err(EnvelopeError::Settings));
    assert_eq!(decode(b"\x03\x10\x02n"), Err(EnvelopeError::Upgrade));
    assert_eq!(decode(b"\x03\x30\x02n"), Err(EnvelopeError::Upgrade));
    assert_eq!(decode(b"\x01\x04x"), Err(EnvelopeError::Kind { found: 4 }));
    assert_eq!(
        decode(b"\x01\x02x"),
        Err(EnvelopeError::Trailing { bytes: 1 })
    );
    assert_eq!(
        decode(b"\x01\x01\x02\x00\xff\xffbody"),
        Err(EnvelopeError::KeyNotText)
    );
    let complete = Envelope::command(Some("key"), b"").unwrap();
    for length in 1..complete.len() {
        assert_eq!(
            decode(&complete[..length]),
            Err(EnvelopeError::Truncated),
            "{length} bytes"
        );
    }
    let complete = Envelope::called(&ann(), Some("key"), b"").unwrap();
    for length in 1..complete.len() {
        assert_eq!(
            decode(&complete[..length]),
            Err(EnvelopeError::Truncated),
            "{length} bytes"
        );
    }
    assert_eq!(decode(b"\x03\x20\x01\x00\x00x"), Err(EnvelopeError::Caller));
}
