use super::{Endpoint, EndpointError};

#[test]
fn a_list_keeps_its_order_and_drops_duplicates() {
    let list = Endpoint::parse_list("127.0.0.1:8102, 127.0.0.1:8101,127.0.0.1:8102,").unwrap();
    let names: Vec<_> = list.iter().map(Endpoint::as_str).collect();
    assert_eq!(names, ["127.0.0.1:8102", "127.0.0.1:8101"]);
}

#[test]
fn host_names_ipv4_ipv6_and_a_scheme_are_accepted() {
    for (text, expected) in [
        ("localhost:80", "localhost:80"),
        ("[::1]:8101", "[::1]:8101"),
        ("http://10.0.0.1:8101/", "10.0.0.1:8101"),
    ] {
        assert_eq!(text.parse::<Endpoint>().unwrap().as_str(), expected);
    }
}

#[test]
fn an_invalid_endpoint_is_refused_with_its_text() {
    for text in [
        "127.0.0.1",
        ":8101",
        "host:0",
        "host:99999",
        "https://host:1",
        "u@host:1",
        "a b:1",
        "host:1/path",
    ] {
        match text.parse::<Endpoint>() {
            Err(EndpointError::Invalid { text: named, .. }) => assert_eq!(named, text),
            other => panic!("{text}: {other:?}"),
        }
    }
    assert_eq!(Endpoint::parse_list(" , "), Err(EndpointError::Empty));
}
