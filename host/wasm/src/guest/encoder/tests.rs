use super::*;
use crate::testing::COUNTER;

#[test]
fn the_sample_contains_the_version_of_the_encoder() {
    let sample = encoder_sample();
    assert_eq!(sample[4..8], [0x0d, 0, 1, 0]);
    let text = String::from_utf8_lossy(&sample);
    assert!(text.contains("wit-component"), "{text}");
}

#[test]
fn a_panic_of_the_encoder_is_an_error() {
    // `load` validates the module first, so it never passes such bytes.
    let message = encode(&COUNTER[..COUNTER.len() / 2]).unwrap_err();
    assert!(message.contains("corrupt"), "{message}");
}

#[test]
fn packages_that_depend_on_each_other_are_found_before_the_encoder_recurses_without_an_end() {
    const CYCLIC: &[u8] = include_bytes!("../../../../../tests/fixtures/cyclic-packages.wasm");
    assert!(has_circle(CYCLIC));
    let message = encode(CYCLIC).unwrap_err();
    assert!(message.contains("in a circle"), "{message}");
    assert!(!has_circle(COUNTER));
    // Also in the older format: an encoding of strings, the name of the world, then the WIT.
    let old = [&[3, 0, 1, b'w'][..], b"\0asm"].concat();
    assert_eq!(embedded_wit(&old), Some(&b"\0asm"[..]));
    assert_eq!(embedded_wit(&old[..3]), None);
    assert_eq!(embedded_wit(b"\0asm"), Some(&b"\0asm"[..]));
}
