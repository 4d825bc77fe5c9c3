//! Routes of this node: status, snapshot, health, metrics and dashboard.

use axum::routing::{get, post};
use schemars::SchemaGenerator;

use super::headers::{LAST_LINE_ID, TIMEOUT};
use crate::access::AccessRole;
use crate::http::doctor::DoctorResponse;
use crate::http::error_code::ErrorCode as E;
use crate::http::logs::{DEFAULT_TAIL, MAX_TAIL, SOURCES};
use crate::http::reference::{
    Access, BodySpec, ParameterPlace, ParameterSpec, Repeat, ReplySpec, RouteSpec, ValueSpec,
};
use crate::http::snapshot::SnapshotTaken;
use crate::http::{backup, dashboard, doctor, entries, health, logs, metrics, snapshot, status};
use crate::node_log::Severity;
use crate::status::NodeStatus;

/// A route without parameters and body that changes nothing.
const fn read_only(
    path: &'static str,
    access: Access,
    name: &'static str,
    summary: &'static str,
    reply: ReplySpec,
    handler: fn() -> axum::routing::MethodRouter<std::sync::Arc<crate::http::app::App>>,
) -> RouteSpec {
    RouteSpec {
        method: "GET",
        path,
        access,
        name,
        summary,
        details: "",
        handler,
        parameters: &[],
        headers: &[],
        body: BodySpec::None,
        reply,
        reply_headers: &[],
        errors: &[],
        repeat: Repeat::ReadOnly,
    }
}

