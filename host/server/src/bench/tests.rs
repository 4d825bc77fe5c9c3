use std::time::Duration;

use clap::Parser;
use oarlock_client::{Client, NodeInfo};

use super::load::{self, LoadPlan};
use super::plan;
use super::report::Report;
use super::template::Template;
use crate::cli::{BenchArgs, Cli, CliCommand};
use crate::demo::tests::{guest, start};
use crate::settings::GuestSource;

fn args(flags: &[&str]) -> BenchArgs {
    let CliCommand::Bench(args) = Cli::try_parse_from(["oarlock", "bench"].iter().chain(flags))
        .unwrap()
        .command
    else {
        panic!("another command was read");
    };
    args
}

fn status(module: &str) -> NodeInfo {
    serde_json::from_value(serde_json::json!({
        "node_id": "n", "role": "leader", "term": 1, "commit_index": 0, "applied_index": 0, "first_log_index": 1,
        "last_log_index": 0, "state_hash": "", "members": [], "uptime_ms": 0, "version": "",
        "state_machine": {"name": module, "version": 1, "sha256": ""},
    }))
    .unwrap()
}

/// The shortest measurement.
fn short(plan: LoadPlan) -> LoadPlan {
    LoadPlan {
        duration: Duration::from_secs(1),
        clients: 4,
        ..plan
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_and_queries_are_measured_on_every_example_guest() {
    for (guest, name) in [
        (GuestSource::BuiltInQueue, "task-queue v2"),
        (guest("kv"), "kv v1"),
        (guest("counter"), "counter v1"),
    ] {
        let cluster = start(1, guest).await;
        let client = cluster.client().unwrap();
        let status = client.status().await.unwrap();
        for flags in [&["--size", "100"][..], &["--query"][..]] {
            let plan = short(plan(&args(flags), &client, &status).unwrap());
            let report = Report::new(&plan, &status, load::run(&plan, true).await, None);
            report.verdict().unwrap();
            let json: serde_json::Value = serde_json::from_str(&report.as_json()).unwrap();
            assert_eq!(json["module"], name);
            assert_eq!(json["errors"], serde_json::json!({}), "{json}");
            assert!(
                json["done"].as_u64().unwrap() > 0
                    && json["throughput_per_s"].as_f64().unwrap() > 0.0,
                "{json}"
            );
            let latency = |name: &str| json["latency_us"][name].as_u64().unwrap();
            let ordered = ["p50", "p95", "p99", "p999"].map(latency);
            assert!(
                ordered.is_sorted() && ordered[0] > 0 && latency("max") >= latency("p50"),
                "{json}"
            );
            let text = report.as_text();
            assert!(
                text.contains("throughput") && text.contains("p99.9"),
                "{text}"
            );
        }
        cluster.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_counted_apart_and_a_run_of_refusals_alone_fails() {
    let cluster = start(1, guest("counter")).await;
    let client = cluster.client().unwrap();
    let status = client.status().await.unwrap();
    let plan = short(
        plan(
            &args(&["--command", "not a command {seq}"]),
            &client,
            &status,
        )
        .unwrap(),
    );
    let report = Report::new(&plan, &status, load::run(&plan, true).await, None);
    let json: serde_json::Value = serde_json::from_str(&report.as_json()).unwrap();
    assert_eq!(json["done"], 0);
    assert!(json["errors"]["refused"].as_u64().unwrap() > 0, "{json}");
    let failure = report.verdict().unwrap_err();
    assert_eq!(failure.code(), 1);
    assert!(failure.to_string().contains("422"), "{failure}");
    cluster.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_connection_the_exit_code_is_3() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = socket.local_addr().unwrap().to_string().parse().unwrap();
    let plan = LoadPlan {
        endpoints: vec![endpoint],
        clients: 2,
        duration: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        tls: None,
        token: None,
        query: false,
        size: 0,
        template: Template::parse("x", 0),
    };
    let report = Report::new(&plan, &status("kv"), load::run(&plan, true).await, None);
    let failure = report.verdict().unwrap_err();
    assert_eq!(failure.code(), 3, "{failure}");
}

#[tokio::test]
async fn a_guest_without_a_default_command_needs_the_flag() {
    let status = status("other");
    let client = Client::new(["127.0.0.1:1".parse().unwrap()]).unwrap();
    let failure = plan(&args(&[]), &client, &status).unwrap_err();
    assert_eq!(failure.code(), 2);
    assert!(failure.to_string().contains("--command"), "{failure}");
    assert!(plan(&args(&["--command", "{seq}"]), &client, &status).is_ok());
}
