//! `oarlock top`: what all nodes do, measured again and again.

mod measure;
mod series;
mod show;
#[cfg(test)]
mod tests;

use std::io::{IsTerminal, Write, stdout};
use std::time::Duration;

use oarlock_client::Client;

use super::connect::{block_on, connect};
use super::output::{Output, OutputClosed, print_coloured, write_json};
use crate::cli::TopArgs;
use crate::exit::Failure;
use measure::Measurement;

/// Switches to the other screen of the terminal, and hides the cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
/// Switches back.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// Moves the cursor to the first line.
const HOME: &str = "\x1b[H";
/// Clears the rest of a line, and the rest of the screen.
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_REST: &str = "\x1b[J";

/// Shows what the nodes do until Ctrl-C, or once.
///
/// # Errors
/// No node responds at the first measurement.
pub(crate) fn top(args: TopArgs) -> Result<(), Failure> {
    block_on(run(args))
}

async fn run(args: TopArgs) -> Result<(), Failure> {
    let client = connect(&args.client)?;
    let pause = Duration::from_millis(args.interval_ms);
    let first = measure::measure(&client).await;
    if !first.any_responded() {
        return Err(Failure::unreachable(
            "no node responds; check that the nodes are running and that these are their client addresses; `oarlock doctor` tells more",
        ));
    }
    let json = args.client.output.json;
    if args.once || !json && !stdout().is_terminal() {
        tokio::time::sleep(pause).await;
        let now = measure::measure(&client).await;
        let table = show::Rows::between(&first, &now);
        return if json {
            write_json(stdout().lock(), &table.as_json())
        } else {
            print_coloured(&table.as_text())
        };
    }
    if json {
        lines(&client, first, pause).await
    } else {
        screen(&client, first, pause).await
    }
}

/// One JSON object for each measurement, until the reader closes the output.
async fn lines(client: &Client, first: Measurement, pause: Duration) -> Result<(), Failure> {
    let mut out = Output::new(stdout());
    let mut before = first;
    loop {
        tokio::time::sleep(pause).await;
        let now = measure::measure(client).await;
        let rows = show::Rows::between(&before, &now);
        if out.line(rows.as_json()) == Err(OutputClosed) {
            return Ok(());
        }
        before = now;
    }
}

/// The terminal shows the table in place, until Ctrl-C.
async fn screen(client: &Client, first: Measurement, pause: Duration) -> Result<(), Failure> {
    let _other_screen = OtherScreen::enter();
    let mut before = first;
    let mut rows = show::Rows::between(&before, &before);
    loop {
        if draw(&rows.as_text()).is_err() {
            return Ok(());
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
        let now = measure::measure(client).await;
        rows = show::Rows::between(&before, &now);
        before = now;
    }
}

fn draw(text: &str) -> std::io::Result<()> {
    let mut frame = String::from(HOME);
    for line in text.lines() {
        frame.push_str(line);
        frame.push_str(CLEAR_LINE);
        frame.push('\n');
    }
    frame.push_str("Ctrl-C ends it");
    frame.push_str(CLEAR_LINE);
    frame.push_str(CLEAR_REST);
    let mut out = anstream::stdout().lock();
    out.write_all(frame.as_bytes())?;
    out.flush()
}

/// The other screen of the terminal, until it is dropped.
struct OtherScreen;

impl OtherScreen {
    fn enter() -> Self {
        print_now(ENTER);
        Self
    }
}

impl Drop for OtherScreen {
    fn drop(&mut self) {
        print_now(LEAVE);
    }
}

/// A sequence for the terminal. A closed terminal is no error.
fn print_now(sequence: &str) {
    let mut out = stdout().lock();
    let _ = out
        .write_all(sequence.as_bytes())
        .and_then(|()| out.flush());
}
