//! Routes of the guest: commands, queries, events, the module and its upgrades.

use axum::routing::{get, post};
use oarlock_wasm::MAX_SIGNATURE_BYTES;
use schemars::SchemaGenerator;

use super::headers::{
    ETAG, IDEMPOTENCY_KEY, INDEX, LAST_EVENT_ID, LONGEST_WAIT, TIMEOUT, UPGRADE_TIMEOUT,
};
use crate::access::AccessRole;
use crate::http::error_code::ErrorCode as E;
use crate::http::reference::{
    Access, BodySpec, ParameterPlace, ParameterSpec, Repeat, ReplySpec, RouteSpec, ValueSpec,
};
use crate::http::upgrade::{
    DEFAULT_WAIT_MS, MAX_BY_BYTES, MAX_WAIT_MS, UpgradeResponse, UpgradesResponse,
};
use crate::http::{apply, events, query, schema, upgrade};

pub(super) const ROUTES: &[RouteSpec] = &[
    RouteSpec {
        method: "POST",
        path: "/v1/apply",
        access: Access::Role(AccessRole::Writer),
        name: "apply",
        summary: "Apply one command and return the reply of the guest.",
        details: "The body is one command, passed to the guest unchanged: 1 byte up to the setting `command_bytes`, by default 1,048,576. \
                  The response comes once the command is committed and this node has applied it. A guest can defer its reply; then the \
                  response comes when the guest completes it. `Content-Type` is `application/json` if the codec of the guest is JSON, \
                  else `application/octet-stream`.\n\nA 422 is the refusal of the guest: the body is its reply, and the \
                  command changed nothing.",
        handler: || post(apply::apply),
        parameters: &[],
        headers: &[&IDEMPOTENCY_KEY, &TIMEOUT],
        body: BodySpec::Guest("command"),
        reply: ReplySpec::Guest,
        reply_headers: &[&INDEX],
        errors: &[
            E::Malformed,
            E::KeyReused,
            E::LevelTooLow,
            E::TooLarge,
            E::Overloaded,
            E::Trap,
            E::OutOfFuel,
            E::OutOfMemory,
            E::Internal,
            E::NoLeader,
            E::Quarantined,
            E::StatesDiffer,
            E::Timeout,
            E::DiskFull,
            E::StateFull,
        ],
        repeat: Repeat::WithKey,
    },
    RouteSpec {
        method: "POST",
        path: "/v1/query",
        access: Access::Role(AccessRole::Reader),
        name: "query",
        summary: "Query the guest and return its response.",
        details: "The body is one query, passed to the guest unchanged: 1 byte up to the setting `command_bytes`. `Content-Type` is that of \
                  `POST /v1/apply`. A 422 with `Oarlock-Index` is the refusal of the guest, one without is an error of the host.",
        handler: || post(query::query),
        parameters: &[
            ParameterSpec {
                place: ParameterPlace::Query,
                name: "consistency",
                value: ValueSpec::OneOf(&["linearizable", "stale"]),
                example: "stale",
                meaning: "`linearizable`: the query sees every command that was acknowledged before it. `stale`: it reads the state of this \
                      node, which may lag behind; no leader is needed.",
            },
            ParameterSpec {
                place: ParameterPlace::Query,
                name: "wait_index",
                value: ValueSpec::Integer {
                    least: 0,
                    most: u64::MAX,
                    default: None,
                },
                example: "0",
                meaning: "Wait until this node has applied an entry after this index, at most for three quarters of the timeout. Send the \
                      `Oarlock-Index` of the last response to wait for a change.",
            },
        ],
        headers: &[&TIMEOUT],
        body: BodySpec::Guest("query"),
        reply: ReplySpec::Guest,
        reply_headers: &[&INDEX],
        errors: &[
            E::Malformed,
            E::TooLarge,
            E::NoQueries,
            E::Overloaded,
            E::Trap,
            E::OutOfFuel,
            E::OutOfMemory,
            E::GuestUnavailable,
            E::NoLeader,
            E::Quarantined,
            E::Timeout,
        ],
        repeat: Repeat::ReadOnly,
    },
    RouteSpec {
        method: "GET",
        path: "/v1/schema",
        access: Access::Role(AccessRole::Reader),
        name: "schema",
        summary: "Return the schema of the guest's messages.",
        details: "A JSON Schema document in the form that [schema.md](schema.md) defines, as the guest describes itself. `oarlock client` \
                  generates typed clients from it.",
        handler: || get(schema::schema),
        parameters: &[],
        headers: &[],
        body: BodySpec::None,
        reply: ReplySpec::Other {
            media_type: "application/schema+json",
            meaning: "The document.",
        },
        reply_headers: &[],
        errors: &[E::NoSchema],
        repeat: Repeat::ReadOnly,
    },
    RouteSpec {
        method: "GET",
        path: "/v1/events",
        access: Access::Unscoped(AccessRole::Reader),
        name: "events",
        summary: "Stream the events of the guest, as server-sent events.",
        details: "Each event has the fields `event: TOPIC`, `data: PAYLOAD` and `id: INDEX.N`: the index of the entry, and the number of the \
                  event in this entry. Ids are equal on every node, so a client can continue on another node. A payload that is not UTF-8, \
                  has a carriage return, or begins with `{\"hex\":\"`, becomes `{\"hex\":\"…\"}`: a payload that begins so is always \
                  hexadecimal.\n\nWithout `Last-Event-ID` and `after` the stream \
                  starts with the next event; its first lines have the id of the position, so that a client which reconnects before \
                  the first event misses none. A node keeps the last 10,000 events, up to 16 MiB, in memory. If events after the given id \
                  may be missing, the stream begins with an event of the topic `oarlock.gap`, whatever the `topic` of the request is; \
                  read the state with a query then. An idle stream has a comment line every 15 seconds. The stream ends when the node \
                  stops.\n\nA token with scopes gets 403: events are not limited to them.",
        handler: || get(events::events),
        parameters: &[
            ParameterSpec {
                place: ParameterPlace::Query,
                name: "after",
                value: ValueSpec::Pattern("^[0-9]+\\.[0-9]+$"),
                example: "120.0",
                meaning: "As the header `Last-Event-ID`, for clients that can't set headers.",
            },
            ParameterSpec {
                place: ParameterPlace::Query,
                name: "topic",
                value: ValueSpec::Text {
                    least: 0,
                    most: 8192,
                },
                example: "orders",
                meaning: "Only events of this topic.",
            },
        ],
        headers: &[&LAST_EVENT_ID],
        body: BodySpec::None,
        reply: ReplySpec::Other {
            media_type: "text/event-stream",
            meaning: "A stream of server-sent events without an end.",
        },
        reply_headers: &[],
        errors: &[E::Malformed, E::Overloaded],
        repeat: Repeat::If(
            "Safe to send again, to any node: send the id of the last event in `Last-Event-ID`, then none is missed and none is repeated.",
        ),
    },
    RouteSpec {
        method: "GET",
        path: "/v1/state-machine",
        access: Access::Role(AccessRole::Reader),
        name: "getStateMachine",
        summary: "Return the active module.",
        details: "",
        handler: || get(upgrade::module),
        parameters: &[],
        headers: &[],
        body: BodySpec::None,
        reply: ReplySpec::Other {
            media_type: "application/wasm",
            meaning: "The bytes of the module, as they were uploaded.",
        },
        reply_headers: &[&ETAG],
        errors: &[],
        repeat: Repeat::ReadOnly,
    },
    RouteSpec {
        method: "POST",
        path: "/v1/state-machine",
        access: Access::Role(AccessRole::Upgrader),
        name: "upgradeStateMachine",
        summary: "Upgrade the cluster to another module.",
        details: "The body is the module, 1 byte up to the setting `module_bytes`, by default 64 MiB. Every voter compiles it and tries it on a copy of the state. Then all nodes switch at \
                  one entry of the log. The response comes once the module is active on this node. If a check fails, the current module \
                  stays active. A second request for the same module waits for the upgrade in progress.",
        handler: || post(upgrade::upgrade),
        parameters: &[
            ParameterSpec {
                place: ParameterPlace::Query,
                name: "dry_run",
                value: ValueSpec::Flag,
                example: "true",
                meaning: "Run every check on every voter, and do not activate the module.",
            },
            ParameterSpec {
                place: ParameterPlace::Query,
                name: "replace_machine",
                value: ValueSpec::Flag,
                example: "true",
                meaning: "Allow a module with another name than the active one. It must be able to read the state.",
            },
            ParameterSpec {
                place: ParameterPlace::Query,
                name: "wait_ms",
                value: ValueSpec::Integer {
                    least: 1,
                    most: MAX_WAIT_MS,
                    default: Some(DEFAULT_WAIT_MS),
                },
                example: "60000",
                meaning: "How long the voters may take to prepare, in milliseconds. After that the upgrade is aborted.",
            },
            ParameterSpec {
                place: ParameterPlace::Query,
                name: "by",
                value: ValueSpec::Text {
                    least: 0,
                    most: MAX_BY_BYTES as u64,
                },
                example: "ann",
                meaning: "Who requests the upgrade, for the history. Default: `http`. No control characters.",
            },
            ParameterSpec {
                place: ParameterPlace::Query,
                name: "signature",
                value: ValueSpec::Text {
                    least: 0,
                    most: MAX_SIGNATURE_BYTES as u64,
                },
                example: "oarlock-module1.5e8f.c2ln",
                meaning: "The signature of the module, as `oarlock sign-module` prints it, for nodes with `--module-signers`. Every voter \
                          checks it with its own keys.",
            },
        ],
        headers: &[&UPGRADE_TIMEOUT],
        body: BodySpec::Module,
        reply: ReplySpec::Json(SchemaGenerator::subschema_for::<UpgradeResponse>),
        reply_headers: &[],
        errors: &[
            E::Malformed,
            E::LevelTooLow,
            E::UpgradeUnderWay,
            E::VotersNotReady,
            E::TooLarge,
            E::ModuleRefused,
            E::ModuleUnsigned,
            E::AnotherMachine,
            E::LayoutChanged,
            E::UpgradeStatesDiffer,
            E::UpgradeAbandoned,
            E::Overloaded,
            E::Internal,
            E::NoLeader,
            E::Timeout,
            E::DiskFull,
        ],
        repeat: Repeat::Idempotent,
    },
    RouteSpec {
        method: "GET",
        path: "/v1/upgrades",
        access: Access::Role(AccessRole::Reader),
        name: "upgrades",
        summary: "Show the active module, the upgrade in progress and past upgrades.",
        details: "",
        handler: || get(upgrade::upgrades),
        parameters: &[ParameterSpec {
            place: ParameterPlace::Query,
            name: "after",
            value: ValueSpec::Integer {
                least: 0,
                most: u64::MAX,
                default: None,
            },
            example: "7",
            meaning: "Wait until `revision` is another one than this. Without it the response comes at once.",
        }],
        headers: &[&LONGEST_WAIT],
        body: BodySpec::None,
        reply: ReplySpec::Json(SchemaGenerator::subschema_for::<UpgradesResponse>),
        reply_headers: &[],
        errors: &[E::Malformed],
        repeat: Repeat::ReadOnly,
    },
];
