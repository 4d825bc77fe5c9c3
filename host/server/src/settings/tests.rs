//! Settings that make sense, and what is said about those that don't.

use clap::Parser;

use super::*;
use crate::cli::{Cli, CliCommand};

fn settings(flags: &[&str]) -> Result<ServeSettings, Failure> {
    let words = ["oarlock", "serve"].iter().chain(flags);
    match Cli::try_parse_from(words)
        .expect("flags of the right form")
        .command
    {
        CliCommand::Serve(args) => ServeSettings::from_args(*args, &Origins::default()),
        other => panic!("{other:?}"),
    }
}

fn refusal(flags: &[&str]) -> String {
    let failure = settings(flags).expect_err("it makes no sense");
    assert_eq!(failure.code(), 2);
    failure.to_string()
}

const THREE: &str = "node1=127.0.0.1:7101,node2=127.0.0.1:7102,node3=127.0.0.1:7103";

#[test]
fn without_flags_a_node_is_alone_on_loopback() {
    let settings = settings(&[]).expect("it makes sense");
    assert_eq!(settings.node_id, "node1");
    assert_eq!(settings.peer_addr.to_string(), "127.0.0.1:7101");
    assert_eq!(settings.client_addr.to_string(), "127.0.0.1:8101");
    assert_eq!(settings.cluster.members().len(), 1);
    assert!(matches!(settings.guest, GuestSource::BuiltInQueue));
    assert_eq!(settings.raft, RaftConfig::default());
    assert_eq!(settings.limits, MachineLimits::default());
}

#[test]
fn a_lease_and_a_rate_of_snapshots_are_there_only_where_they_are_asked_for() {
    let plain = settings(&[]).expect("it makes sense");
    assert_eq!(plain.replication, Replication::default());
    let flags = [
        "--lease-drift-percent",
        "10",
        "--snapshot-bytes-per-second",
        "1048576",
    ];
    let asked = settings(&flags).expect("it makes sense");
    let wanted = Replication {
        snapshot_bytes_per_second: Some(1 << 20),
        lease_drift_percent: Some(10),
    };
    assert_eq!(asked.replication, wanted);
}

#[test]
fn a_node_of_a_cluster_listens_where_the_list_says_unless_told_otherwise() {
    let listed = settings(&["--cluster", THREE, "--node-id", "node2"]).expect("it makes sense");
    assert_eq!(listed.peer_addr.to_string(), "127.0.0.1:7102");
    let flags = [
        "--cluster",
        THREE,
        "--node-id",
        "node2",
        "--peer-addr",
        "0.0.0.0:9",
    ];
    assert_eq!(
        settings(&flags)
            .expect("it makes sense")
            .peer_addr
            .to_string(),
        "0.0.0.0:9"
    );
}

#[test]
fn the_order_of_the_list_makes_no_other_cluster_and_a_node_more_does() {
    let id = |list: &str| list.parse::<ClusterSpec>().expect("a cluster").derived_id();
    assert_eq!(id("a=h:1,b=h:2"), id("b=h:2,a=h:1"));
    assert_ne!(id("a=h:1,b=h:2"), id("a=h:1,b=h:3"));
    assert_ne!(id("a=h:1,b=h:2"), id("a=h:1"));
}

#[test]
fn a_lone_node_may_change_its_port_and_stays_the_same_cluster() {
    let id = |addr| {
        settings(&["--peer-addr", addr])
            .expect("it makes sense")
            .cluster_id
    };
    assert_eq!(id("127.0.0.1:1"), id("127.0.0.1:2"));
}

#[test]
fn a_list_that_is_no_cluster_is_refused_with_the_reason() {
    for (list, reason) in [
        ("", "empty place"),
        ("node1=127.0.0.1:7101,", "empty place"),
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
        let words = refusal(&["--node-id", "node1", "--cluster", list]);
        assert!(
            words.starts_with("--cluster: ") && words.contains(reason),
            "{list}: {words}"
        );
    }
}

#[test]
fn a_node_that_is_not_in_the_list_is_refused_with_the_names_that_are() {
    let words = refusal(&["--cluster", THREE, "--node-id", "node4"]);
    assert!(
        words.contains("node4") && words.contains("node1, node2, node3"),
        "{words}"
    );
    let words = refusal(&["--cluster", THREE]);
    assert!(words.contains("--node-id"), "{words}");
}

#[test]
fn timeouts_and_counts_in_the_wrong_order_are_refused() {
    for flags in [
        ["--heartbeat-interval-ms", "1000"],
        ["--election-timeout-min-ms", "2001"],
        ["--snapshot-threshold", "10000"],
    ] {
        let words = refusal(&flags);
        assert!(words.starts_with(flags[0]), "{words}");
        assert!(words.contains(flags[1]), "{words}");
    }
}

#[test]
fn names_and_addresses_that_are_none_are_refused() {
    for (flags, reason) in [
        (["--node-id", "a,b"], "not valid"),
        (["--client-addr", "8101"], "no port"),
        (["--peer-addr", "::1:80"], "no valid host"),
        (["--cluster-id", ""], "not valid"),
    ] {
        let words = refusal(&flags);
        assert!(
            words.starts_with(flags[0]) && words.contains(reason),
            "{words}"
        );
    }
}

#[test]
fn addresses_read_back_as_they_were_written() {
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
