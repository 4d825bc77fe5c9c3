//! Pages of the documentation are correct: their files are written, their commands run against real nodes, and print what the
//! pages say. How to add a command: see `oarlock_tests::docs`. `guide.rs` does the same for the guides.

use std::path::{Path, PathBuf};
use std::process::Command;

use oarlock_tests::docs::{Session, blocks, rounded_size};
use oarlock_tests::process::{guest, noted, oarlock, require_wasm_target, text};
use serde_json::Value;

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize()
        .expect("this package stands in the repository")
}

/// A reader of a page. The build results are kept for the next run.
fn reader(page: &str) -> Session {
    let kept = page.replace(['/', '.'], "-");
    Session::new(&Path::new(env!("CARGO_TARGET_TMPDIR")).join(kept))
}

/// Follows a page from its begin to its end.
async fn follow(mut reader: Session, page: &str) {
    let text = std::fs::read_to_string(root().join(page)).expect("a page");
    let mut commands = 0;
    for block in blocks(&text) {
        commands += usize::from(block.language == "sh");
        reader.follow(&block).await;
    }
    assert!(commands > 0, "{page} has no commands");
}

/// The guest of the README is built outside the repository.
#[tokio::test(flavor = "multi_thread")]
async fn readme() {
    let page = "README.md";
    require_wasm_target(&root());
    let reader = reader(page);
    let next = noted("kv", b"version 2");
    std::fs::write(reader.home().join("kv-v2.wasm"), next).expect("writable");
    follow(reader, page).await;
}

/// The reader has built nothing, and is the operator of a cluster.
#[tokio::test(flavor = "multi_thread")]
async fn operations() {
    let page = "host/docs/operations.md";
    follow(reader(page), page).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor() {
    let page = "host/docs/doctor.md";
    follow(reader(page), page).await;
}

/// The reader has a node already, and the files that the page names.
#[tokio::test(flavor = "multi_thread")]
async fn queue() {
    let page = "host/docs/queue.md";
    let mut reader = reader(page);
    let files = [
        ("photo.jpg", "not JSON"),
        ("mails.jsonl", "{\"to\":\"cy\"}\n{\"to\":\"di\"}\n"),
    ];
    for (name, content) in files {
        std::fs::write(reader.home().join(name), content).expect("writable");
    }
    reader
        .follow(&blocks("```sh\noarlock serve\n```\n")[0])
        .await;
    follow(reader, page).await;
}

/// The reader has a node already.
#[tokio::test(flavor = "multi_thread")]
async fn queue_guest() {
    let page = "examples-wasm/queue/README.md";
    let mut reader = reader(page);
    reader
        .follow(&blocks("```sh\noarlock serve\n```\n")[0])
        .await;
    follow(reader, page).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schema() {
    let page = "host/docs/schema.md";
    follow(reader(page), page).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn testing_a_guest() {
    let page = "host/docs/testing-a-guest.md";
    follow(reader(page), page).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http() {
    let page = "host/docs/http.md";
    follow(reader(page), page).await;
}

/// The guest in C is the one that the gate has built, or that of `cargo xtask guests --languages`.
#[tokio::test(flavor = "multi_thread")]
async fn examples() {
    let page = "examples-wasm/README.md";
    let reader = reader(page);
    let languages = reader.home().join("target/languages");
    std::fs::create_dir_all(&languages).expect("writable");
    let built = guest("counter-c");
    let copied = std::fs::copy(&built, languages.join("counter-c.wasm"));
    copied.unwrap_or_else(|error| panic!("{}: {error}", built.display()));
    follow(reader, page).await;
}

/// The kept counter, and those that the gate has built in other languages.
#[test]
fn the_sizes_of_modules_on_pages_are_those_of_the_files() {
    let page = |path: &str| std::fs::read_to_string(root().join(path)).expect("a page");
    let cell = |page: &str, row: &str, column: usize| {
        let line = page.lines().find(|line| line.starts_with(row));
        let cells: Vec<&str> = line.expect("the row").split('|').map(str::trim).collect();
        cells[column].to_owned()
    };
    let kept = rounded_size(&root().join("examples-wasm/dist/counter.wasm"));
    let performance = page("host/docs/performance.md");
    assert_eq!(
        cell(&performance, "| size of the counter in Rust |", 2),
        kept
    );
    let examples = page("examples-wasm/README.md");
    let row = "| [`counter`](counter/src/lib.rs), Rust |";
    assert_eq!(cell(&examples, row, 3), kept);
    for name in ["counter-c", "counter-python", "counter-js"] {
        let built = rounded_size(&guest(name));
        let row = format!("| [`{name}`]({name}/");
        assert_eq!(cell(&examples, &row, 3), built, "{name}");
    }
}

/// The commands of `host/docs/performance.md`, as short as they can be.
#[test]
fn the_benchmarks_of_the_page_run() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = |arguments: &[&str]| {
        let mut bench = Command::new(env!("CARGO_BIN_EXE_bench"));
        let output = bench.arg("--dir").arg(dir.path()).args(arguments).output();
        let output = output.expect("it starts");
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8(output.stdout).expect("text")
    };
    let binary = oarlock().display().to_string();
    let run = bench(&[
        "--only",
        "writes,reads",
        "--seconds",
        "1",
        "--rounds",
        "1",
        "--connections",
        "1",
        "--binary",
        &binary,
        "--against",
        &binary,
        "--json",
    ]);
    let measured: Value = serde_json::from_str(&run).expect("JSON");
    let lines = measured["lines"].as_array().expect("lines");
    let compared: Vec<&Value> = lines
        .iter()
        .filter(|line| line["details"]["other"].is_object())
        .collect();
    assert_eq!(compared.len(), 2, "{run}");
    for line in compared {
        for side in ["ours", "other"] {
            let rate = line["details"][side]["rate"].as_f64();
            assert!(rate.is_some_and(|rate| rate > 0.0), "{line}");
        }
    }
    let file = dir.path().join("run.json");
    std::fs::write(&file, run).expect("writable");
    let drawn = bench(&["--draw", &file.display().to_string()]);
    assert!(drawn.starts_with("<svg "), "{drawn}");
    // The picture of the page is that of its figures.
    let docs = root().join("host/docs");
    let figures = docs.join("performance.json").display().to_string();
    let kept = std::fs::read_to_string(docs.join("performance.svg"));
    assert!(bench(&["--draw", &figures]) == kept.expect("a picture"));
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "---- the page has")]
async fn a_command_that_prints_something_else_is_found() {
    let page = "```sh\necho '{\"a\":1}'   # → {\"a\":1}\necho '{\"a\":1}'   # → {\"a\":2}\n```\n";
    reader("wrong").follow(&blocks(page)[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "failed:")]
async fn a_command_that_fails_is_found() {
    let page = "```sh\nfalse\ntrue\n```\n";
    reader("failing").follow(&blocks(page)[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "---- the page has")]
async fn a_block_that_prints_something_else_is_found() {
    let page = "```sh\necho one\n```\n```text\ntwo\n```\n";
    reader("other").follow(&blocks(page)[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_errors_and_variables_are_compared_too() {
    let page = "```sh\nexport X=1\n(echo no >&2; exit 3)   # → no (exit code 3)\necho $X; cd /\n```\n```text\n1\n```\n\
                ```sh for=ID:4,5\nID=4; echo $X-$ID   # → 1-…\npwd   # → …/oarlock\n```\n";
    let mut reader = reader("right");
    for block in blocks(page) {
        reader.follow(&block).await;
    }
}
