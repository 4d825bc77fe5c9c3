//! Executes entries without a node: for `oarlock recover --into` and `oarlock restore --archive`.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, IsTerminal, Seek, Write};
use std::path::Path;

use oarlock_wasm::WasmMachine;
use task_queue_raft::ReplicatedStateMachine;

const BUFFER_BYTES: usize = 1 << 20;

/// The state as a snapshot has it, in a file next to `into` that has no name any more.
pub(super) fn write_state(machine: &mut WasmMachine, into: &Path) -> io::Result<BufReader<File>> {
    let parent = into
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let file = tempfile::tempfile_in(parent.unwrap_or(Path::new(".")))?;
    let mut to = BufWriter::with_capacity(BUFFER_BYTES, file);
    machine.snapshot(&mut to).map_err(io::Error::other)?;
    to.flush()?;
    let mut file = to.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok(BufReader::with_capacity(BUFFER_BYTES, file))
}

/// On a terminal, how far the log is executed.
pub(super) fn tell_progress(done: u64, last: u64) {
    if io::stderr().is_terminal() {
        eprint!("\rexecuted {done} of {last} entries");
        if done == last {
            eprintln!();
        }
    }
}
