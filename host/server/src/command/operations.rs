//! `oarlock operations`: what operators did last.

use oarlock_client::{OperationEntry, OperationHistory};

use super::connect::{block_on, connect, refused};
use super::output::{print_coloured, print_safely, write_json};
use super::table::{Align, Table, Tone};
use crate::cli::OperationsArgs;
use crate::exit::Failure;
use crate::timestamp::utc;

/// Shows what operators and upgraders did last, latest first.
///
/// # Errors
/// No node responds, or the client is no operator.
pub(crate) fn operations(args: OperationsArgs) -> Result<(), Failure> {
    block_on(run(args))
}

async fn run(args: OperationsArgs) -> Result<(), Failure> {
    let client = connect(&args.client)?;
    let history = client.operations().await;
    let history = history.map_err(|error| refused(&error, &error))?;
    if args.client.output.json {
        return write_json(std::io::stdout().lock(), &history);
    }
    print_coloured(&shown(&history))
}

fn shown(history: &OperationHistory) -> String {
    if history.operations.is_empty() {
        return "nothing is recorded: nodes record what operators do once they use certificates, from cluster level 1 on\n"
            .to_owned();
    }
    let mut table = Table::new(&[
        ("ENTRY", Align::Right),
        ("TIME", Align::Left),
        ("BY", Align::Left),
        ("REQUEST", Align::Left),
        ("DETAILS", Align::Left),
        ("RESULT", Align::Left),
    ]);
    for operation in &history.operations {
        let (result, tone) = result(operation);
        table.row([
            (operation.index.to_string(), Tone::Plain),
            (utc(operation.time_ms), Tone::Plain),
            plain(&operation.by),
            plain(&operation.what),
            plain(&operation.details),
            (result, tone),
        ]);
    }
    let mut text = table.render();
    if table.has_cut_cells() {
        text.push_str("some cells are cut (…); --json prints them in full\n");
    }
    text
}

fn plain(text: &str) -> (String, Tone) {
    (print_safely(text).into_owned(), Tone::Plain)
}

fn result(operation: &OperationEntry) -> (String, Tone) {
    match &operation.end {
        None => ("not known".to_owned(), Tone::Plain),
        Some(end) => match &end.error {
            None => ("done".to_owned(), Tone::Good),
            Some(code) => (print_safely(code).into_owned(), Tone::Bad),
        },
    }
}

#[cfg(test)]
mod tests;
