use super::*;

fn disk(seed: u64) -> ByteDisk {
    ByteDisk::new(Rng::new(seed), false)
}

fn contents(disk: &ByteDisk) -> Vec<u8> {
    disk.lock().bytes(DATABASE).to_vec()
}

/// What each sector of a disk holds that is filled with one number a sector.
fn sectors(disk: &ByteDisk) -> Vec<u8> {
    contents(disk)
        .chunks(SECTOR)
        .map(|sector| sector[0])
        .collect()
}

fn filled(number: u8, sectors: usize) -> Vec<u8> {
    vec![number; sectors * SECTOR]
}

/// A disk with eight old sectors, and eight new ones in their place that were not synced.
fn half_written(seed: u64) -> ByteDisk {
    let disk = disk(seed);
    StorageBackend::write(&disk, 0, &filled(1, 8)).unwrap();
    disk.sync_data().unwrap();
    StorageBackend::write(&disk, 0, &filled(2, 8)).unwrap();
    disk
}

#[test]
fn what_was_synced_is_there_when_the_power_comes_back() {
    for seed in 0..20 {
        let disk = half_written(seed);
        disk.sync_data().unwrap();
        disk.lock().lose_power();
        assert_eq!(contents(&disk), filled(2, 8), "seed {seed}");
    }
}

#[test]
fn what_was_not_synced_is_lost_or_torn_sector_by_sector() {
    let mut torn = 0;
    for seed in 0..20 {
        let disk = half_written(seed);
        disk.lock().lose_power();
        let found = sectors(&disk);
        assert!(
            found.iter().all(|sector| [1, 2].contains(sector)),
            "{found:?}"
        );
        let counts = disk.counts();
        torn += counts.torn;
        assert_eq!(counts.lost == 1, found == [1; 8], "seed {seed}: {found:?}");
    }
    assert!(torn > 0, "some writes are torn in two");
}

#[test]
fn a_process_that_is_gone_writes_nothing_more() {
    let disk = half_written(1);
    disk.die();
    assert!(StorageBackend::write(&disk, 0, &filled(3, 8)).is_err());
    assert_eq!(contents(&disk), filled(2, 8));
    assert!(!disk.is_to_blame(), "the disk has done nothing wrong");
}

#[test]
fn a_sync_that_fails_reports_it_once_and_may_lose_its_data() {
    let mut lost = 0;
    for seed in 0..20 {
        let disk = half_written(seed);
        disk.lock().failing_in = Some(0);
        assert!(disk.sync_data().is_err());
        assert!(disk.is_to_blame());
        lost += usize::from(sectors(&disk).contains(&1));
        assert!(disk.sync_data().is_ok(), "the next sync succeeds");
    }
    assert!(lost > 0, "some of it is lost");
}

#[test]
fn a_full_disk_takes_nothing_until_there_is_space_again() {
    let disk = half_written(1);
    disk.set_full(true);
    let refused = StorageBackend::write(&disk, 0, &filled(3, 1)).map_err(|error| error.kind());
    assert_eq!(refused, Err(ErrorKind::StorageFull));
    assert!(disk.set_len(1 << 20).is_err());
    disk.set_full(false);
    StorageBackend::write(&disk, 0, &filled(3, 1)).unwrap();
}

#[test]
fn what_was_written_last_does_not_rot() {
    let disk = disk(1);
    StorageBackend::write(&disk, 0, &filled(1, 8)).unwrap();
    for _ in 0..=FRESH {
        StorageBackend::write(&disk, 4096, &filled(2, 8)).unwrap();
        disk.sync_data().unwrap();
        disk.committed();
    }
    for _ in 0..50 {
        disk.rot();
    }
    assert!(disk.is_damaged());
    let found = contents(&disk);
    assert_ne!(found[..8 * SECTOR], filled(1, 8), "the old page is damaged");
    assert_eq!(found[8 * SECTOR..], filled(2, 8), "the new one is not");
}

/// A disk with a segment of eight sectors, which are synced.
fn with_segment(seed: u64) -> (ByteDisk, Arc<dyn SegmentFile>) {
    let disk = disk(seed);
    let segment = disk.create(1, 4096).unwrap();
    segment.write(0, &filled(1, 8)).unwrap();
    segment.sync().unwrap();
    disk.publish(1).unwrap();
    (disk, segment)
}

fn segment_of(disk: &ByteDisk) -> Vec<u8> {
    disk.lock().bytes(1).to_vec()
}

#[test]
fn a_segment_has_its_space_on_a_full_disk_and_there_is_none_for_another() {
    let (disk, segment) = with_segment(1);
    disk.set_full(true);
    segment.write(0, &filled(2, 8)).unwrap();
    segment.sync().unwrap();
    let refused = disk.create(2, 4096).map_err(|error| error.kind());
    assert_eq!(refused.err(), Some(ErrorKind::StorageFull));
    assert_eq!(segment_of(&disk), filled(2, 8));
}

#[test]
fn a_segment_without_its_name_is_gone_after_a_crash_and_one_that_was_not_synced_is_torn() {
    let mut torn = 0;
    for seed in 0..20 {
        let (disk, segment) = with_segment(seed);
        drop(disk.create(2, 4096).unwrap());
        segment.write(0, &filled(2, 8)).unwrap();
        // A sync of the database is not one of the segment.
        disk.sync_data().unwrap();
        disk.lock().lose_power();
        assert_eq!(disk.list().unwrap(), [1]);
        let found = segment_of(&disk);
        torn += usize::from(found != filled(1, 8) && found != filled(2, 8));
    }
    assert!(torn > 0, "some writes are torn in two");
}

#[test]
fn the_newest_write_of_a_segment_rots_and_is_never_undone() {
    let mut rotten = 0;
    for seed in 0..50 {
        let (disk, segment) = with_segment(seed);
        for _ in 0..=FRESH {
            disk.committed();
        }
        segment.write(0, &filled(2, 8)).unwrap();
        segment.sync().unwrap();
        disk.rot();
        let found = segment_of(&disk);
        rotten += usize::from(found != filled(2, 8));
        assert!(!found.chunks(SECTOR).any(|sector| sector == filled(1, 1)));
    }
    assert!(rotten > 0, "some of it is corrupt");
}
