//! Upgrades to a guest with another name or another layout: no state is misread.

use std::path::Path;

use bytes::Bytes;
use oarlock_wasm::{GuestEngine, GuestModule, MachineLimits, Sha256};
use serde_json::{Value, json};

use super::support::{Client, Guest, ReceivedResponse, Running};
use crate::settings::GuestSource;

/// The file of a guest of `tests/guests/fruit`.
fn file(name: &str) -> std::path::PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join(format!("tests/guests/{name}.wasm"))
}

fn fruit(name: &str) -> Bytes {
    std::fs::read(file(name)).expect("a module").into()
}

/// How an error names a guest of `tests/guests/fruit`.
fn label(file: &str) -> String {
    let bytes = fruit(file);
    let sha256 = Sha256::of(&bytes).to_string();
    let engine = GuestEngine::new().expect("an engine");
    let module = GuestModule::load(&engine, bytes, &MachineLimits::default());
    let module = module.expect("a guest");
    let description = module.description();
    let layout = description.layout.as_deref().expect("a layout");
    let (name, version, short) = (&description.name, description.version, &sha256[..12]);
    format!("{name} version {version} ({short}, layout {layout})")
}

async fn post(client: &Client, query: &str, module: &Bytes) -> ReceivedResponse {
    let target = format!("/v1/state-machine{query}");
    client.send("POST", &target, &[], module.clone()).await
}

async fn active(client: &Client) -> Value {
    client.get("/v1/status").await.json()["state_machine"].clone()
}

/// A node with the guest `apples`, which has two apples and a pear.
async fn two_apples_and_a_pear() -> Running {
    let change = |settings: &mut crate::settings::ServeSettings| {
        settings.guest = GuestSource::File(file("apples"));
    };
    let running = Running::start_with(Guest::Counter, change).await;
    for command in ["a", "p", "a"] {
        assert_eq!(running.client.apply(command).await.status, 200);
    }
    running
}

async fn count(client: &Client) -> String {
    String::from_utf8_lossy(&client.query("count").await.body).into_owned()
}

#[tokio::test]
async fn guests_that_could_misread_the_state_are_refused_and_both_are_named() {
    let running = two_apples_and_a_pear().await;
    let client = &running.client;
    let apples = label("apples");
    for (name, query, (status, code)) in [
        ("pears", "", (422, "another_machine")),
        ("pears", "?dry_run=true", (422, "another_machine")),
        ("apples-swapped", "", (422, "layout_changed")),
        ("apples-swapped", "?dry_run=true", (422, "layout_changed")),
        (
            "apples-swapped",
            "?replace_machine=true",
            (422, "layout_changed"),
        ),
        ("apples-widened", "", (422, "layout_changed")),
        ("apples-widened", "?dry_run=true", (422, "layout_changed")),
        (
            "apples-widened",
            "?replace_machine=true",
            (422, "layout_changed"),
        ),
        ("apples-foreign", "", (422, "layout_changed")),
    ] {
        let response = post(client, query, &fruit(name)).await;
        response.assert_error(status, code);
        let error = response.json()["error"].clone();
        let message = error["message"].as_str().expect("a message").to_owned();
        let new = label(name);
        assert_ne!(new, apples);
        for guest in [&apples, &new] {
            assert_eq!(
                message.matches(guest.as_str()).count(),
                1,
                "{guest}: {message}"
            );
        }
        let named = message.matches(" version 1 (").count();
        assert_eq!(named, 2, "two guests in: {message}");
        let advice = "raise the version of the guest and write `migrate`";
        let advised = error.to_string().contains(advice);
        assert_eq!(advised, code == "layout_changed", "{error}");
    }
    // Nothing was proposed.
    let upgrades = client.get("/v1/upgrades").await.json();
    assert_eq!(upgrades["history"], json!([]));
    assert_eq!(active(client).await["name"], "apples");
    assert_eq!(count(client).await, "2 apples, 1 pears");
    running.node.shutdown().await;
}

#[tokio::test]
async fn a_machine_is_replaced_on_purpose_and_no_field_is_misread() {
    let running = two_apples_and_a_pear().await;
    let client = &running.client;
    let pears = fruit("pears");
    let tried = post(client, "?dry_run=true&replace_machine=true", &pears).await;
    assert_eq!(tried.status, 200, "{tried:?}");
    let tried = tried.json();
    assert_eq!(
        (&tried["name"], &tried["dry_run"]),
        (&json!("pears"), &json!(true))
    );
    let layout = tried["layout"].as_str().expect("a layout");
    assert!(layout.starts_with("serde1:"), "{layout}");
    assert_eq!(active(client).await["name"], "apples");

    let replaced = post(client, "?replace_machine=true", &pears).await;
    assert_eq!(replaced.status, 200, "{replaced:?}");
    let status = active(client).await;
    assert_eq!(
        (&status["name"], &status["layout"]),
        (&json!("pears"), &json!(layout))
    );
    assert_eq!(count(client).await, "2 apples, 1 pears");
    assert_eq!(client.apply("p").await.body, "2 apples, 2 pears");

    // `apples` has no `migrate`, so there is no way back, with the flag or without.
    let apples = fruit("apples");
    post(client, "", &apples)
        .await
        .assert_error(422, "another_machine");
    let back = post(client, "?replace_machine=true", &apples).await;
    back.assert_error(422, "module_refused");
    let message = back.json()["error"]["message"].to_string();
    for part in [
        "pears version 1 (layout ",
        "apples version 1 (layout ",
        "has no `migrate`",
    ] {
        assert!(message.contains(part), "{part} is missing in {message}");
    }
    assert_eq!(count(client).await, "2 apples, 2 pears");
    running.node.shutdown().await;
}
