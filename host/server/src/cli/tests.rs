//! Sources of settings, and errors about invalid ones.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::exit::Failure;

fn arguments(texts: &[&str]) -> Vec<OsString> {
    texts.iter().map(OsString::from).collect()
}

fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, OsString> {
    variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), OsString::from(value)))
        .collect()
}

/// The arguments with the settings of a file.
fn with_file(
    given: &[&str],
    file: &str,
    variables: &[(&str, &str)],
) -> Result<(Vec<String>, Origins), Failure> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("oarlock.toml");
    fs::write(&path, file).expect("writable");
    let mut given = arguments(given);
    given.extend(arguments(&["--config", path.to_str().expect("UTF-8")]));
    let (arguments, origins) = file::add_settings(&Cli::command(), given, &environment(variables))?;
    Ok((
        arguments
            .into_iter()
            .map(|argument| argument.into_string().expect("UTF-8"))
            .collect(),
        origins,
    ))
}

fn serve_args(arguments: Vec<String>) -> ServeArgs {
    match Cli::try_parse_from(arguments).expect("valid").command {
        CliCommand::Serve(args) => *args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn clap_accepts_the_definition() {
    Cli::command().debug_assert();
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let args = serve_args(vec!["oarlock".to_owned(), "serve".to_owned()]);
    assert_eq!(
        (
            args.raft.election_timeout_min_ms,
            args.raft.election_timeout_max_ms,
            args.raft.heartbeat_interval_ms
        ),
        (1000, 2000, 300)
    );
    assert_eq!(
        (args.raft.max_log_entries, args.raft.snapshot_threshold),
        (10_000, 5_000)
    );
    assert_eq!(args.guest.max_command_bytes, 1_048_576);
    assert_eq!(args.storage.data_dir, PathBuf::from("./oarlock-data"));
    assert_eq!(args.client_addr, "127.0.0.1:8101");
}

#[test]
fn flags_and_environment_take_precedence_over_the_file() {
    let file = r#"
        node_id = "file"
        data_dir = "from-file"
        heartbeat_interval_ms = 111
        cluster = ["node1=a:1", "node2=b:2"]
        endpoints = ["ignored-by-serve:1"]
    "#;
    let (parsed, origins) = with_file(
        &["oarlock", "serve", "--node-id", "flag"],
        file,
        &[("OARLOCK_DATA_DIR", "env")],
    )
    .expect("valid");
    assert!(
        !parsed
            .iter()
            .any(|text| text.contains("from-file") || text.contains("ignored")),
        "{parsed:?}"
    );
    assert_eq!(
        origins.of("node-id"),
        origin::Origin::Flag("node-id".to_owned())
    );
    assert_eq!(
        origins.of("data-dir").to_string(),
        "the environment variable OARLOCK_DATA_DIR"
    );
    assert!(
        origins
            .of("cluster")
            .to_string()
            .starts_with("`cluster` in "),
        "{}",
        origins.of("cluster")
    );
    let args = serve_args(parsed);
    assert_eq!(args.node_id.as_deref(), Some("flag"));
    assert_eq!(args.raft.heartbeat_interval_ms, 111);
    assert_eq!(args.cluster.as_deref(), Some("node1=a:1,node2=b:2"));
}

#[test]
fn a_file_sets_flags_of_client_commands_too() {
    let file = "endpoints = \"a:1,b:2\"\njson = true\ntimeout_ms = 5";
    let (parsed, _) = with_file(&["oarlock", "status"], file, &[]).expect("valid");
    match Cli::try_parse_from(parsed).expect("valid").command {
        CliCommand::Status(args) => {
            assert_eq!(args.client.endpoints, ["a:1", "b:2"]);
            assert_eq!(args.client.timeout_ms, 5);
            assert!(args.client.output.json);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_unknown_key_is_an_error_with_its_name() {
    for (file, named) in [
        ("node_idd = \"x\"", "node_idd"),
        ("node-idd = \"x\"", "node-idd"),
        ("NODE_ID = \"x\"", "NODE_ID"),
        ("config = \"x\"", "config"),
        ("[raft]\nheartbeat_interval_ms = 1", "raft"),
    ] {
        let failure = with_file(&["oarlock", "serve"], file, &[]).expect_err("unknown");
        assert_eq!(failure.code(), 2);
        assert!(
            failure.to_string().contains(&format!("`{named}`")),
            "{failure}"
        );
        assert!(failure.to_string().contains("oarlock.toml"), "{failure}");
    }
}

#[test]
fn a_key_is_spelled_like_the_flag_or_with_underscores_and_is_there_once() {
    for file in ["node-id = \"x\"", "node_id = \"x\""] {
        let (parsed, origins) = with_file(&["oarlock", "serve"], file, &[]).expect("valid");
        assert_eq!(serve_args(parsed).node_id.as_deref(), Some("x"), "{file}");
        let origin = origins.of("node-id").to_string();
        assert!(origin.starts_with("`node_id` in "), "{origin}");
    }
    let both = "node-id = \"x\"\nnode_id = \"y\"";
    let failure = with_file(&["oarlock", "serve"], both, &[]).expect_err("twice");
    assert_eq!(failure.code(), 2);
    let message = failure.to_string();
    assert!(
        message.contains("both `node_id` and `node-id`"),
        "{message}"
    );
}

#[test]
fn a_value_of_the_wrong_type_is_an_error_with_the_key() {
    for file in [
        "node_id = { a = 1 }",
        "node_id = [1, 2]",
        "node_id = 1979-05-27",
    ] {
        let failure = with_file(&["oarlock", "serve"], file, &[]).expect_err("wrong kind");
        assert!(failure.to_string().contains("`node_id`"), "{failure}");
    }
}

#[test]
fn a_missing_file_or_one_that_is_not_toml_is_named() {
    let missing = arguments(&["oarlock", "serve", "--config", "not/there.toml"]);
    let failure =
        file::add_settings(&Cli::command(), missing, &environment(&[])).expect_err("not there");
    assert!(failure.to_string().contains("not/there.toml"), "{failure}");
    let failure = with_file(&["oarlock", "serve"], "node_id", &[]).expect_err("not TOML");
    assert!(failure.to_string().contains("is not TOML"), "{failure}");
}

#[test]
fn the_environment_can_name_the_file() {
    let variables = environment(&[("OARLOCK_CONFIG", "not/there.toml")]);
    let failure = file::add_settings(
        &Cli::command(),
        arguments(&["oarlock", "serve"]),
        &variables,
    );
    assert!(
        failure
            .expect_err("not there")
            .to_string()
            .contains("not/there.toml")
    );
}

#[test]
fn an_error_about_a_value_in_a_file_names_key_and_file() {
    let (parsed, origins) = with_file(
        &["oarlock", "serve"],
        "heartbeat_interval_ms = \"soon\"",
        &[],
    )
    .expect("a string is read");
    let error = Cli::try_parse_from(parsed).expect_err("not a number");
    match origins.explain(error) {
        ParseError::Settings(failure) => {
            let message = failure.to_string();
            assert!(
                message.contains("soon") && message.contains("`heartbeat_interval_ms` in "),
                "{message}"
            );
        }
        ParseError::Clap(error) => panic!("{error}"),
    }
}

#[test]
fn an_error_about_a_flag_is_not_changed() {
    let given = arguments(&["oarlock", "serve", "--max-log-entries", "many"]);
    let (parsed, origins) =
        file::add_settings(&Cli::command(), given, &environment(&[])).expect("no file");
    let error = Cli::try_parse_from(parsed).expect_err("not a number");
    assert!(matches!(origins.explain(error), ParseError::Clap(_)));
}

#[test]
fn every_command_has_an_example_and_every_flag_a_variable() {
    let definition = Cli::command();
    // A hidden command is for this program itself.
    let shown = definition
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    for command in shown {
        let name = command.get_name();
        let example = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(
            example.contains(&format!("oarlock {name}")),
            "{name} has no example"
        );
        for argument in command.get_arguments() {
            let Some(long) = argument
                .get_long()
                .filter(|long| !["help", "version", "file"].contains(long))
            else {
                continue;
            };
            let variable = argument.get_env().and_then(|name| name.to_str());
            assert_eq!(
                variable,
                Some(origin::variable(long).as_str()),
                "{name} --{long}"
            );
        }
    }
}

/// The command lines in a text: lines that begin with `oarlock`, continued ones joined, without the remark after a command.
fn command_lines(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().filter_map(|line| {
        let line = line.split("  # ").next().unwrap_or(line);
        let line = line.replace("cargo run --release -- ", "oarlock ");
        let at = line.find("oarlock ")?;
        let before = line[..at].trim();
        let begins = before.is_empty() || before.ends_with([';', '&', '|']);
        let stops = [" > ", " 2>", " | ", " || ", " &"];
        let end = stops.iter().filter_map(|stop| line[at..].find(stop)).min();
        begins.then(|| line[at..at + end.unwrap_or(line.len() - at)].to_owned())
    });
    lines.collect()
}

/// An example may end with a remark, after several spaces.
fn parses(line: &str) -> Result<(), String> {
    let command = line.split("   ").next().unwrap_or(line);
    let words = shlex::split(command).ok_or_else(|| format!("a quote is open: {line}"))?;
    match Cli::try_parse_from(words) {
        Ok(_) => Ok(()),
        Err(error) if !error.use_stderr() => Ok(()),
        Err(error) => Err(format!("{line}\n{error}")),
    }
}

fn after_helps(command: &Command, texts: &mut Vec<String>) {
    texts.extend(command.get_after_help().map(ToString::to_string));
    for inner in command.get_subcommands() {
        after_helps(inner, texts);
    }
}

#[test]
fn every_example_of_the_help_is_a_valid_command_line() {
    let mut texts = Vec::new();
    after_helps(&Cli::command(), &mut texts);
    let lines: Vec<String> = texts.iter().flat_map(|text| command_lines(text)).collect();
    assert!(lines.len() > 30, "{lines:#?}");
    for line in lines {
        parses(&line).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// The pages of the documentation.
fn pages() -> Vec<(String, String)> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut paths = vec![root.join("README.md"), root.join("examples-wasm/README.md")];
    let listed = fs::read_dir(root.join("host/docs")).expect("a folder");
    paths.extend(listed.map(|entry| entry.expect("an entry").path()));
    let pages = paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "md"));
    let read = |path: PathBuf| {
        (
            path.display().to_string(),
            fs::read_to_string(&path).expect("text"),
        )
    };
    pages.map(read).collect()
}

#[test]
fn every_command_line_of_the_documentation_is_valid() {
    let mut seen = 0;
    for (path, page) in pages() {
        let mut in_block = false;
        let mut blocks = String::new();
        for line in page.lines() {
            if line.starts_with("```") {
                in_block = line.starts_with("```sh");
            } else if in_block {
                blocks.push_str(&format!("{line}\n"));
            }
        }
        for line in command_lines(&blocks) {
            // A variable is one word.
            let line = line.replace("$ID", "1");
            parses(&line).unwrap_or_else(|error| panic!("{path}: {error}"));
            seen += 1;
        }
    }
    assert!(
        seen > 20,
        "the pages have fewer commands than they had: {seen}"
    );
}

#[test]
fn every_command_and_flag_that_a_sentence_of_the_documentation_names_exists() {
    // Texts at the begin of hashed bytes.
    const NOT_COMMANDS: [&str; 2] = ["oarlock state hash 1", "oarlock settings 1"];
    let definition = Cli::command();
    let mut seen = 0;
    for (path, page) in pages() {
        let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
        for span in page.split('`').filter(|span| span.starts_with("oarlock ")) {
            if NOT_COMMANDS.contains(&span) {
                continue;
            }
            let mut words = span.split(' ').skip(1).peekable();
            let mut command = &definition;
            while let Some(inner) = words.peek().and_then(|word| command.find_subcommand(word)) {
                command = inner;
                words.next();
            }
            // Its page describes the contract before the command exists.
            if command.get_name() == "oarlock" && words.peek() == Some(&"client") {
                continue;
            }
            let placeholder = words
                .peek()
                .is_some_and(|word| word.starts_with(['<', '…']));
            assert!(
                command.get_name() != "oarlock" || placeholder,
                "{path}: there is no command `{span}`"
            );
            for flag in words.filter_map(|word| word.strip_prefix("--")) {
                let flag = flag.split('=').next().unwrap_or(flag);
                let known = definition
                    .get_subcommands()
                    .flat_map(Command::get_arguments)
                    .chain(command.get_arguments())
                    .any(|argument| argument.get_long() == Some(flag));
                assert!(known, "{path}: `{span}` has an unknown flag");
            }
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn an_invalid_example_is_found() {
    let text =
        "Example:\n  oarlock status --colour red      a remark\n  ID=1; oarlock apply '{}' > x\n";
    let lines = command_lines(text);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(parses(&lines[0]).is_err());
    assert_eq!(parses(&lines[1]), Ok(()));
}

#[test]
fn apply_needs_a_command_or_a_file_and_not_both() {
    for arguments in [
        &["oarlock", "apply"][..],
        &["oarlock", "apply", "{}", "--file", "f"],
    ] {
        assert!(Cli::try_parse_from(arguments).is_err(), "{arguments:?}");
    }
    assert!(Cli::try_parse_from(["oarlock", "apply", "-"]).is_ok());
}
