//! What the demo prints: coloured on a terminal, plain in a pipe.

use std::fmt::Display;
use std::io::Write;

use oarlock_client::Endpoint;

use crate::command::{Output, OutputClosed, Tone, endpoint_list, print_safely};

/// Where the tour is told.
pub(super) struct Screen<W> {
    out: Output<W>,
    program: String,
    step: u32,
}

impl<W: Write> Screen<W> {
    /// Prints to `to`; commands that can be copied begin with `program`.
    pub(super) fn new(to: W, program: String) -> Self {
        Self {
            out: Output::new(to),
            program,
            step: 0,
        }
    }

    /// The headline of the next step.
    ///
    /// # Errors
    /// Nobody reads any more; so with all of these.
    pub(super) fn step(&mut self, words: impl Display) -> Result<(), OutputClosed> {
        self.step += 1;
        let heading = Tone::Heading.paint(&format!("{}. {words}", self.step));
        self.out.line("")?;
        self.out.line(heading)
    }

    /// A headline without a number.
    pub(super) fn heading(&mut self, words: &str) -> Result<(), OutputClosed> {
        self.out.line("")?;
        self.out.line(Tone::Heading.paint(words))
    }

    /// A sentence.
    pub(super) fn say(&mut self, words: impl Display) -> Result<(), OutputClosed> {
        self.out.line(format_args!("   {words}"))
    }

    /// Something that was checked.
    pub(super) fn good(&mut self, words: impl Display) -> Result<(), OutputClosed> {
        let mark = Tone::Good.paint("ok");
        self.out.line(format_args!("   {mark} {words}"))
    }

    /// Lines that are aligned already.
    pub(super) fn block(&mut self, text: &str) -> Result<(), OutputClosed> {
        text.lines()
            .try_for_each(|line| self.out.line(format_args!("   {line}")))
    }

    /// A command as one would type it, and what the guest said.
    pub(super) fn exchange(
        &mut self,
        verb: &str,
        words: &str,
        at: &[Endpoint],
        answer: &[u8],
    ) -> Result<(), OutputClosed> {
        self.command(verb, words, at)?;
        self.out.line(format_args!(
            "   {}",
            print_safely(&String::from_utf8_lossy(answer))
        ))
    }

    /// A command as one would type it. Words without a single quote, which all of the tour's are, are quoted.
    pub(super) fn command(
        &mut self,
        verb: &str,
        words: &str,
        at: &[Endpoint],
    ) -> Result<(), OutputClosed> {
        let words = if words.is_empty() {
            String::new()
        } else {
            format!(" '{words}'")
        };
        let line = format!(
            "$ {} {verb}{words} --endpoints {}",
            self.program,
            endpoint_list(at)
        );
        self.out
            .line(format_args!("   {}", Tone::Command.paint(&line)))
    }
}
