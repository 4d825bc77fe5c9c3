//! Valid settings, and the errors about invalid ones.

use clap::Parser;

use super::*;
use crate::cli::{Cli, CliCommand};

fn settings(flags: &[&str]) -> Result<ServeSettings, Failure> {
    let arguments = ["oarlock", "serve"].iter().chain(flags);
    match Cli::try_parse_from(arguments).expect("valid flags").command {
        CliCommand::Serve(args) => ServeSettings::from_args(*args, &Origins::default()),
        other => panic!("{other:?}"),
    }
}

fn error_of(flags: &[&str]) -> String {
    let failure = settings(flags).expect_err("not valid");
    assert_eq!(failure.code(), 2);
    failure.to_string()
}

const THREE: &str = "node1=127.0.0.1:7101,node2=127.0.0.1:7102,node3=127.0.0.1:7103";

#[test]
fn without_flags_a_node_is_a_single_node_cluster_on_loopback() {
    let settings = settings(&[]).expect("valid");
    assert_eq!(settings.node_id, "node1");
    assert_eq!(settings.peer_addr.to_string(), "127.0.0.1:7101");
    assert_eq!(settings.client_addr.to_string(), "127.0.0.1:8101");
    assert_eq!(settings.cluster.members().len(), 1);
    assert!(matches!(settings.guest, GuestSource::BuiltInQueue));
    assert_eq!(settings.raft, RaftConfig::default());
    assert_eq!(settings.limits, MachineLimits::default());
}

#[test]
fn leases_and_the_snapshot_rate_limit_are_off_by_default_and_clocks_may_differ_by_half_a_second() {
    let plain = settings(&[]).expect("valid");
    assert_eq!(plain.replication, Replication::default());
    assert_eq!(plain.replication.max_clock_skew, Duration::from_millis(500));
    let flags = [
        "--lease-drift-percent",
        "10",
        "--snapshot-bytes-per-second",
        "1048576",
        "--snapshot-check-interval-s",
        "60",
        "--max-clock-skew-ms",
        "2000",
    ];
    let set = settings(&flags).expect("valid");
    let expected = Replication {
        snapshot_bytes_per_second: Some(1 << 20),
        snapshot_check_interval: Duration::from_secs(60),
        lease_drift_percent: Some(10),
        max_clock_skew: Duration::from_secs(2),
    };
    assert_eq!(set.replication, expected);
}

#[test]
fn the_peer_address_defaults_to_the_nodes_address_in_the_list() {
    let listed = settings(&["--cluster", THREE, "--node-id", "node2"]).expect("valid");
    assert_eq!(listed.peer_addr.to_string(), "127.0.0.1:7102");
    let flags = [
        "--cluster",
        THREE,
        "--node-id",
        "node2",
        "--peer-addr",
        "0.0.0.0:9",
        "--insecure",
    ];
    assert_eq!(
        settings(&flags).expect("valid").peer_addr.to_string(),
        "0.0.0.0:9"
    );
}

#[test]
fn the_cluster_id_depends_on_the_members_and_not_on_their_order() {
    let id = |list: &str| list.parse::<ClusterSpec>().expect("a cluster").derived_id();
    assert_eq!(id("a=h:1,b=h:2"), id("b=h:2,a=h:1"));
    assert_ne!(id("a=h:1,b=h:2"), id("a=h:1,b=h:3"));
    assert_ne!(id("a=h:1,b=h:2"), id("a=h:1"));
}

#[test]
fn a_single_node_cluster_keeps_its_id_on_another_port() {
    let id = |addr| {
        let flags = ["--bootstrap", "--peer-addr", addr];
        settings(&flags).expect("valid").cluster_id
    };
    assert!(!id("127.0.0.1:1").is_empty());
    assert_eq!(id("127.0.0.1:1"), id("127.0.0.1:2"));
}

#[test]
fn only_a_node_without_flags_or_with_bootstrap_begins_a_cluster_alone() {
    use FirstStart::{BootstrapAlone, BootstrapTogether, Wait};
    let (own, address) = ("--node-id=node1", "--peer-addr=127.0.0.1:7101");
    let (one, three) = (
        "--cluster=node1=127.0.0.1:7101",
        format!("--cluster={THREE}"),
    );
    for (flags, expected) in [
        (&[][..], BootstrapAlone),
        (
            &["--client-addr=127.0.0.1:1", "--data-dir=d"],
            BootstrapAlone,
        ),
        (&[own], Wait),
        (&[address], Wait),
        (&[own, address], Wait),
        (&[own, one], Wait),
        (&["--bootstrap"], BootstrapAlone),
        (&["--bootstrap", own], BootstrapAlone),
        (&["--bootstrap", own, address], BootstrapAlone),
        (&["--bootstrap", own, one], BootstrapAlone),
        (&[own, three.as_str()], BootstrapTogether),
        (&["--bootstrap", own, three.as_str()], BootstrapTogether),
        (&["--join", own, three.as_str()], Wait),
        (&["--join", own, "--bootstrap"], Wait),
    ] {
        let start = settings(flags).expect("valid").start;
        assert_eq!(start.first, expected, "{flags:?}");
    }
}

