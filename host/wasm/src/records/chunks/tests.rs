use super::*;

fn read_all(chunks: &SnapshotChunks, most: usize) -> Vec<u8> {
    let mut reader = chunks.reader();
    let mut all = Vec::new();
    loop {
        let piece = reader.next(most);
        assert!(piece.len() <= most);
        if piece.is_empty() {
            return all;
        }
        all.extend_from_slice(&piece);
    }
}

#[test]
fn any_sizes_of_writes_and_reads_give_the_same_bytes() {
    let data: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    for piece in [1000, CHUNK_BYTES - 1, CHUNK_BYTES, data.len()] {
        let mut writer = ChunkWriter::new(data.len() as u64);
        for part in data.chunks(piece) {
            writer.write(part).unwrap();
        }
        let chunks = writer.finish();
        assert_eq!(chunks.bytes(), data.len() as u64);
        assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES));
        assert_eq!(read_all(&chunks, 777), data);
        assert_eq!(read_all(&chunks, usize::MAX), data);
    }
}

#[test]
fn a_write_over_the_limit_is_refused() {
    let mut writer = ChunkWriter::new(10);
    writer.write(&[0; 10]).unwrap();
    assert_eq!(
        writer.write(&[0]),
        Err(GuestFailure::TooLarge {
            what: "the snapshot",
            bytes: 11,
            limit: 10
        })
    );
}

#[test]
fn an_empty_snapshot_has_no_bytes() {
    assert!(SnapshotChunks::default().reader().next(10).is_empty());
}
