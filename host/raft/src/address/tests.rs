use super::*;

fn parts(text: &str) -> (String, String, u16) {
    let peer: PeerAddress = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    (peer.id.to_string(), peer.host, peer.port)
}

fn expect(text: &str, id: &str, host: &str, port: u16) {
    assert_eq!(parts(text), (id.into(), host.into(), port), "{text}");
}

#[test]
fn the_three_forms_are_parsed() {
    expect("node2", "node2", "node2", DEFAULT_PORT);
    expect("10.0.0.7:7102", "10.0.0.7:7102", "10.0.0.7", 7102);
    expect("node2@db-2.internal:9000", "node2", "db-2.internal", 9000);
    expect("node2@db_2", "node2", "db_2", DEFAULT_PORT);
}

#[test]
fn ipv6_is_parsed_in_brackets() {
    expect("[::1]:7102", "[::1]:7102", "::1", 7102);
    expect("n@[2001:db8::7]:1", "n", "2001:db8::7", 1);
    expect("[::1]", "[::1]", "::1", DEFAULT_PORT);
}

#[test]
fn ipv6_without_brackets_is_refused_with_an_example() {
    let error = "n@::1".parse::<PeerAddress>().unwrap_err();
    assert_eq!(
        error,
        AddressError::UnbracketedIpv6 {
            text: "n@::1".into()
        }
    );
    assert!(error.to_string().contains("[::1]:7101"));
}

#[test]
fn the_error_names_the_invalid_part() {
    let error = |text: &str| text.parse::<PeerAddress>().unwrap_err();
    assert!(matches!(error(""), AddressError::NoId { .. }));
    assert!(matches!(error("@host:1"), AddressError::NoId { .. }));
    assert!(matches!(error("a b@host:1"), AddressError::BadId { .. }));
    assert!(matches!(error("a,b@host:1"), AddressError::BadId { .. }));
    assert!(matches!(
        error(&format!("{}@host:1", "x".repeat(256))),
        AddressError::BadId { .. }
    ));
    assert!(matches!(error("n@"), AddressError::BadHost { .. }));
    assert!(matches!(error("n@:1"), AddressError::BadHost { .. }));
    assert!(matches!(error("n@m@host:1"), AddressError::BadHost { .. }));
    assert!(matches!(error("n@[::1"), AddressError::BadHost { .. }));
    assert!(matches!(
        error("n@[nonsense]:1"),
        AddressError::BadHost { .. }
    ));
    assert!(matches!(error("n@[::1]7101"), AddressError::BadPort { .. }));
    assert!(matches!(
        error(&format!("n@{}", "h".repeat(254))),
        AddressError::BadHost { .. }
    ));
    for port in ["", "0", "+80", "65536", "http", "-1"] {
        assert!(
            matches!(
                error(&format!("n@host:{port}")),
                AddressError::BadPort { .. }
            ),
            "{port}"
        );
    }
}

#[test]
fn the_displayed_text_parses_to_the_same_address() {
    for text in [
        "node2",
        "10.0.0.7:7102",
        "n@host:9000",
        "[::1]:7102",
        "[::1]",
        "n@[::1]:7101",
        "node2@node2:9",
    ] {
        let peer: PeerAddress = text.parse().unwrap();
        assert_eq!(peer.to_string(), text);
        assert_eq!(peer.to_string().parse(), Ok(peer));
    }
    let peer: PeerAddress = "node2@node2:7101".parse().unwrap();
    assert_eq!(peer.to_string(), "node2");
}
