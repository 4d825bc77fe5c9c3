//! `oarlock archive`: copies the committed entries of a cluster into a directory, after a backup.
//!
//! | module | content |
//! |---|---|
//! | [`base`] | the backup with which a chain of entries begins |
//! | [`follow`] | receives entries from one node and writes them |
//! | [`progress`] | what the command prints |

mod base;
mod follow;
mod progress;

use std::time::Duration;

use oarlock_client::{Client, Endpoint, RequestError};
use tokio::time::Instant;

use super::connect::{block_on, connect, refused};
use crate::archive::ArchiveWriter;
use crate::cli::ArchiveArgs;
use crate::exit::Failure;
use crate::private_files;
use crate::serve::Signals;
use follow::FollowEnd;
use progress::ArchiveProgress;

/// Pause before the next node is tried; doubled in each round without success, up to the longest one.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Archives until a signal, or with `--once` until everything acknowledged before is archived.
///
/// # Errors
/// The archive is in use, damaged or of another cluster, a node refuses, or the disk returns an error. With `--once`, also if no node
/// sends entries in time.
pub(crate) fn archive(args: ArchiveArgs) -> Result<(), Failure> {
    private_files::make_new_files_private();
    block_on(run(&args))
}

async fn run(args: &ArchiveArgs) -> Result<(), Failure> {
    let client = connect(&args.client)?;
    let mut signals = Signals::new()?;
    let writer = ArchiveWriter::open(&args.dir, args.segment_bytes).map_err(Failure::failed)?;
    let progress = ArchiveProgress::new(args.client.output.json);
    let mut archiver = Archiver {
        endpoints: client.endpoints().to_vec(),
        client,
        writer,
        progress,
        place: 0,
        failed_rounds: 0,
        compacted: false,
        timeout: Duration::from_millis(args.client.timeout_ms),
    };
    tokio::select! {
        // First, because entries may always be there. A write does not yield, so none is interrupted.
        biased;
        () = signals.next() => {}
        done = archiver.run(args) => return done,
    }
    archiver.progress.stopped(archiver.writer.last());
    Ok(())
}

struct Archiver {
    client: Client,
    endpoints: Vec<Endpoint>,
    writer: ArchiveWriter,
    progress: ArchiveProgress,
    /// The endpoint to use next.
    place: usize,
    /// Rounds over all endpoints without an entry.
    failed_rounds: u32,
    /// In this round, a node no longer had the next entry.
    compacted: bool,
    timeout: Duration,
}

impl Archiver {
    async fn run(&mut self, args: &ArchiveArgs) -> Result<(), Failure> {
        self.progress.opened(&self.writer);
        match (&args.backup, self.writer.is_empty()) {
            (Some(file), true) => base::copy(&mut self.writer, file)?,
            (Some(_), false) => {
                return Err(Failure::usage(format!(
                    "{} contains an archive already, which continues after its last entry; leave --backup out, or use another directory",
                    args.dir.display()
                )));
            }
            (None, true) => base::take(&mut self.writer, &self.client).await?,
            (None, false) => {}
        }
        self.progress.base(self.writer.last(), None);
        let mut deadline = Instant::now() + self.timeout;
        loop {
            let before = self.writer.last();
            let ended = self.follow_next(args.once).await?;
            match ended {
                FollowEnd::CaughtUp => {
                    self.progress.caught_up(self.writer.last());
                    return Ok(());
                }
                FollowEnd::Failed(error) if is_final(&error) => {
                    return Err(refused(&error, &error));
                }
                FollowEnd::Failed(error) => self.failed(&error),
            }
            if self.writer.last() != before {
                deadline = Instant::now() + self.timeout;
            }
            self.next_endpoint(args.once.then_some(deadline)).await?;
        }
    }

    /// Receives entries from the current endpoint until that fails.
    async fn follow_next(&mut self, once: bool) -> Result<FollowEnd, Failure> {
        let endpoint = self.endpoints[self.place].clone();
        let from = self.writer.last().index + 1;
        let mut stream = match self.client.entries(&endpoint, from).await {
            Ok(stream) => stream,
            Err(error) => return Ok(FollowEnd::Failed(error)),
        };
        follow::check(stream.head(), &self.writer)?;
        (self.failed_rounds, self.compacted) = (0, false);
        self.progress.connected(stream.endpoint());
        let target = once.then_some(stream.head().applied);
        follow::follow(&mut stream, &mut self.writer, &mut self.progress, target).await
    }

    fn failed(&mut self, error: &RequestError) {
        self.compacted |= error.is_compacted();
        self.progress
            .disconnected(&self.endpoints[self.place], error, self.writer.last());
    }

    /// Goes on to the next endpoint. After a round in which no node had the next entry any more, with a new base.
    async fn next_endpoint(&mut self, deadline: Option<Instant>) -> Result<(), Failure> {
        self.place = (self.place + 1) % self.endpoints.len();
        if self.place != 0 {
            return Ok(());
        }
        if std::mem::take(&mut self.compacted) {
            let before = self.writer.last();
            // Nodes may be restarting: the next round tries again.
            match base::take(&mut self.writer, &self.client).await {
                Ok(()) => self.progress.base(self.writer.last(), Some(before)),
                Err(Failure::Unreachable(error)) => self.progress.no_base(&error),
                Err(error) => return Err(error),
            }
            return Ok(());
        }
        let pause = PAUSE * 2_u32.saturating_pow(self.failed_rounds.min(16));
        self.failed_rounds += 1;
        let pause = pause.min(LONGEST_PAUSE);
        if deadline.is_some_and(|deadline| Instant::now() + pause >= deadline) {
            return Err(Failure::unreachable(format!(
                "no node sends entries after entry {}; check that the nodes are running and have a leader, then run the same command again: the archive keeps what it has",
                self.writer.last().index
            )));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// Whether it makes no sense to try again or elsewhere: the request is not allowed, or not known.
fn is_final(error: &RequestError) -> bool {
    match error {
        RequestError::Invalid { status, .. } => !error.is_compacted() && *status < 500,
        RequestError::TooLarge { .. } => true,
        _ => false,
    }
}
