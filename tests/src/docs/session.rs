//! A reader who follows a page: a folder, a shell, and the nodes that were started.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use super::compare::mismatch;
use super::not_run::NotRun;
use super::page::Block;
use crate::http::Http;
use crate::process::{eventually, free_ports, oarlock, text};

/// Beginnings of the ports of the documentation: peers, clients.
const PORTS: [&str; 2] = ["710", "810"];
/// Marks the expected output of a command.
const OUTPUT: &str = "# → ";
/// A line of a script that stops a node, as a reader does it in the other terminal: with the node's address for clients.
const STOP: &str = "# stop the node at ";
/// A process in the background.
struct Running {
    child: Child,
    /// Where a node serves clients. Empty for other programs.
    client_addr: String,
    log: PathBuf,
}

impl Running {
    fn stop(&mut self) {
        // Fails if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            eprintln!("---- {} ----\n{log}", self.log.display());
        }
    }
}

/// What is executed next.
enum Part {
    /// A script, and the outputs that it must have written.
    Script(String, Vec<(String, String)>),
    /// A process in the background.
    Background(String),
    /// The node at this address is stopped.
    Stop(String),
}

/// A reader who follows one page.
pub struct Session {
    dir: TempDir,
    /// Where built guests are kept for the next run.
    built: PathBuf,
    ports: Vec<String>,
    running: Vec<Running>,
    /// Number of processes that were started in the background.
    begun: usize,
    /// Nodes that must be ready before the next command.
    starting: Vec<(String, &'static str)>,
    /// Addresses of nodes that use TLS, with the authority in `certs` of the reader.
    secured: Vec<String>,
}

impl Session {
    /// A folder that looks like this repository, inside an empty one. `built`: where built guests are kept for the next run.
    ///
    /// # Panics
    /// If the system refuses it.
    pub fn new(built: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let session = Self {
            dir,
            built: built.to_owned(),
            ports: free_beginnings(),
            running: Vec::new(),
            begun: 0,
            starting: Vec::new(),
            secured: Vec::new(),
        };
        let home = session.home();
        fs::create_dir(&home).expect("writable");
        for entry in fs::read_dir(root()).expect("the repository") {
            let entry = entry.expect("an entry");
            let name = entry.file_name();
            if name != "target" {
                let link = std::os::unix::fs::symlink(entry.path(), home.join(name));
                link.expect("writable");
            }
        }
        session
    }

    /// Where each block begins.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("oarlock")
    }

    /// Does what a block says.
    ///
    /// # Panics
    /// If a command fails, or prints something else than the page says.
    pub async fn follow(&mut self, block: &Block) {
        if let Some(path) = block.attributes.get("file") {
            let path = self.home().join(path);
            let folder = path.parent().expect("a file lies in a folder");
            fs::create_dir_all(folder).expect("writable");
            fs::write(&path, self.translated(&block.body)).expect("writable");
            return;
        }
        if block.language != "sh" {
            return;
        }
        let (name, values) = match block.attributes.get("for") {
            Some(each) => each.split_once(':').expect("for=NAME:1,2,3"),
            None => ("", ""),
        };
        for value in values.split(',') {
            let body = if name.is_empty() {
                block.body.clone()
            } else {
                with_value(&block.body, name, value)
            };
            self.follow_commands(block, &body).await;
        }
    }

    async fn follow_commands(&mut self, block: &Block, body: &str) {
        let dir = block.attributes.get("dir").map_or(".", String::as_str);
        fs::write(
            self.state("pwd"),
            self.home().join(dir).display().to_string(),
        )
        .expect("writable");
        let mut printed = String::new();
        for part in self.parts(&self.translated(body)) {
            match part {
                Part::Background(command) => self.begin(&command),
                Part::Stop(address) => {
                    self.wait_for_nodes().await;
                    self.stop(&address);
                }
                Part::Script(script, _) if script.trim().is_empty() => {}
                Part::Script(script, expected) => {
                    self.wait_for_nodes().await;
                    let done = self.run(&script);
                    let output = text(&done);
                    assert!(
                        done.status.success(),
                        "the block of line {} failed:\n{script}\n{output}",
                        block.line
                    );
                    self.compare(block, &expected);
                    printed.push_str(&output);
                    self.note_nodes_of(&script);
                }
            }
        }
        if let Some(output) = &block.output {
            let mismatch = mismatch(&self.translated(output), &printed);
            assert_eq!(mismatch, None, "the block of line {}", block.line);
        }
    }

    fn compare(&self, block: &Block, expected: &[(String, String)]) {
        for (number, (command, wanted)) in expected.iter().enumerate() {
            let got = fs::read_to_string(self.state(&format!("output-{number}")));
            let got = got.expect("the script has written it");
            let got = got.split_whitespace().collect::<Vec<_>>().join(" ");
            if let Some(difference) = mismatch(wanted, &got) {
                panic!("line {} and after: {command}\n{difference}", block.line);
            }
        }
    }

