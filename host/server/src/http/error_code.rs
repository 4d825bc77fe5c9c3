//! The codes of the host's errors: the table from which errors, `host/docs/http.md` and the OpenAPI document get status, meaning
//! and the client's next step.

use axum::http::StatusCode;

/// What a client does after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RetryClass {
    /// The same request fails again. Nothing was changed.
    Never,
    /// Nothing was changed. The same request can succeed a moment later, on any node.
    AfterPause,
    /// Nothing was changed. This node can't serve the request; another one can.
    OtherNode,
    /// Nothing was changed. The same request can succeed once the named condition has ended.
    AfterChange,
    /// The request may or may not have been carried out.
    OutcomeUnknown,
}

impl RetryClass {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [
        Self::Never,
        Self::AfterPause,
        Self::OtherNode,
        Self::AfterChange,
        Self::OutcomeUnknown,
    ];

    /// Its name in the documentation.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::AfterPause => "after_pause",
            Self::OtherNode => "other_node",
            Self::AfterChange => "after_change",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }

    /// What a client does.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::Never => {
                "Do not send the same request again: it fails again. Nothing was changed."
            }
            Self::AfterPause => {
                "Nothing was changed. Wait for the seconds in `Retry-After`, then send the request again, to any node."
            }
            Self::OtherNode => "Nothing was changed. Send the request to another node.",
            Self::AfterChange => {
                "Nothing was changed. Send the request again once the condition in `message` has ended. Some conditions end only when \
                 an operator acts."
            }
            Self::OutcomeUnknown => {
                "The request may or may not have been carried out. Send it again if the route allows it; a command only with the same \
                 `Idempotency-Key`."
            }
        }
    }
}

/// One row of the table.
struct ErrorCodeRow {
    code: &'static str,
    status: u16,
    retry: RetryClass,
    meaning: &'static str,
}

