//! The supported interfaces of WASI 0.2, by name. Functions that a later 0.2 adds are not supported.

/// An interface: its resources and functions.
pub(crate) struct Interface {
    /// Name with the linked version. Imports of any 0.2 version link to it.
    pub(crate) name: &'static str,
    /// Implemented functions and types, including types of other interfaces that it uses.
    implemented: &'static [&'static str],
    /// Its resources of which a guest never holds a handle, so their methods never run.
    pub(super) unheld: &'static [UnheldResource],
    /// Functions with a parameter of which a guest never holds a handle.
    pub(super) unreachable: &'static [&'static str],
}

/// A resource of which a guest never holds a handle.
pub(crate) struct UnheldResource {
    pub(super) name: &'static str,
    pub(super) methods: &'static [&'static str],
}

impl Interface {
    /// Whether the interface has a resource or a function of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        let method_of = |resource: &UnheldResource| {
            let method = name.strip_prefix("[method]")?.strip_prefix(resource.name)?;
            Some(resource.methods.contains(&method.strip_prefix('.')?))
        };
        self.implemented.contains(&name)
            || self.unreachable.contains(&name)
            || self
                .unheld
                .iter()
                .any(|resource| resource.name == name || method_of(resource) == Some(true))
    }
}

#[cfg(test)]
impl Interface {
    /// All its resources and functions.
    pub(super) fn names(&self) -> Vec<String> {
        let methods = self.unheld.iter().flat_map(|resource| {
            let method = |method| format!("[method]{}.{method}", resource.name);
            std::iter::once(resource.name.to_owned()).chain(resource.methods.iter().map(method))
        });
        let others = self.implemented.iter().chain(self.unreachable);
        others.map(|&name| name.to_owned()).chain(methods).collect()
    }
}

pub(super) const POLL: &str = "wasi:io/poll@0.2.12";
pub(super) const STREAMS: &str = "wasi:io/streams@0.2.12";
pub(super) const STDIN: &str = "wasi:cli/stdin@0.2.12";
pub(super) const STDOUT: &str = "wasi:cli/stdout@0.2.12";
pub(super) const STDERR: &str = "wasi:cli/stderr@0.2.12";
pub(super) const ENVIRONMENT: &str = "wasi:cli/environment@0.2.12";
pub(super) const EXIT: &str = "wasi:cli/exit@0.2.12";
pub(super) const MONOTONIC_CLOCK: &str = "wasi:clocks/monotonic-clock@0.2.12";
pub(super) const WALL_CLOCK: &str = "wasi:clocks/wall-clock@0.2.12";
pub(super) const INSECURE_SEED: &str = "wasi:random/insecure-seed@0.2.12";
pub(super) const PREOPENS: &str = "wasi:filesystem/preopens@0.2.12";
pub(super) const NETWORK: &str = "wasi:sockets/network@0.2.12";
pub(super) const INSTANCE_NETWORK: &str = "wasi:sockets/instance-network@0.2.12";

/// Interfaces that return a terminal, if there is one.
pub(super) const TERMINALS: [(&str, &str); 3] = [
    ("wasi:cli/terminal-stdin@0.2.12", "get-terminal-stdin"),
    ("wasi:cli/terminal-stdout@0.2.12", "get-terminal-stdout"),
    ("wasi:cli/terminal-stderr@0.2.12", "get-terminal-stderr"),
];

/// Random generators: interface, function for bytes, function for a number.
pub(super) const RANDOM: [(&str, &str, &str); 2] = [
    (
        "wasi:random/random@0.2.12",
        "get-random-bytes",
        "get-random-u64",
    ),
    (
        "wasi:random/insecure@0.2.12",
        "get-insecure-random-bytes",
        "get-insecure-random-u64",
    ),
];

/// Functions that return `access-denied`.
pub(super) const REFUSED: [(&str, &str); 3] = [
    ("wasi:sockets/tcp-create-socket@0.2.12", "create-tcp-socket"),
    ("wasi:sockets/udp-create-socket@0.2.12", "create-udp-socket"),
    ("wasi:sockets/ip-name-lookup@0.2.12", "resolve-addresses"),
];

