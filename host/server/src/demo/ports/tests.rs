use super::take;

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_the_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let failure = take(Some(port - 1), 1).unwrap_err();
    let text = failure.to_string();
    assert!(
        text.contains(&port.to_string()) && text.contains("--base-port"),
        "{text}"
    );
    assert_eq!(failure.code(), 1);
}

#[tokio::test]
async fn without_a_base_every_node_gets_its_own_ports() {
    let pairs = take(None, 9).unwrap();
    let mut ports: Vec<_> = pairs
        .iter()
        .flat_map(|pair| [pair.peer_addr.port(), pair.client_addr.port()])
        .collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 18);
    assert!(!ports.contains(&0));
}
