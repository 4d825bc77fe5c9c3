use super::*;

fn hosts() -> OwnHosts {
    OwnHosts::new(
        "10.0.0.5",
        &["Oarlock.example".to_owned(), "fe80::1".to_owned()],
    )
}

fn is_own(host: &str) -> bool {
    hosts().contains(host.as_bytes(), "192.168.7.7".parse().ok())
}

#[test]
fn loopback_names_the_client_address_and_allowed_names_are_own_hosts() {
    for host in [
        "localhost",
        "LOCALHOST:8101",
        "localhost.:8101",
        "a.localhost",
        "127.0.0.1",
        "127.8.8.8:1",
        "[::1]:8101",
        "[::1]",
        "10.0.0.5:8101",
        "192.168.7.7:80",
        "oarlock.example",
        "oarlock.example.:8101",
        "OARLOCK.EXAMPLE:443",
        "[FE80::1]:8101",
    ] {
        assert!(is_own(host), "{host}");
    }
}

#[test]
fn other_names_and_addresses_are_foreign_hosts() {
    for host in [
        "",
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evillocalhost",
        ".localhost",
        "10.0.0.6:8101",
        "oarlock.example.evil",
        "127.0.0.1@evil.example",
        "127.0.0.1:80x",
        "[::1",
        "[::1]x",
        "[::2]:8101",
        "::1",
    ] {
        assert!(!is_own(host), "{host}");
    }
    assert!(!hosts().contains(b"\xff", None));
    assert!(
        !hosts().contains(b"192.168.7.7", None),
        "not connected to it"
    );
}

#[test]
fn loopback_hosts_are_known_without_a_name_server() {
    for host in ["127.0.0.1", "127.1.2.3", "::1", "localhost"] {
        assert!(is_loopback_host(host), "{host}");
    }
    for host in ["0.0.0.0", "::", "10.0.0.1", "node1", "localhost.example"] {
        assert!(!is_loopback_host(host), "{host}");
    }
}