    /// A file in the folder of the script.
    fn state(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// With other ports than those of the page, and with what is built where it is kept.
    fn translated(&self, text: &str) -> String {
        let built = self.built.display().to_string();
        let sdk = root().join("guest-sdk").display().to_string();
        let mut text = text.replace("target/wasm32", &format!("{built}/wasm32"));
        // The same place for every run, so that it is built once.
        text = text.replace("../oarlock/guest-sdk", &sdk);
        for (there, here) in PORTS.iter().zip(&self.ports) {
            text = text.replace(&format!("127.0.0.1:{there}"), &format!("127.0.0.1:{here}"));
        }
        text
    }

    /// The address of the first node.
    fn first(&self, kind: usize) -> String {
        format!("127.0.0.1:{}1", self.ports[kind])
    }

    /// Splits commands where a process begins that does not end.
    fn parts(&self, body: &str) -> Vec<Part> {
        let mut parts = Vec::new();
        let (mut script, mut expected) = (String::new(), Vec::new());
        // An output may be in the line after its command.
        let body = body
            .replace("\\\n", " ")
            .replace(&format!("\n{OUTPUT}"), &format!("   {OUTPUT}"));
        for line in body.lines() {
            let (command, wanted) = match line.split_once(OUTPUT) {
                Some((command, wanted)) => (command.trim_end(), Some(wanted.trim())),
                None => (without_remark(line), None),
            };
            if NotRun::of(command).is_some() {
                continue;
            }
            let apart = match line.strip_prefix(STOP) {
                Some(address) => Some(Part::Stop(address.trim().to_owned())),
                None if runs_on(command) => Some(Part::Background(self.with_addresses(command))),
                None => None,
            };
            if let Some(part) = apart {
                let script = std::mem::take(&mut script);
                parts.push(Part::Script(script, std::mem::take(&mut expected)));
                parts.push(part);
                continue;
            }
            match wanted {
                None => script.push_str(&format!("{command}\n")),
                Some(wanted) => {
                    let file = self.state(&format!("output-{}", expected.len()));
                    script.push_str(&format!(
                        "code=0; {{ {command} ; }} > {file} 2>&1 || code=$?\n\
                         [ $code = 0 ] || printf '(exit code %s)' $code >> {file}\n",
                        file = file.display()
                    ));
                    expected.push((command.to_owned(), wanted.to_owned()));
                }
            }
        }
        parts.push(Part::Script(script, expected));
        parts
    }

    /// A node that gets its addresses by default gets those of the first node, and a data directory of its own.
    fn with_addresses(&self, command: &str) -> String {
        if !command.contains("oarlock serve") || command.contains("--client-addr") {
            return command.to_owned();
        }
        let (peers, clients) = (self.first(0), self.first(1));
        let data = self.state(&format!("data-{}", self.begun));
        format!(
            "{command} --bootstrap --peer-addr {peers} --client-addr {clients} --data-dir {}",
            data.display()
        )
    }

    fn shell(&self, script: &str) -> Command {
        let folder = oarlock().parent().expect("a program lies in a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        // A process in the background starts while the next block begins, so it does not read these files itself.
        let exports = fs::read_to_string(self.state("env")).unwrap_or_default();
        let folder_of_reader = fs::read_to_string(self.state("pwd")).unwrap_or_default();
        let script = format!(
            "set -eu\n{exports}\ncd '{}'\n\
             curl() {{ command curl -sS \"$@\"; }}\n\
             cargo() {{ if [ -f Cargo.toml ] && [ ! -e Cargo.lock ]; then cp {lock} .; fi; command cargo \"$@\"; }}\n\
             {script}\nexport -p > {env}\npwd > {pwd}\n",
            folder_of_reader.trim_end(),
            env = self.state("env").display(),
            pwd = self.state("pwd").display(),
            lock = root().join("Cargo.lock").display(),
        );
        let mut shell = Command::new("sh");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("OARLOCK_") {
                shell.env_remove(name);
            }
        }
        shell
            .args(["-c", &script])
            .stdin(Stdio::null())
            .env("PATH", format!("{}:{path}", folder.display()))
            .env("OARLOCK_ENDPOINTS", self.first(1))
            .env("CARGO_NET_OFFLINE", "true")
            .env("CARGO_TARGET_DIR", &self.built);
        shell
    }

    fn run(&self, script: &str) -> Output {
        self.shell(script).output().expect("a shell")
    }

    /// Stops the node with this address for clients.
    fn stop(&mut self, client_addr: &str) {
        self.running
            .retain(|running| client_addr.is_empty() || running.client_addr != client_addr);
    }

    /// Starts a process that runs on. A node on the same address is stopped first, as a reader does.
    fn begin(&mut self, command: &str) {
        let client_addr = address_of(command);
        self.stop(&client_addr);
        self.begun += 1;
        let log = self.state(&format!("log-{}", self.begun));
        let output = File::create(&log).expect("writable");
        let errors = output.try_clone().expect("a second handle");
        // The shell becomes the program, so that it can be stopped.
        let (before, program) = match command.rfind("; ") {
            Some(at) => command.split_at(at + 2),
            None => ("", command),
        };
        let mut shell = self.shell(&format!("{before}exec {program}"));
        let child = shell.stdout(output).stderr(errors).spawn();
        self.running.push(Running {
            child: child.expect("a shell"),
            client_addr: client_addr.clone(),
            log,
        });
        if !client_addr.is_empty() {
            let until = if command.contains("--join") {
                "/healthz"
            } else {
                "/readyz"
            };
            if command.contains("--certs-dir") {
                self.secured.push(client_addr);
            } else {
                self.starting.push((client_addr, until));
            }
        }
    }

    /// Nodes that a script has left in the background.
    fn note_nodes_of(&mut self, script: &str) {
        if script.contains("oarlock serve ") {
            for number in 1..=3 {
                let address = format!("127.0.0.1:{}{number}", self.ports[1]);
                self.starting.push((address, "/readyz"));
            }
        }
    }

    async fn wait_for_nodes(&mut self) {
        for address in std::mem::take(&mut self.secured) {
            let ready = format!("curl --fail --cacert certs/ca.crt https://{address}/readyz");
            eventually("the node is ready", async || {
                let output = self.shell(&ready).output().expect("a shell");
                output.status.success().then_some(())
            })
            .await;
        }
        for (address, path) in std::mem::take(&mut self.starting) {
            let http = Http(address);
            eventually("the node is ready", async || {
                (http.get(path).await.ok()?.status == 200).then_some(())
            })
            .await;
        }
    }
}

impl Drop for Session {
    /// Ends the nodes that a script has started, by their numbers, where the page did not come to that.
    fn drop(&mut self) {
        for number in 1..=3 {
            let name = format!("node{number}");
            if let Ok(pid) = fs::read_to_string(self.home().join(format!("{name}.pid"))) {
                let _ = Command::new("kill").args(["-9", pid.trim()]).output();
            }
            if std::thread::panicking() {
                let log = fs::read_to_string(self.home().join(format!("{name}.log")));
                if let Ok(log) = log {
                    eprintln!("---- {name} ----\n{log}");
                }
            }
        }
    }
}

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize()
        .expect("this package stands in the repository")
}