pub(super) const ROUTES: &[RouteSpec] = &[
    read_only(
        "/v1/status",
        Access::Role(AccessRole::Reader),
        "status",
        "Show the status of this node.",
        ReplySpec::Json(SchemaGenerator::subschema_for::<NodeStatus>),
        || get(status::status),
    ),
    RouteSpec {
        details: "[The checks](doctor.md) are those of `oarlock doctor`, which asks every node and so finds more: a node alone can't \
                  tell whether the others run. The counters of `recent` are those of up to 15 minutes.",
        ..read_only(
            "/v1/doctor",
            Access::Role(AccessRole::Reader),
            "doctor",
            "Show what is wrong with this node, and the facts from which that follows.",
            ReplySpec::Json(SchemaGenerator::subschema_for::<DoctorResponse>),
            || get(doctor::doctor),
        )
    },
    RouteSpec {
        method: "POST",
        path: "/v1/snapshot",
        access: Access::Role(AccessRole::Operator),
        name: "takeSnapshot",
        summary: "Take a snapshot of the state on this node.",
        details: "The response comes once a snapshot has all entries that were applied when the request arrived.",
        handler: || post(snapshot::snapshot),
        parameters: &[],
        headers: &[&TIMEOUT],
        body: BodySpec::None,
        reply: ReplySpec::Json(SchemaGenerator::subschema_for::<SnapshotTaken>),
        reply_headers: &[],
        errors: &[
            E::Malformed,
            E::Overloaded,
            E::SnapshotFailed,
            E::NoLeader,
            E::Timeout,
            E::DiskFull,
        ],
        repeat: Repeat::Idempotent,
    },
    RouteSpec {
        method: "GET",
        path: "/v1/backup",
        access: Access::Role(AccessRole::Operator),
        name: "backup",
        summary: "Return a backup: the state of the cluster after one entry of its log.",
        details: "It contains every command that was acknowledged before the request, idempotency keys, deferred commands, settings and \
                  the module. The response begins once this node has taken a snapshot. `oarlock restore` makes a new cluster from \
                  the file; [formats](formats.md) describes it. Its last 32 bytes are the SHA-256 of all others: a response without them \
                  is not complete. A node sends at most two backups at the same time.",
        handler: || get(backup::backup),
        parameters: &[],
        headers: &[&TIMEOUT],
        body: BodySpec::None,
        reply: ReplySpec::Other {
            media_type: "application/octet-stream",
            meaning: "The backup.",
        },
        reply_headers: &[],
        errors: &[
            E::Malformed,
            E::LevelTooLow,
            E::Overloaded,
            E::Internal,
            E::SnapshotFailed,
            E::NoLeader,
            E::Quarantined,
            E::Timeout,
            E::DiskFull,
        ],
        repeat: Repeat::ReadOnly,
    },
    RouteSpec {
        method: "GET",
        path: "/v1/entries",
        access: Access::Role(AccessRole::Operator),
        name: "entries",
        summary: "Stream committed entries from an index on, for an archive of the log.",
        details: "`oarlock archive` uses it; [formats](formats.md) describes the frames of the body. The first frame has the lineage of the \
                  cluster, and the last entry that contains all that was acknowledged before the request. A frame with the last applied \
                  entry follows each piece of entries, and comes every second. The stream ends when the node stops, has no \
                  leader, or no longer has the next entry: request that one again, from any node. A node sends at most four streams at \
                  the same time.",
        handler: || get(entries::entries),
        parameters: &[ParameterSpec {
            place: ParameterPlace::Query,
            name: "from",
            value: ValueSpec::Integer {
                least: 1,
                most: u64::MAX,
                default: Some(1),
            },
            example: "120",
            meaning: "The first entry.",
        }],
        headers: &[&TIMEOUT],
        body: BodySpec::None,
        reply: ReplySpec::Other {
            media_type: "application/octet-stream",
            meaning: "The entries.",
        },
        reply_headers: &[],
        errors: &[
            E::Malformed,
            E::LevelTooLow,
            E::Compacted,
            E::Overloaded,
            E::Internal,
            E::NoLeader,
            E::Quarantined,
            E::Timeout,
        ],
        repeat: Repeat::ReadOnly,
    },
    RouteSpec {
        method: "GET",
        path: "/v1/logs",
        access: Access::Role(AccessRole::Operator),
        name: "logs",
        summary: "Stream the log of this node and of its guest, as server-sent events.",
        details: "An event `line` has the data `{\"time_ms\":…,\"level\":\"info\",\"source\":\"guest\",\"target\":\"guest\",\"text\":\"…\"}`: the \
                  clock of the node in milliseconds since 1970-01-01 UTC, how severe the line is, who wrote it, the module of the \
                  program, and the message with its fields. Only the node sets `source`, so a guest cannot write lines of the node. \
                  Lines are those that pass the filter `--log` of the node.\n\nA process keeps its last 10,000 lines, up to 4 MiB, in \
                  memory, each with at most 8 KiB of text. If a client reads so slowly that lines are dropped before, it gets an event \
                  `gap` with the data `{\"missed\":3,\"message\":\"…\"}`; `missed` is `null` if the node was restarted since. The metric \
                  `oarlock_log_lines_missed_total` counts them. An idle stream has a comment line every 15 seconds. A stream with \
                  `follow` ends when the node stops. Nodes of `oarlock demo` run in one process and share its log. Lines of libraries \
                  are on standard error only.",
        handler: || get(logs::logs),
        parameters: &[
            ParameterSpec {
                place: ParameterPlace::Query,
                name: "level",
                value: ValueSpec::OneOf(&Severity::NAMES),
                example: "warn",
                meaning: "Only lines of this level and more severe ones.",
            },
            ParameterSpec {
                place: ParameterPlace::Query,
                name: "source",
                value: ValueSpec::OneOf(&SOURCES),
                example: "guest",
                meaning: "Only lines of the guest, or only those of the node.",
            },
            ParameterSpec {
                place: ParameterPlace::Query,
                name: "tail",
                value: ValueSpec::Integer {
                    least: 0,
                    most: MAX_TAIL,
                    default: Some(DEFAULT_TAIL),
                },
                example: "10",
                meaning: "How many past lines the stream begins with, if the request does not name a last line.",
            },
            ParameterSpec {
                place: ParameterPlace::Query,
                name: "after",
                value: ValueSpec::Pattern("^[0-9a-f]{16}\\.[0-9]+$"),
                example: "00000000000012ab.120",
                meaning: "As the header `Last-Event-ID`, for clients that can't set headers.",
            },
            ParameterSpec {
                place: ParameterPlace::Query,
                name: "follow",
                value: ValueSpec::Flag,
                example: "false",
                meaning: "Go on with new lines, without an end.",
            },
        ],
        headers: &[&LAST_LINE_ID],
        body: BodySpec::None,
        reply: ReplySpec::Other {
            media_type: "text/event-stream",
            meaning: "A stream of server-sent events.",
        },
        reply_headers: &[],
        errors: &[E::Malformed, E::Overloaded],
        repeat: Repeat::ReadOnly,
    },
    read_only(
        "/healthz",
        Access::Open,
        "alive",
        "Respond while the process runs.",
        ReplySpec::Other {
            media_type: "text/plain; charset=utf-8",
            meaning: "`alive`",
        },
        || get(health::alive),
    ),
    RouteSpec {
        details: "Low memory does not make a node unready; the text says so then.",
        errors: &[E::NoLeader, E::NotReady, E::Quarantined],
        ..read_only(
            "/readyz",
            Access::Open,
            "ready",
            "Respond with 200 if this node has a leader, has caught up with it and is not quarantined.",
            ReplySpec::Other {
                media_type: "text/plain; charset=utf-8",
                meaning: "`ready`",
            },
            || get(health::ready),
        )
    },
    RouteSpec {
        details: "[Metrics](metrics.md) lists them. A client whose header `Accept` prefers `application/openmetrics-text` gets that format.",
        errors: &[E::Internal],
        ..read_only(
            "/metrics",
            Access::Role(AccessRole::Monitor),
            "metrics",
            "Return counters and gauges in the text format of Prometheus.",
            ReplySpec::Other {
                media_type: "text/plain; version=0.0.4",
                meaning: "The metrics.",
            },
            || get(metrics::metrics),
        )
    },
    read_only(
        "/",
        Access::Known,
        "dashboard",
        "Return the dashboard, a page that reads `/v1/status` and `/metrics` every second.",
        ReplySpec::Other {
            media_type: "text/html; charset=utf-8",
            meaning: "The page.",
        },
        || get(dashboard::dashboard),
    ),
];
