//! A guest that looks outside by way of WASI, for the tests of the host.
//!
//! | command | what it does |
//! |---|---|
//! | `{"look":{}}` | replies with all that it sees: clocks, randomness, files, network; see [`Seen`] |
//! | `{"print":{"text":"…","error":false}}` | writes to standard output or error |
//! | `{"print_much":{"bytes":1}}` | writes so many bytes at once |
//! | `{"print_and_trap":{"text":"…"}}` | writes a line to standard error, then traps |
//! | `{"exit":{"code":1}}` | ends itself |
//! | `{"hold":{"handles":1}}` | takes handles and never drops them |
//! | `{"drop":{"handles":1}}` | takes handles and drops each at once |
//!
//! The query `{"look":{}}` answers as the command.

use oarlock_guest::{Apply, Read, Refusal, StateMachine, state_machine};
use serde::{Deserialize, Serialize};
use wasip2::cli::{environment, exit, stderr, stdin, stdout, terminal_stdout};
use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::filesystem::preopens;
use wasip2::io::streams::StreamError;
use wasip2::random::{insecure, insecure_seed, random};
use wasip2::sockets::network::{ErrorCode, IpAddressFamily};
use wasip2::sockets::{instance_network, ip_name_lookup, tcp_create_socket, udp_create_socket};

/// The state: none.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Curious {}

/// What it does.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the table of the crate describes them")]
pub enum Command {
    Look {},
    Print { text: String, error: bool },
    PrintMuch { bytes: usize },
    PrintAndTrap { text: String },
    Exit { code: u8 },
    Hold { handles: u32 },
    Drop { handles: u32 },
}

/// What can be asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the table of the crate describes them")]
pub enum Query {
    Look {},
}

/// All that can be seen of the outside.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[expect(missing_docs, reason = "each is named after WASI's function")]
pub struct Seen {
    pub wall_seconds: u64,
    pub wall_nanoseconds: u32,
    pub monotonic: u64,
    pub random: Vec<u8>,
    pub random_number: u64,
    pub insecure: Vec<u8>,
    pub insecure_seed: (u64, u64),
    pub environment: usize,
    pub arguments: usize,
    pub initial_cwd: Option<String>,
    pub directories: usize,
    pub has_terminal: bool,
    pub input: String,
    pub tcp: String,
    pub udp: String,
    pub name: String,
}

fn look() -> Seen {
    let now = wall_clock::now();
    // It must not wait, however long that would be.
    monotonic_clock::subscribe_duration(u64::MAX).block();
    let network = instance_network::instance_network();
    Seen {
        wall_seconds: now.seconds,
        wall_nanoseconds: now.nanoseconds,
        monotonic: monotonic_clock::now(),
        random: random::get_random_bytes(8),
        random_number: random::get_random_u64(),
        insecure: insecure::get_insecure_random_bytes(8),
        insecure_seed: insecure_seed::insecure_seed(),
        environment: environment::get_environment().len(),
        arguments: environment::get_arguments().len(),
        initial_cwd: environment::initial_cwd(),
        directories: preopens::get_directories().len(),
        has_terminal: terminal_stdout::get_terminal_stdout().is_some(),
        input: match stdin::get_stdin().blocking_read(10) {
            Err(StreamError::Closed) => "closed".to_owned(),
            other => format!("{other:?}"),
        },
        tcp: denied(tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4)),
        udp: denied(udp_create_socket::create_udp_socket(IpAddressFamily::Ipv6)),
        name: denied(ip_name_lookup::resolve_addresses(&network, "localhost")),
    }
}

fn denied<T>(result: Result<T, ErrorCode>) -> String {
    match result {
        Ok(_) => "there is one".to_owned(),
        Err(code) => code.name().to_owned(),
    }
}

fn print(text: &[u8], error: bool) {
    let stream = if error {
        stderr::get_stderr()
    } else {
        stdout::get_stdout()
    };
    stream
        .blocking_write_and_flush(text)
        .expect("a stream that never closes");
}

#[state_machine(name = "curious", version = 1)]
impl StateMachine for Curious {
    type Command = Command;
    type Reply = Seen;
    type Query = Query;
    type Response = Seen;
    type Refusal = Refusal;

    fn apply(&mut self, _cx: &mut Apply<'_>, command: Command) -> Result<Seen, Refusal> {
        match command {
            Command::Look {} => return Ok(look()),
            Command::Print { text, error } => print(text.as_bytes(), error),
            Command::PrintMuch { bytes } => print(&vec![b'.'; bytes], false),
            Command::PrintAndTrap { text } => {
                print(text.as_bytes(), true);
                // No panic: it would write a message of its own.
                std::process::abort();
            }
            Command::Exit { code: 0 } => exit::exit(Ok(())),
            Command::Exit { .. } => exit::exit(Err(())),
            Command::Hold { handles } => {
                (0..handles).for_each(|_| std::mem::forget(stdout::get_stdout()));
            }
            Command::Drop { handles } => (0..handles).for_each(|_| drop(stdout::get_stdout())),
        }
        Ok(Seen::default())
    }

    fn query(&self, _cx: &Read<'_>, query: Query) -> Result<Seen, Refusal> {
        let Query::Look {} = query;
        Ok(look())
    }
}
