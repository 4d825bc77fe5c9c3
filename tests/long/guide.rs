//! `host/docs/writing-a-guest.md` and the guides for other languages are correct: their files are written and their
//! commands run in an empty folder, one after the other, and print the output that the page shows. Those for Python and
//! JavaScript use the tools that `cargo xtask guests --languages` has installed.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use oarlock_tests::process::{
    Http, Steps, eventually, free_ports, oarlock, require_wasm_target, text,
};

const GUIDE: &str = include_str!("../../host/docs/writing-a-guest.md");
const PYTHON: &str = include_str!("../../host/docs/guide-python.md");
const JAVASCRIPT: &str = include_str!("../../host/docs/guide-javascript.md");
const C: &str = include_str!("../../host/docs/guide-c.md");
/// Prefixes of the guide's ports: peers, clients.
const PORTS: [&str; 2] = ["710", "810"];

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize()
        .expect("this package stands in the repository")
}

/// The build results are kept for the next run.
fn built() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("guide")
}

/// A block of the guide.
#[derive(Debug, PartialEq, Eq)]
enum Block {
    /// Commands of a shell.
    Commands(String),
    /// A file and its content.
    File(String, String),
}

/// All blocks in order.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            continue;
        };
        let body: String = lines
            .by_ref()
            .take_while(|line| *line != "```")
            .map(|line| format!("{line}\n"))
            .collect();
        blocks.push(match info.split_once(" file=") {
            Some(("rust" | "python" | "javascript" | "c" | "json", path)) => {
                Block::File(path.to_owned(), body)
            }
            None if info == "sh" => Block::Commands(body),
            _ => panic!("a block of {info:?} is neither run nor written"),
        });
    }
    blocks
}

/// A script that fails at the first command that fails, or whose output differs from the page.
fn script(commands: &str) -> String {
    let mut script = "set -eu\n".to_owned();
    for line in commands.lines() {
        match line.split_once("  # ") {
            Some((command, expected)) => {
                let (command, expected) = (command.trim_end(), expected.trim());
                script.push_str(&format!(
                    "got=$({command} 2>stderr) || {{ cat stderr; exit 1; }}\n\
                     [ \"$got\" = '{expected}' ] || {{ echo \"not {}: $got\"; exit 1; }}\n",
                    expected.replace('"', "'")
                ));
            }
            None => script.push_str(&format!("{line}\n")),
        }
    }
    script
}

/// Beginnings of ports like the guide's, so that what follows them may be 1, 2 and 3.
fn free_beginnings() -> Vec<String> {
    let free = |begin: u16| {
        let ports = (1..=3).map(|number| TcpListener::bind(("127.0.0.1", begin * 10 + number)));
        ports.collect::<Result<Vec<_>, _>>().is_ok()
    };
    let begins = std::iter::repeat_with(|| free_ports(10)[0] / 10);
    let mut begins: Vec<u16> = begins.filter(|begin| free(*begin)).take(2).collect();
    begins.dedup();
    assert_eq!(begins.len(), 2, "two beginnings of ports");
    begins.iter().map(ToString::to_string).collect()
}

/// The reader of the guide, in an empty folder.
struct Reader {
    dir: tempfile::TempDir,
    ports: Vec<String>,
    /// What the commands so far have exported.
    exports: String,
    /// Nodes that the guide starts.
    nodes: usize,
    /// Lines that the next commands begin with: those of a reader who stays in the project's folder.
    folder: String,
    /// The folder of a copy of `oarlock`, which is not near this repository: projects contain what they need.
    installed: tempfile::TempDir,
}

impl Reader {
    fn new(nodes: usize) -> Self {
        let installed = tempfile::tempdir().expect("a folder");
        std::fs::copy(oarlock(), installed.path().join("oarlock")).expect("writable");
        Self {
            dir: tempfile::tempdir().expect("a folder"),
            installed,
            ports: free_beginnings(),
            exports: String::new(),
            nodes,
            folder: String::new(),
        }
    }