/// The block with another value of a variable.
fn with_value(body: &str, name: &str, value: &str) -> String {
    let lines = body.lines().map(|line| match line.split_once("; ") {
        Some((first, rest)) if first.starts_with(&format!("{name}=")) => {
            format!("{name}={value}; {rest}\n")
        }
        _ => format!("{line}\n"),
    });
    lines.collect()
}

/// A command without the remark after it.
fn without_remark(line: &str) -> &str {
    match line.split_once("  # ") {
        Some((command, _)) => command.trim_end(),
        None => line,
    }
}

/// Whether a command runs until it is stopped, in the foreground.
fn runs_on(command: &str) -> bool {
    let starts = command.rsplit("; ").next().unwrap_or(command);
    let starts = starts.trim_start();
    let runs = ["oarlock serve", "oarlock demo", "curl -N "]
        .iter()
        .any(|start| starts.starts_with(start));
    runs && !command.trim_end().ends_with('&') && !command.contains("--script")
}

/// The address of a node for clients, with the variable `ID` in it; empty for another program.
fn address_of(command: &str) -> String {
    let Some((_, rest)) = command.split_once("--client-addr ") else {
        return String::new();
    };
    let address = rest.split_whitespace().next().unwrap_or_default();
    let id = command
        .strip_prefix("ID=")
        .and_then(|rest| rest.split(';').next());
    address.replace("$ID", id.unwrap_or_default())
}

/// Beginnings of ports like those of the documentation, so that what follows them may be 1, 2, 3 and 4.
fn free_beginnings() -> Vec<String> {
    let free = |begin: u16| {
        let ports = (1..=4).map(|number| TcpListener::bind(("127.0.0.1", begin * 10 + number)));
        ports.collect::<Result<Vec<_>, _>>().is_ok()
    };
    let begins = std::iter::repeat_with(|| free_ports(10)[0] / 10);
    let mut found: Vec<u16> = Vec::new();
    for begin in begins {
        if found.len() == PORTS.len() {
            break;
        }
        if free(begin) && !found.contains(&begin) {
            found.push(begin);
        }
    }
    found.iter().map(ToString::to_string).collect()
}
