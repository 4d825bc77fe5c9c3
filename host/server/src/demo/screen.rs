//! Output of the demo: coloured on a terminal, plain in a pipe.

use std::fmt::Display;
use std::io::Write;

use oarlock_client::Endpoint;

use crate::command::{Output, OutputClosed, Tone, endpoint_list, print_safely};

/// Prints the tour.
pub(super) struct Screen<W> {
    out: Output<W>,
    program: String,
    step: u32,
}

impl<W: Write> Screen<W> {
    /// Prints to `to`. Commands to copy begin with `program`.
    pub(super) fn new(to: W, program: String) -> Self {
        Self {
            out: Output::new(to),
            program,
            step: 0,
        }
    }

    /// Prints the numbered heading of the next step.
    ///
    /// # Errors
    /// The reader has closed the output. The same holds for all methods.
    pub(super) fn step(&mut self, text: impl Display) -> Result<(), OutputClosed> {
        self.step += 1;
        let heading = Tone::Heading.paint(&format!("{}. {text}", self.step));
        self.out.line("")?;
        self.out.line(heading)
    }

    /// Prints a heading without a number.
    pub(super) fn heading(&mut self, text: &str) -> Result<(), OutputClosed> {
        self.out.line("")?;
        self.out.line(Tone::Heading.paint(text))
    }

    /// Prints an indented line.
    pub(super) fn line(&mut self, text: impl Display) -> Result<(), OutputClosed> {
        self.out.line(format_args!("   {text}"))
    }

    /// Prints a check that passed.
    pub(super) fn good(&mut self, text: impl Display) -> Result<(), OutputClosed> {
        let mark = Tone::Good.paint("ok");
        self.out.line(format_args!("   {mark} {text}"))
    }

    /// Prints lines as they are, indented.
    pub(super) fn block(&mut self, text: &str) -> Result<(), OutputClosed> {
        text.lines()
            .try_for_each(|line| self.out.line(format_args!("   {line}")))
    }

    /// Prints a command line to copy, and the guest's response.
    pub(super) fn exchange(
        &mut self,
        verb: &str,
        argument: &str,
        at: &[Endpoint],
        response: &[u8],
    ) -> Result<(), OutputClosed> {
        self.command(verb, argument, at)?;
        self.out.line(format_args!(
            "   {}",
            print_safely(&String::from_utf8_lossy(response))
        ))
    }

    /// Prints a command line to copy. `argument` must not contain a single quote: it is printed between two.
    pub(super) fn command(
        &mut self,
        verb: &str,
        argument: &str,
        at: &[Endpoint],
    ) -> Result<(), OutputClosed> {
        let argument = if argument.is_empty() {
            String::new()
        } else {
            format!(" '{argument}'")
        };
        let line = format!(
            "$ {} {verb}{argument} --endpoints {}",
            self.program,
            endpoint_list(at)
        );
        self.out
            .line(format_args!("   {}", Tone::Command.paint(&line)))
    }
}
