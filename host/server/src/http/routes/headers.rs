//! Headers that several routes have in common.

use crate::http::reference::{HeaderSpec, ValueSpec};
use crate::http::request::{DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS};

/// How long a request may take.
pub(super) const TIMEOUT: HeaderSpec = HeaderSpec {
    name: "Oarlock-Timeout-Ms",
    value: ValueSpec::Integer {
        least: 1,
        most: MAX_TIMEOUT_MS,
        default: Some(DEFAULT_TIMEOUT_MS),
    },
    example: "500",
    meaning: "How long the request may take, in milliseconds. After that the response is 504 `timeout`. Without a leader the \
              response is 503 `no_leader` after two election timeouts, which may be earlier.",
};

/// The same for an upgrade, which has another default.
pub(super) const UPGRADE_TIMEOUT: HeaderSpec = HeaderSpec {
    name: "Oarlock-Timeout-Ms",
    value: ValueSpec::Integer {
        least: 1,
        most: MAX_TIMEOUT_MS,
        default: None,
    },
    example: "120000",
    meaning: "How long the request may take, in milliseconds. Default: `wait_ms` and 10 seconds.",
};

/// How long `GET /v1/upgrades?after=…` waits.
pub(super) const LONGEST_WAIT: HeaderSpec = HeaderSpec {
    name: "Oarlock-Timeout-Ms",
    value: TIMEOUT.value,
    example: "5000",
    meaning: "How long a request with `after` waits for another revision, in milliseconds. After that the response shows the same \
              revision.",
};

/// Makes a command safe to send again.
pub(super) const IDEMPOTENCY_KEY: HeaderSpec = HeaderSpec {
    name: "Idempotency-Key",
    value: ValueSpec::Pattern("^[!-~]{1,256}$"),
    example: "5f0c9d3e-1b7a",
    meaning: "1 to 256 visible ASCII characters. The first command with this key is applied. The same key with the same body gets the \
              first reply again, 200 or 422, on any node, also after restarts, snapshots, upgrades and changes of the leader. With \
              another body the response is 409 `key_reused`. After 500, 409, 413, 429, 503 and 507 the key is not stored. The cluster \
              forgets a key after a day (setting `key_ttl_ms`), or earlier if there are more keys than the settings `keys` and \
              `key_bytes` allow.",
};

/// The position of a reply in the log.
pub(super) const INDEX: HeaderSpec = HeaderSpec {
    name: "Oarlock-Index",
    value: ValueSpec::Integer {
        least: 0,
        most: u64::MAX,
        default: None,
    },
    example: "120",
    meaning: "For a command: the index of its entry in the log. For a repeated command with the same `Idempotency-Key`: the index of the \
              entry that contains the repetition, not the index of the first one. For a query: the last entry in the state that it \
              read. Replies of the guest have this header, with status 200 and 422. Errors of the host do not.",
};

/// The digest of the active module.
pub(super) const ETAG: HeaderSpec = HeaderSpec {
    name: "ETag",
    value: ValueSpec::Pattern("^\"[0-9a-f]{64}\"$"),
    example: "\"0000000000000000000000000000000000000000000000000000000000000000\"",
    meaning: "SHA-256 of the module, in quotes.",
};

/// Where a stream of events continues.
pub(super) const LAST_EVENT_ID: HeaderSpec = HeaderSpec {
    name: "Last-Event-ID",
    value: ValueSpec::Pattern("^([0-9]+\\.[0-9]+)?$"),
    example: "120.0",
    meaning: "The id of the last event that the client has received. The stream continues after it. Browsers send the header when they \
              reconnect. It takes precedence over the parameter `after`.",
};

/// Where a stream of log lines continues.
pub(super) const LAST_LINE_ID: HeaderSpec = HeaderSpec {
    name: "Last-Event-ID",
    value: ValueSpec::Pattern("^([0-9a-f]{16}\\.[0-9]+)?$"),
    example: "00000000000012ab.120",
    meaning: "For `GET /v1/logs`: the id of the last line that the client has received. The stream continues after it.",
};