const fn implemented(name: &'static str, implemented: &'static [&'static str]) -> Interface {
    Interface {
        name,
        implemented,
        unheld: &[],
        unreachable: &[],
    }
}

const fn unheld(name: &'static str, unheld: &'static [UnheldResource]) -> Interface {
    Interface {
        name,
        implemented: &[],
        unheld,
        unreachable: &[],
    }
}

/// All supported interfaces.
pub(crate) const INTERFACES: &[Interface] = &[
    unheld(
        "wasi:io/error@0.2.12",
        &[UnheldResource {
            name: "error",
            methods: &["to-debug-string"],
        }],
    ),
    implemented(
        POLL,
        &[
            "pollable",
            "[method]pollable.ready",
            "[method]pollable.block",
            "poll",
        ],
    ),
    implemented(
        STREAMS,
        &[
            "error",
            "pollable",
            "input-stream",
            "[method]input-stream.read",
            "[method]input-stream.blocking-read",
            "[method]input-stream.skip",
            "[method]input-stream.blocking-skip",
            "[method]input-stream.subscribe",
            "output-stream",
            "[method]output-stream.check-write",
            "[method]output-stream.write",
            "[method]output-stream.blocking-write-and-flush",
            "[method]output-stream.flush",
            "[method]output-stream.blocking-flush",
            "[method]output-stream.subscribe",
            "[method]output-stream.write-zeroes",
            "[method]output-stream.blocking-write-zeroes-and-flush",
            "[method]output-stream.splice",
            "[method]output-stream.blocking-splice",
        ],
    ),
    implemented(STDIN, &["input-stream", "get-stdin"]),
    implemented(STDOUT, &["output-stream", "get-stdout"]),
    implemented(STDERR, &["output-stream", "get-stderr"]),
    unheld(
        "wasi:cli/terminal-input@0.2.12",
        &[UnheldResource {
            name: "terminal-input",
            methods: &[],
        }],
    ),
    unheld(
        "wasi:cli/terminal-output@0.2.12",
        &[UnheldResource {
            name: "terminal-output",
            methods: &[],
        }],
    ),
    implemented(TERMINALS[0].0, &["terminal-input", TERMINALS[0].1]),
    implemented(TERMINALS[1].0, &["terminal-output", TERMINALS[1].1]),
    implemented(TERMINALS[2].0, &["terminal-output", TERMINALS[2].1]),
    implemented(
        ENVIRONMENT,
        &["get-environment", "get-arguments", "initial-cwd"],
    ),
    implemented(EXIT, &["exit", "exit-with-code"]),
    implemented(
        MONOTONIC_CLOCK,
        &[
            "pollable",
            "now",
            "resolution",
            "subscribe-instant",
            "subscribe-duration",
        ],
    ),
    implemented(WALL_CLOCK, &["now", "resolution"]),
    implemented(RANDOM[0].0, &[RANDOM[0].1, RANDOM[0].2]),
    implemented(RANDOM[1].0, &[RANDOM[1].1, RANDOM[1].2]),
    implemented(INSECURE_SEED, &["insecure-seed"]),
    FILES,
    implemented(PREOPENS, &["descriptor", "get-directories"]),
    Interface {
        name: NETWORK,
        implemented: &["error", "network"],
        unheld: &[],
        unreachable: &["network-error-code"],
    },
    implemented(INSTANCE_NETWORK, &["network", "instance-network"]),
    NAMES,
    TCP,
    implemented(REFUSED[0].0, &["network", "tcp-socket", REFUSED[0].1]),
    UDP,
    implemented(REFUSED[1].0, &["network", "udp-socket", REFUSED[1].1]),
];

const FILES: Interface = Interface {
    name: "wasi:filesystem/types@0.2.12",
    implemented: &["input-stream", "output-stream", "error"],
    unheld: &[
        UnheldResource {
            name: "descriptor",
            methods: &[
                "read-via-stream",
                "write-via-stream",
                "append-via-stream",
                "advise",
                "sync-data",
                "get-flags",
                "get-type",
                "set-size",
                "set-times",
                "read",
                "write",
                "read-directory",
                "sync",
                "create-directory-at",
                "stat",
                "stat-at",
                "set-times-at",
                "link-at",
                "open-at",
                "readlink-at",
                "remove-directory-at",
                "rename-at",
                "symlink-at",
                "unlink-file-at",
                "is-same-object",
                "metadata-hash",
                "metadata-hash-at",
            ],
        },
        UnheldResource {
            name: "directory-entry-stream",
            methods: &["read-directory-entry"],
        },
    ],
    unreachable: &["filesystem-error-code"],
};

const NAMES: Interface = Interface {
    name: REFUSED[2].0,
    implemented: &["pollable", "network", REFUSED[2].1],
    unheld: &[UnheldResource {
        name: "resolve-address-stream",
        methods: &["resolve-next-address", "subscribe"],
    }],
    unreachable: &[],
};

const TCP: Interface = Interface {
    name: "wasi:sockets/tcp@0.2.12",
    implemented: &["input-stream", "output-stream", "pollable", "network"],
    unheld: &[UnheldResource {
        name: "tcp-socket",
        methods: &[
            "start-bind",
            "finish-bind",
            "start-connect",
            "finish-connect",
            "start-listen",
            "finish-listen",
            "accept",
            "local-address",
            "remote-address",
            "is-listening",
            "address-family",
            "set-listen-backlog-size",
            "keep-alive-enabled",
            "set-keep-alive-enabled",
            "keep-alive-idle-time",
            "set-keep-alive-idle-time",
            "keep-alive-interval",
            "set-keep-alive-interval",
            "keep-alive-count",
            "set-keep-alive-count",
            "hop-limit",
            "set-hop-limit",
            "receive-buffer-size",
            "set-receive-buffer-size",
            "send-buffer-size",
            "set-send-buffer-size",
            "subscribe",
            "shutdown",
        ],
    }],
    unreachable: &[],
};

const UDP: Interface = Interface {
    name: "wasi:sockets/udp@0.2.12",
    implemented: &["pollable", "network"],
    unheld: &[
        UnheldResource {
            name: "udp-socket",
            methods: &[
                "start-bind",
                "finish-bind",
                "stream",
                "local-address",
                "remote-address",
                "address-family",
                "unicast-hop-limit",
                "set-unicast-hop-limit",
                "receive-buffer-size",
                "set-receive-buffer-size",
                "send-buffer-size",
                "set-send-buffer-size",
                "subscribe",
            ],
        },
        UnheldResource {
            name: "incoming-datagram-stream",
            methods: &["receive", "subscribe"],
        },
        UnheldResource {
            name: "outgoing-datagram-stream",
            methods: &["check-send", "send", "subscribe"],
        },
    ],
    unreachable: &[],
};
