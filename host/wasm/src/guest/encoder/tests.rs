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