    /// With other ports than the guide's, and with what is built where it is kept.
    fn translated(&self, text: &str) -> String {
        let mut text = text.replace("target/wasm32", &format!("{}/wasm32", built().display()));
        for (there, here) in PORTS.iter().zip(&self.ports) {
            text = text.replace(&format!("127.0.0.1:{there}"), &format!("127.0.0.1:{here}"));
        }
        text
    }

    fn run(&mut self, commands: &str) -> Output {
        let commands = self.translated(commands);
        let exports: String = commands
            .lines()
            .filter(|line| line.starts_with("export "))
            .map(|line| format!("{line}\n"))
            .collect();
        let script = format!("{}{}{}", self.exports, self.folder, script(&commands));
        self.exports.push_str(&exports);
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", self.installed.path().display());
        Command::new("sh")
            .args(["-c", &script])
            .current_dir(self.dir.path())
            .env("PATH", path)
            .env("CARGO_NET_OFFLINE", "true")
            .env("CARGO_TARGET_DIR", built())
            .output()
            .expect("a shell")
    }

    /// A node is ready a moment after it was started.
    async fn wait_for_nodes(&self) {
        for number in 1..=self.nodes {
            let http = Http(format!("127.0.0.1:{}{number}", self.ports[1]));
            eventually("the node is ready", async || {
                (http.get("/readyz").await.ok()?.status == 200).then_some(())
            })
            .await;
        }
    }
}

