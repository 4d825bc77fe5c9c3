use super::*;

fn scopes(scopes: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
    let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    let scopes = scopes.iter();
    scopes
        .map(|(name, of)| ((*name).to_owned(), values(of)))
        .collect()
}

fn encoded(caller: &GuestCaller) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    caller.encode(&mut bytes);
    assert_eq!(bytes.len(), caller.bytes());
    bytes.to_vec()
}

#[test]
fn a_caller_survives_its_encoding_and_has_these_bytes() {
    let caller = GuestCaller::new("ann", scopes(&[("queues", &["b", "a"])])).unwrap();
    assert_eq!(
        encoded(&caller),
        b"\x03\x00ann\x01\x06\x00queues\x02\x00\x01\x00a\x01\x00b".as_slice()
    );
    let none = GuestCaller::new("ann", BTreeMap::new()).unwrap();
    assert_eq!(encoded(&none), b"\x03\x00ann\x00");
    let empty = GuestCaller::new("node/n1", scopes(&[("queues", &[]), ("a", &["ä"])])).unwrap();
    for caller in [caller, none, empty] {
        let bytes = encoded(&caller);
        assert_eq!(GuestCaller::decode(&bytes), Some(caller));
        for length in 0..bytes.len() {
            assert_eq!(GuestCaller::decode(&bytes[..length]), None, "{length}");
        }
        let longer = [bytes, vec![0]].concat();
        assert_eq!(GuestCaller::decode(&longer), None);
    }
}

#[test]
fn bytes_that_no_caller_has_are_refused() {
    for wrong in [
        &b"\x00\x00\x00"[..],
        b"\x01\x00\xff\x00",
        // The same scope twice, and the same value twice.
        b"\x01\x00a\x02\x01\x00s\x00\x00\x01\x00s\x00\x00",
        b"\x01\x00a\x01\x01\x00s\x02\x00\x01\x00v\x01\x00v",
        b"\x01\x00a\x01\x01\x00s\x01\x00\x00\x00",
    ] {
        assert_eq!(GuestCaller::decode(wrong), None, "{wrong:?}");
    }
}

#[test]
fn names_values_and_scopes_have_limits() {
    let longest = "a".repeat(MAX_TEXT_BYTES);
    assert!(GuestCaller::new(longest.clone(), BTreeMap::new()).is_ok());
    let too_long = longest + "a";
    for (name, scopes) in [
        ("", scopes(&[])),
        ("a", scopes(&[("", &[])])),
        ("a", scopes(&[("s", &[""])])),
        ("a", scopes(&[("s", &[&too_long])])),
        ("a", scopes(&[(&too_long, &[])])),
        (too_long.as_str(), scopes(&[])),
    ] {
        let refused = GuestCaller::new(name, scopes);
        assert!(
            matches!(refused, Err(GuestCallerError::Length { .. })),
            "{refused:?}"
        );
    }
    for (name, scopes) in [("a\0", scopes(&[])), ("a", scopes(&[("s", &["v\n"])]))] {
        let refused = GuestCaller::new(name, scopes);
        assert!(
            matches!(refused, Err(GuestCallerError::Control { .. })),
            "{refused:?}"
        );
    }
    let many = |count: usize| (0..count).map(|n| (format!("s{n}"), BTreeSet::new()));
    assert!(GuestCaller::new("a", many(MAX_SCOPES).collect()).is_ok());
    let refused = GuestCaller::new("a", many(MAX_SCOPES + 1).collect());
    assert!(matches!(refused, Err(GuestCallerError::TooLarge { .. })));
    // Each value takes six bytes, and the rest nine.
    let values = |count: usize| (0..count).map(|n| format!("{n:04}")).collect();
    let one = |count| BTreeMap::from([("s".to_owned(), values(count))]);
    let most = (MAX_BYTES - 9) / 6;
    assert!(GuestCaller::new("a", one(most)).is_ok());
    let refused = GuestCaller::new("a", one(most + 1));
    assert!(matches!(refused, Err(GuestCallerError::TooLarge { .. })));
}
