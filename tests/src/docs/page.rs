//! The blocks of a page.

use std::collections::BTreeMap;

use super::not_run::NotRun;

/// A fenced block of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The line of the page on which it begins.
    pub line: usize,
    /// The language; may be empty.
    pub language: String,
    /// What follows the language, as `name=value`.
    pub attributes: BTreeMap<String, String>,
    /// The lines between the fences.
    pub body: String,
    /// The block of `text` that follows it with nothing between them.
    pub output: Option<String>,
}

impl Block {
    /// Whether a line has a command that a test must run: a call of `oarlock`, `curl` or `cargo run` which is not [`NotRun`].
    pub fn has_commands(&self) -> bool {
        let commands = self
            .body
            .lines()
            .flat_map(|line| line.split([';', '&', '|']));
        let mut commands = commands.map(str::trim_start);
        commands.any(|command| {
            let is_ours = ["oarlock ", "curl ", "cargo run "]
                .iter()
                .any(|name| command.starts_with(name));
            is_ours && NotRun::of(command).is_none()
        })
    }
}

/// All blocks in order. One of `text` that belongs to the block before it is not listed itself.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut follows = false;
    let mut lines = (1..).zip(page.lines());
    while let Some((line, text)) = lines.next() {
        let Some(info) = text.strip_prefix("```") else {
            follows = follows && text.is_empty();
            continue;
        };
        let body: String = lines
            .by_ref()
            .map(|(_, line)| line)
            .take_while(|line| *line != "```")
            .map(|line| format!("{line}\n"))
            .collect();
        let mut words = info.split_whitespace();
        let language = words.next().unwrap_or_default().to_owned();
        match blocks.last_mut() {
            Some(commands) if follows && language == "text" => {
                commands.output = Some(body);
                follows = false;
                continue;
            }
            _ => {}
        }
        follows = language == "sh";
        let attributes = words.filter_map(|word| {
            let (name, value) = word.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        });
        blocks.push(Block {
            line,
            language,
            attributes: attributes.collect(),
            body,
            output: None,
        });
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_taken_apart_into_blocks_with_attributes_and_outputs() {
        let page = "a\n```sh for=ID:1,2\noarlock status\n```\n\n```text\nNODE\n```\nb\n```rust file=a/b.rs\nfn f() {}\n```\n```text\nx\n```\n";
        let found = blocks(page);
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(found[0].attributes["for"], "ID:1,2");
        assert_eq!(found[0].output.as_deref(), Some("NODE\n"));
        assert_eq!((found[0].line, found[0].has_commands()), (2, true));
        assert_eq!(found[1].attributes["file"], "a/b.rs");
        assert_eq!((found[2].output.as_deref(), found[2].line), (None, 13));
        assert!(!found[1].has_commands());
    }

    #[test]
    fn a_command_in_the_middle_of_a_line_counts() {
        for body in [
            "ID=1; oarlock serve\n",
            "true && curl x\n",
            "  oarlock x\n",
            "cargo run -- serve\n",
        ] {
            let block = Block {
                body: body.to_owned(),
                ..Block::default()
            };
            assert!(block.has_commands(), "{body}");
        }
    }

    #[test]
    fn a_command_whose_equivalent_is_tested_does_not_count() {
        for (body, counts) in [
            ("cargo run --release -- demo   # a tour\n", false),
            ("cargo run --release -- demo\noarlock status\n", true),
            ("cargo run --release -- serve\n", true),
            ("cargo doc\n", false),
        ] {
            let block = Block {
                body: body.to_owned(),
                ..Block::default()
            };
            assert_eq!(block.has_commands(), counts, "{body}");
        }
    }
}