impl Drop for Reader {
    /// Ends the nodes that it has started, by their numbers, where the guide did not come to that.
    fn drop(&mut self) {
        for number in 1..=self.nodes {
            let name = format!("node{number}");
            if let Ok(pid) = std::fs::read_to_string(self.dir.path().join(format!("{name}.pid"))) {
                let _ = Command::new("kill").args(["-9", pid.trim()]).output();
            }
            if std::thread::panicking() {
                let log = std::fs::read_to_string(self.dir.path().join(format!("{name}.log")));
                eprintln!("---- {name} ----\n{}", log.unwrap_or_default());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_leads_to_a_cluster_of_three_and_its_next_version() {
    require_wasm_target(&root());
    oarlock();
    let mut steps = Steps::begin("guide for Rust");
    let mut reader = Reader::new(3);
    let (mut commands, mut files) = (0, 0);
    for block in blocks(GUIDE) {
        match block {
            Block::File(path, body) => {
                files += 1;
                let path = reader.dir.path().join(path);
                std::fs::write(&path, body).expect("its folder is there");
            }
            Block::Commands(body) => {
                commands += 1;
                let done = reader.run(&body);
                assert!(done.status.success(), "{body}\n{}", text(&done));
                if body.contains("oarlock new ") {
                    // The versions that this repository has fetched, so that the network is not needed.
                    let lock = reader.dir.path().join("visits/Cargo.lock");
                    std::fs::copy(root().join("Cargo.lock"), lock).expect("writable");
                    let manifest = reader.dir.path().join("visits/Cargo.toml");
                    let manifest = std::fs::read_to_string(manifest).expect("a project");
                    let vendored = "path = \"vendor/oarlock/guest-sdk\"";
                    assert!(manifest.contains(vendored), "{manifest}");
                }
                if body.contains("oarlock serve ") {
                    reader.wait_for_nodes().await;
                }
                steps.done(body.lines().next().unwrap_or_default());
            }
        }
    }
    steps.end();
    assert!(
        commands >= 10 && files == 6,
        "{commands} blocks, {files} files"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_for_python_leads_to_a_tested_and_served_guest() {
    leads_to_a_served_guest(PYTHON, "counter-python/venv", ".venv", "requirements.txt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_for_javascript_leads_to_a_tested_and_served_guest() {
    let (tools, made) = ("counter-js/node_modules", "node_modules");
    leads_to_a_served_guest(JAVASCRIPT, tools, made, "package-lock.json").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_for_c_leads_to_a_tested_and_served_guest() {
    leads_to_a_served_guest(C, "", "", "").await;
}

/// Follows a guide for one language. Its first build would install tools; they are installed already, in a folder of
/// `target`, and are linked to the name `made` in the project. `pinned` is the file with their versions.
async fn leads_to_a_served_guest(page: &str, tools: &str, made: &str, pinned: &str) {
    oarlock();
    let mut steps = Steps::begin(if tools.is_empty() {
        "guide for C"
    } else {
        tools
    });
    let mut reader = Reader::new(1);
    let (mut commands, mut files) = (0, 0);
    for block in blocks(page) {
        match block {
            Block::File(path, body) => {
                files += 1;
                std::fs::write(reader.dir.path().join(path), &body).expect("its folder is there");
            }
            Block::Commands(body) => {
                commands += 1;
                let done = reader.run(&body);
                assert!(done.status.success(), "{body}\n{}", text(&done));
                if let Some(rest) = body.strip_prefix("oarlock new ") {
                    let name = rest.split(' ').next().expect("a name");
                    link_tools(&reader.dir.path().join(name), tools, made, pinned);
                }
                let moves = body.lines().filter(|line| line.starts_with("cd "));
                reader.folder.extend(moves.map(|line| format!("{line}\n")));
                if body.contains("oarlock serve ") {
                    reader.wait_for_nodes().await;
                }
                steps.done(body.lines().next().unwrap_or_default());
            }
        }
    }
    steps.end();
    assert_eq!((commands, files), (5, 2));
    has_the_size_of_the_page(page, reader.dir.path());
}

/// The page tells how large the module is, as in "about 18 MB". Compilers of different versions differ by a little.
fn has_the_size_of_the_page(page: &str, folder: &Path) {
    let (_, rest) = page.split_once("The module is `build/").expect("a module");
    let (file, rest) = rest.split_once('`').expect("the end of its name");
    let mut words = rest.split_whitespace().skip_while(|word| *word != "about");
    let (number, unit) = (
        words.nth(1).expect("a number"),
        words.next().expect("a unit"),
    );
    let scale = match unit.trim_end_matches(['.', ',']) {
        "KB" => 1e3,
        "MB" => 1e6,
        unit => panic!("{unit} is no unit"),
    };
    let told = number.parse::<f64>().expect("a number") * scale;
    let project = file.strip_suffix(".wasm").expect("a module");
    let module = folder.join(project).join("build").join(file);
    let bytes = std::fs::metadata(&module).expect("it is built").len();
    let ratio = bytes as f64 / told;
    assert!(
        (0.9..=1.1).contains(&ratio),
        "{bytes} bytes are not {number} {unit}"
    );
}

fn link_tools(project: &Path, tools: &str, made: &str, pinned: &str) {
    if made.is_empty() {
        return;
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("..");
    let tools = target.join("languages/tools").join(tools).canonicalize();
    let tools = tools.expect("`cargo xtask guests --languages` installs the tools");
    let noted = match pinned {
        "package-lock.json" => ".oarlock-lock.json",
        pinned => pinned,
    };
    std::fs::copy(project.join(pinned), tools.join(noted)).expect("writable");
    std::os::unix::fs::symlink(tools, project.join(made)).expect("writable");
}

#[test]
fn a_page_is_taken_apart_into_files_and_commands() {
    let page = "text\n```sh\none\ntwo\n```\nmore\n```rust file=a/b.rs\nfn f() {}\n```\n";
    assert_eq!(
        blocks(page),
        [
            Block::Commands("one\ntwo\n".to_owned()),
            Block::File("a/b.rs".to_owned(), "fn f() {}\n".to_owned()),
        ]
    );
}

#[test]
fn a_command_that_prints_something_else_or_fails_is_found() {
    let mut reader = Reader::new(0);
    let mut succeeds = |commands: &str| reader.run(commands).status.success();
    assert!(succeeds("echo '{\"a\":1}'   # {\"a\":1}\n"));
    assert!(!succeeds("echo '{\"a\":1}'   # {\"a\":2}\n"));
    assert!(!succeeds("false\ntrue\n"));
    assert!(!succeeds("false   # nothing\n"));
}
