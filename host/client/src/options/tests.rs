use super::{KeyError, MAX_KEY_BYTES, key_header};

#[test]
fn a_key_of_1_to_256_visible_ascii_characters_is_valid() {
    assert_eq!(key_header("k").unwrap(), "k");
    let longest = "~".repeat(MAX_KEY_BYTES);
    assert_eq!(key_header(&longest).unwrap(), longest.as_str());
}

#[test]
fn any_other_key_is_refused() {
    assert_eq!(key_header(""), Err(KeyError::Length(0)));
    assert_eq!(key_header(&"k".repeat(257)), Err(KeyError::Length(257)));
    assert_eq!(key_header("a b"), Err(KeyError::Byte(1)));
    assert_eq!(key_header("a\nb"), Err(KeyError::Byte(1)));
    assert_eq!(key_header("schlüssel"), Err(KeyError::Byte(4)));
}
