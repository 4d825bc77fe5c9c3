//! Pages of the documentation are correct: their files are written, their commands run against real nodes, and print what the
//! pages say. How to add a command: see `oarlock_tests::docs`. `guide.rs` does the same for the guides.

use std::path::{Path, PathBuf};

use oarlock_tests::docs::{Session, blocks};
use oarlock_tests::process::{guest, noted, require_wasm_target};

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
