use super::*;
use crate::testing::at;

const PAGE: usize = 64 << 10;

fn memory(pages: usize) -> Mapping {
    Mapping::reserve(64 * PAGE, pages * PAGE, PAGE, None).unwrap()
}

fn over(image: &Arc<Image>) -> Arc<Mapping> {
    Arc::new(Mapping::reserve(64 * PAGE, 0, PAGE, Some(Arc::clone(image))).unwrap())
}

fn put(mapping: &Mapping, at: usize, byte: u8) {
    assert!(at < mapping.bytes());
    // SAFETY: below the length, and only this thread uses the memory.
    unsafe { mapping.base.as_ptr().add(at).write_volatile(byte) }
}

fn get(mapping: &Mapping, at: usize) -> u8 {
    assert!(at < mapping.bytes());
    // SAFETY: as above.
    unsafe { mapping.base.as_ptr().add(at).read_volatile() }
}

#[test]
fn this_system_has_images_and_a_new_memory_is_zeros() {
    probe().unwrap();
    let memory = memory(2);
    assert_eq!(memory.bytes(), 2 * PAGE);
    assert_eq!(get(&memory, 2 * PAGE - 1), 0);
}

#[test]
fn writes_since_the_freeze_are_discarded() {
    let memory = memory(2);
    put(&memory, 10, 1);
    let image = Image::of(&memory).unwrap();
    memory.freeze(&image, at(1)).unwrap();
    put(&memory, 10, 2);
    put(&memory, PAGE + 10, 2);
    memory.discard_changes().unwrap();
    assert_eq!((get(&memory, 10), get(&memory, PAGE + 10)), (1, 0));
}

#[test]
fn a_second_freeze_copies_only_what_changed() {
    let memory = memory(16);
    (0..16).for_each(|page| put(&memory, page * PAGE, 1));
    let image = Image::of(&memory).unwrap();
    assert!(memory.freeze(&image, at(1)).unwrap().copied_bytes >= 16 * 4096);
    put(&memory, 3 * PAGE, 2);
    let system_page = page_bytes() as u64;
    let frozen = memory.freeze(&image, at(1)).unwrap();
    assert_eq!(frozen.copied_bytes, system_page);
    // The page is still private, so it is compared once more; then no longer.
    let frozen = memory.freeze(&image, at(1)).unwrap();
    assert_eq!(frozen.private_bytes, system_page);
    assert_eq!(frozen.copied_bytes, 0);
    let frozen = memory.freeze(&image, at(1)).unwrap();
    assert_eq!(frozen.private_bytes, 0);
    assert_eq!(get(&over(&image), 3 * PAGE), 2);
}

#[test]
fn a_memory_that_grew_is_frozen_in_full_length() {
    let mut memory = HostMemory(Arc::new(memory(1)));
    put(&memory.0, 5, 1);
    let image = Image::of(&memory.0).unwrap();
    memory.0.freeze(&image, at(1)).unwrap();
    memory.grow_to(3 * PAGE).unwrap();
    put(&memory.0, 3 * PAGE - 1, 7);
    let other = over(&image);
    assert_eq!(other.bytes(), PAGE, "it is not frozen yet");
    memory.0.freeze(&image, at(1)).unwrap();
    let other = over(&image);
    assert_eq!(other.bytes(), 3 * PAGE);
    assert_eq!((get(&other, 5), get(&other, 3 * PAGE - 1)), (1, 7));
    let mut other = HostMemory(other);
    other.grow_to(4 * PAGE).unwrap();
    assert_eq!(get(&other.0, 4 * PAGE - 1), 0);
    assert!(
        other.grow_to(65 * PAGE).is_err(),
        "it is past the reservation"
    );
}

#[test]
fn writes_of_one_mapping_are_not_visible_in_another() {
    let memory = memory(1);
    let image = Image::of(&memory).unwrap();
    memory.freeze(&image, at(1)).unwrap();
    let clone = over(&image);
    put(&clone, 1, 9);
    put(&memory, 2, 9);
    assert_eq!((get(&memory, 1), get(&clone, 2)), (0, 0));
}

#[test]
fn a_clone_in_use_keeps_its_state_during_a_freeze_and_shows_the_new_one_after_release() {
    let memory = memory(2);
    put(&memory, 7, 1);
    let image = Image::of(&memory).unwrap();
    memory.freeze(&image, at(1)).unwrap();
    let clone = over(&image);
    let held = image.hold(&clone).unwrap().unwrap();
    put(&memory, 7, 2);
    put(&memory, PAGE + 7, 2);
    memory.freeze(&image, at(1)).unwrap();
    assert_eq!((get(&clone, 7), get(&clone, PAGE + 7)), (1, 0));
    drop(held);
    let held = image.hold(&clone).unwrap().unwrap();
    assert_eq!((get(&clone, 7), get(&clone, PAGE + 7)), (2, 2));
    drop(held);
    assert!(image.lock().in_use.is_empty());
}

#[test]
fn a_clone_of_another_length_has_to_be_replaced() {
    let mut memory = HostMemory(Arc::new(memory(1)));
    let image = Image::of(&memory.0).unwrap();
    memory.0.freeze(&image, at(1)).unwrap();
    let clone = over(&image);
    memory.grow_to(2 * PAGE).unwrap();
    memory.0.freeze(&image, at(1)).unwrap();
    assert!(image.hold(&clone).unwrap().is_none());
    assert!(image.hold(&over(&image)).unwrap().is_some());
}

#[test]
fn a_clone_that_grew_to_the_length_of_the_image_has_to_be_replaced() {
    let memory = memory(1);
    let image = Image::of(&memory).unwrap();
    memory.freeze(&image, at(1)).unwrap();
    let clone = over(&image);
    drop(image.hold(&clone).unwrap().unwrap());
    // Both a query and the next command grow the memory.
    clone.grow_to(2 * PAGE).unwrap();
    memory.grow_to(2 * PAGE).unwrap();
    put(&memory, PAGE + 10, 1);
    memory.freeze(&image, at(2)).unwrap();
    assert!(image.hold(&clone).unwrap().is_none());
    assert_eq!(get(&over(&image), PAGE + 10), 1);
}

#[test]
fn after_a_failed_freeze_the_image_can_not_be_used() {
    let memory = memory(1);
    let image = Image::of(&memory).unwrap();
    memory.freeze(&image, at(1)).unwrap();
    let clone = over(&image);
    image.lock().broken = true;
    assert!(memory.freeze(&image, at(1)).is_err());
    assert!(image.hold(&clone).is_err());
}

#[test]
fn both_methods_find_the_same_private_pages() {
    let memory = memory(8);
    let image = Image::of(&memory).unwrap();
    memory.freeze(&image, at(1)).unwrap();
    let page = page_bytes();
    for number in [0, 1, 2, 5, 40, 41, 127] {
        put(&memory, number * page, 1);
    }
    get(&memory, 60 * page);
    let base = memory.base.as_ptr() as usize;
    let read = read_pagemap(base, 0..memory.bytes()).unwrap();
    assert_eq!(read.len(), 4);
    assert_eq!(read[0], 0..3 * page);
    // Linux before 6.7 has only the page table.
    if let Ok(scanned) = scan(base, 0..memory.bytes()) {
        assert_eq!(scanned, read);
    }
}