/// Defines [`ErrorCode`] and its table.
macro_rules! error_codes {
    ($($name:ident: $code:literal, $status:literal, $retry:ident, $meaning:literal;)*) => {
        /// The code of an error of the host. Two codes with the same spelling have different statuses.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum ErrorCode {
            $(#[doc = $meaning] $name,)*
        }

        impl ErrorCode {
            /// All codes, by status.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            fn row(self) -> ErrorCodeRow {
                match self {
                    $(Self::$name => ErrorCodeRow {
                        code: $code,
                        status: $status,
                        retry: RetryClass::$retry,
                        meaning: $meaning,
                    },)*
                }
            }

            /// The name of the variant.
            #[cfg(test)]
            pub(crate) fn variant(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

error_codes! {
    Malformed: "malformed", 400, Never,
        "The request is invalid. `message` names the header, the parameter or the field.";
    Unauthenticated: "unauthenticated", 401, Never,
        "The node uses TLS, and the client has no certificate and no token, or its token is not accepted. `message` tells why.";
    Forbidden: "forbidden", 403, Never,
        "The client does not have the role that the route needs. `message` names it.";
    CrossOrigin: "cross_origin", 403, Never,
        "A web page of another site has sent the request: `Origin` is not that of the request, or `Sec-Fetch-Site` is `cross-site`.";
    NotFound: "not_found", 404, Never,
        "No route has this path.";
    NoSchema: "no_schema", 404, Never,
        "The guest has no schema of its messages.";
    UnknownNode: "unknown_node", 404, Never,
        "The cluster has no member with this id. A removal that is sent again after it took effect gets this error too.";
    MethodNotAllowed: "method_not_allowed", 405, Never,
        "The path has other methods. The header `Allow` lists them.";
    KeyReused: "key_reused", 409, Never,
        "The `Idempotency-Key` was used for a command with another body.";
    AddressInUse: "address_in_use", 409, Never,
        "The address belongs to another member.";
    WrongNode: "wrong_node", 409, Never,
        "Another node, or a node of another cluster, answers at the address.";
    NoAnswer: "no_answer", 409, AfterChange,
        "A member does not answer at its new address.";
    NoPeerAddress: "no_peer_address", 409, AfterChange,
        "The node was started without `--node-id` and `--peer-addr`, so that it takes no members.";
    ChangeUnderWay: "change_under_way", 409, AfterChange,
        "Another change of the members is in progress.";
    NotCaughtUp: "not_caught_up", 409, AfterChange,
        "The new voter did not receive the log in time. Check that it runs and that the leader can connect to it.";
    LastVoter: "last_voter", 409, AfterChange,
        "The change would leave the cluster without a voter.";
    TooManyMembers: "too_many_members", 409, AfterChange,
        "The cluster has the largest number of members.";
    NotAVoter: "not_a_voter", 409, Never,
        "The node that should lead is not a voter, or the cluster has no other voter.";
    TransferUnderWay: "transfer_under_way", 409, AfterChange,
        "Another leadership transfer is in progress.";
    TransferFailed: "transfer_failed", 409, AfterChange,
        "The other node did not become leader. Check that it runs and has caught up.";
    UnknownLevel: "unknown_level", 409, AfterChange,
        "A member runs a release that does not support the next level.";
    LevelTooLow: "level_too_low", 409, AfterChange,
        "The cluster is at level 0, whose log can't contain what the request needs. Raise the level first.";
    SettingRefused: "setting_refused", 409, Never,
        "The setting can't be set to this value: it can only be raised, or it follows from others.";
    StatesAgree: "states_agree", 409, AfterChange,
        "A majority of the voters has the same state, or the audit has not ended. No state needs to be accepted.";
    NoReport: "no_report", 409, AfterChange,
        "The node has not reported a state hash for the latest audit.";
    UpgradeUnderWay: "upgrade_under_way", 409, AfterChange,
        "An upgrade to another module is in progress. `GET /v1/upgrades` shows its deadline.";
    VotersNotReady: "voters_not_ready", 409, AfterChange,
        "Voters were not ready within `wait_ms`. The upgrade was aborted.";
    Compacted: "compacted", 410, OtherNode,
        "The log of this node does not have the entry any more: a snapshot has replaced it.";
    TooLarge: "too_large", 413, Never,
        "The body is larger than the limit in `message`.";
    UnsupportedMediaType: "unsupported_media_type", 415, Never,
        "The body must be JSON, and `Content-Type` is not `application/json`.";
    UnknownHost: "unknown_host", 421, Never,
        "`Host` is not a name of this node: not of the loopback interface, not the client address, and none of `--allow-host` and of its certificate.";
    NoQueries: "no_queries", 422, Never,
        "The guest has no queries.";
    ModuleRefused: "module_refused", 422, Never,
        "The module failed a check. The current module stays active.";
    ModuleUnsigned: "module_unsigned", 422, Never,
        "The node accepts only modules that one of its keys has signed. The current module stays active.";
    AnotherMachine: "another_machine", 422, Never,
        "The module has another name than the active one. With `replace_machine=true` it may have.";
    LayoutChanged: "layout_changed", 422, Never,
        "The module has the name and the version of the active one, and a state with another layout. The current module stays active.";
    UpgradeStatesDiffer: "states_differ", 422, Never,
        "The new module wrote different states on different nodes. The current module stays active.";
    UpgradeAbandoned: "upgrade_abandoned", 422, AfterChange,
        "The nodes could not prepare the upgrade. The current module stays active.";
    Overloaded: "overloaded", 429, AfterPause,
        "The node has too many requests or bodies in memory.";
    Trap: "trap", 500, Never,
        "The guest trapped. Its state did not change.";
    OutOfFuel: "out_of_fuel", 500, Never,
        "The guest used up the fuel for one call. Its state did not change.";
    OutOfMemory: "out_of_memory", 500, Never,
        "The guest needs more memory than its limit. Its state did not change.";
    GuestUnavailable: "guest_unavailable", 500, OtherNode,
        "This node can't run queries.";
    Internal: "internal", 500, Never,
        "A bug in Oarlock. Please report it with the log of the node.";
    SnapshotFailed: "snapshot_failed", 500, AfterChange,
        "The node could not take the snapshot; the message names the reason. The snapshots before it are unchanged.";
    NotSupported: "not_supported", 501, Never,
        "The node does not support a header of the request: `Transfer-Encoding` has another value than `chunked`.";
    NoLeader: "no_leader", 503, AfterPause,
        "The node found no leader within two election timeouts.";
    NotReady: "not_ready", 503, AfterPause,
        "The node has not caught up with the leader yet.";
    Quarantined: "quarantined", 503, OtherNode,
        "The state of the node differs from that of the majority, so that it serves no requests.";
    StatesDiffer: "states_differ", 503, AfterChange,
        "The states of the nodes differ and no majority agrees. The cluster accepts no commands until an operator accepts a state.";
    Timeout: "timeout", 504, OutcomeUnknown,
        "There was no outcome within `Oarlock-Timeout-Ms`, or the node lost track of it: it is stopping, or it lagged and installed a snapshot.";
    DiskFull: "disk_full", 507, AfterChange,
        "The disk of the leader is full, and no other voter can lead. The leader accepts commands again once there is space.";
    StateFull: "state_full", 507, AfterChange,
        "The guest has used its memory, and the command needs more. Its state did not change. Remove state, or raise the limit.";
}

impl ErrorCode {
    /// The code in the body of the response.
    pub(crate) fn as_str(self) -> &'static str {
        self.row().code
    }

    /// The HTTP status.
    pub(crate) fn status(self) -> StatusCode {
        // A test checks every row.
        StatusCode::from_u16(self.row().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What a client does after this error.
    pub(crate) fn retry(self) -> RetryClass {
        self.row().retry
    }

    /// What happened.
    pub(crate) fn meaning(self) -> &'static str {
        self.row().meaning
    }

    /// Whether the response has the header `Retry-After`.
    pub(crate) fn has_retry_after(self) -> bool {
        matches!(
            self.status(),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        )
    }
}
