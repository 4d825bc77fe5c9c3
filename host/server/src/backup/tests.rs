use std::io::{self, Read};

use super::format::DIGEST_BYTES;
use super::read::BackupError;
use super::*;

fn manifest(state_bytes: u64) -> Manifest {
    Manifest {
        cluster_id: "test".to_owned(),
        lineage: "00ff".to_owned(),
        level: 1,
        node_id: "node1".to_owned(),
        term: 3,
        index: 42,
        time_ms: 1_700_000_000_000,
        state_bytes,
        members: vec![BackupMember {
            node_id: "node1".to_owned(),
            peer_addr: "127.0.0.1:7101".to_owned(),
            votes: true,
        }],
        guest: "kv".to_owned(),
        guest_version: 1,
        release: "0.1.0".to_owned(),
    }
}

fn backup(state: &'static [u8]) -> Vec<u8> {
    let mut writer = BackupWriter::new(&manifest(state.len() as u64), Box::new(state)).unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = writer.next_piece().unwrap() {
        bytes.extend_from_slice(&piece);
    }
    assert_eq!(bytes.len() as u64, writer.length());
    bytes
}

fn check(bytes: &[u8]) -> Result<(), BackupError> {
    BackupReader::open(bytes)?.1.check()
}

#[test]
fn a_backup_is_read_back() {
    for state in [&b""[..], b"s", &[7; 600_000]] {
        let bytes = backup(state);
        let (found, mut reader) = BackupReader::open(&bytes[..]).unwrap();
        assert_eq!(found, manifest(state.len() as u64));
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert_eq!(read, state);
        check(&bytes).unwrap();
    }
}

#[test]
fn a_flipped_bit_anywhere_is_refused() {
    let bytes = backup(b"state of the guest");
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1 << bit;
            assert!(check(&wrong).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn a_backup_that_ends_early_or_goes_on_is_refused() {
    let bytes = backup(b"state");
    for length in 0..bytes.len() {
        let error = check(&bytes[..length]).unwrap_err();
        assert!(matches!(error, BackupError::CutShort), "{length}: {error}");
    }
    let longer = [&bytes[..], b"x"].concat();
    assert!(
        check(&longer)
            .unwrap_err()
            .to_string()
            .contains("bytes follow")
    );
}

#[test]
fn another_file_and_a_later_format_are_named() {
    let error = check(b"OARLSNAP and more bytes").unwrap_err();
    assert!(error.to_string().contains("not a backup"), "{error}");
    let mut later = backup(b"state");
    later[11] = 2;
    let error = check(&later).unwrap_err();
    assert!(error.to_string().contains("format 2"), "{error}");
}

/// What uses the state as it comes, as a restore does, gets an error and not the end.
#[test]
fn the_end_of_a_damaged_state_is_an_error() {
    let mut bytes = backup(b"state");
    let at = bytes.len() - DIGEST_BYTES - 1;
    bytes[at] ^= 1;
    let mut reader = BackupReader::open(&bytes[..]).unwrap().1;
    let error = io::copy(&mut reader, &mut io::sink()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[test]
fn a_state_that_is_shorter_than_its_description_is_an_error_for_the_writer() {
    let mut writer = BackupWriter::new(&manifest(10), Box::new(&b"state"[..])).unwrap();
    writer.next_piece().unwrap();
    assert!(writer.next_piece().is_err());
}