#[test]
fn a_node_takes_members_only_with_an_id_and_an_address() {
    let (own, address) = ("--node-id=node1", "--peer-addr=127.0.0.1:7101");
    for (flags, expected) in [
        (&[][..], false),
        (&[own, "--bootstrap"], false),
        (&[address, "--bootstrap"], false),
        (&[own, address], true),
        (&["--cluster=node1=127.0.0.1:7101"], true),
    ] {
        let start = settings(flags).expect("valid").start;
        assert_eq!(start.takes_members, expected, "{flags:?}");
    }
}

#[test]
fn a_node_that_waits_learns_the_id_of_its_cluster() {
    let waiting = settings(&["--node-id=node1"]).expect("valid");
    assert_eq!(
        (
            waiting.cluster_id.as_str(),
            waiting.start.derived_cluster_id
        ),
        ("", true)
    );
    let named = settings(&["--node-id=node1", "--cluster-id=mine"]).expect("valid");
    assert_eq!(
        (named.cluster_id.as_str(), named.start.derived_cluster_id),
        ("mine", false)
    );
}

#[test]
fn an_invalid_list_is_refused_with_the_reason() {
    for (list, reason) in [
        ("", "empty item"),
        ("node1=127.0.0.1:7101,", "empty item"),
        ("node1", "no address"),
        ("node1=127.0.0.1", "no port"),
        ("node1=127.0.0.1:0", "port 0"),
        ("node1=127.0.0.1:70000", "no valid port"),
        ("node1=:7101", "no valid host"),
        ("no de=127.0.0.1:7101", "not valid"),
        ("=127.0.0.1:7101", "not valid"),
        ("node1=127.0.0.1:1,node1=127.0.0.1:2", "twice"),
        ("node1=127.0.0.1:1,node2=127.0.0.1:1", "same address"),
    ] {
        let error = error_of(&["--node-id", "node1", "--cluster", list]);
        assert!(
            error.starts_with("--cluster: ") && error.contains(reason),
            "{list}: {error}"
        );
    }
}

#[test]
fn a_node_that_is_not_in_the_list_is_refused_with_the_ids_in_the_list() {
    let error = error_of(&["--cluster", THREE, "--node-id", "node4"]);
    assert!(
        error.contains("node4") && error.contains("node1, node2, node3"),
        "{error}"
    );
    let error = error_of(&["--cluster", THREE]);
    assert!(error.contains("--node-id"), "{error}");
}

#[test]
fn timeouts_and_counts_in_the_wrong_order_are_refused() {
    for flags in [
        ["--heartbeat-interval-ms", "1000"],
        ["--election-timeout-min-ms", "2001"],
        ["--snapshot-threshold", "10000"],
    ] {
        let error = error_of(&flags);
        assert!(error.starts_with(flags[0]), "{error}");
        assert!(error.contains(flags[1]), "{error}");
    }
}

#[test]
fn invalid_ids_and_addresses_are_refused() {
    for (flags, reason) in [
        (["--node-id", "a,b"], "not valid"),
        (["--client-addr", "8101"], "no port"),
        (["--peer-addr", "::1:80"], "no valid host"),
        (["--cluster-id", ""], "not valid"),
    ] {
        let error = error_of(&flags);
        assert!(
            error.starts_with(flags[0]) && error.contains(reason),
            "{error}"
        );
    }
}

#[test]
fn addresses_are_displayed_as_they_were_parsed() {
    for text in ["127.0.0.1:80", "[::1]:80", "host-1.example:0"] {
        assert_eq!(
            text.parse::<HostPort>().expect("an address").to_string(),
            text
        );
    }
    for text in ["", ":", "a:", "a:+1", "[::1", "[x]:1", "a b:1"] {
        assert!(text.parse::<HostPort>().is_err(), "{text}");
    }
}

#[test]
fn addresses_off_loopback_need_the_flag_that_accepts_the_risk() {
    for flags in [
        &["--client-addr", "0.0.0.0:8101"][..],
        &["--client-addr", "[::]:8101"],
        &["--client-addr", "10.0.0.5:8101"],
        &["--client-addr", "node1.example:8101"],
        &["--peer-addr", "10.0.0.5:7101"],
        &["--cluster", "node1=10.0.0.5:7101"],
    ] {
        let error = error_of(flags);
        assert!(
            error.contains("--insecure") && error.contains("--certs-dir"),
            "{error}"
        );
        let accepted = settings(&[flags, &["--insecure"]].concat());
        assert!(accepted.is_ok(), "{flags:?}: {accepted:?}");
    }
    let on_loopback = ["--client-addr", "[::1]:1", "--peer-addr", "localhost:2"];
    assert!(settings(&on_loopback).is_ok());
}

#[test]
fn allowed_hosts_are_names_or_addresses_without_scheme_and_port() {
    let set = settings(&["--allow-host", "oarlock.example,10.1.1.1,::2"]).expect("valid");
    assert_eq!(set.allowed_hosts, ["oarlock.example", "10.1.1.1", "::2"]);
    for wrong in ["http://a", "a:1", "", "a b", "*"] {
        let error = error_of(&["--allow-host", wrong]);
        assert!(error.starts_with("--allow-host"), "{error}");
    }
}
