//! One client's upgrade request.

use bytes::Bytes;
use oarlock_wasm::{
    AbortCause, CheckError, CommandOutcome, Envelope, GuestModule, MachineLimits, PastUpgrade,
    Sha256, StatusHandle, UpgradeBegin, UpgradeEnd, UpgradeOutcome, UpgradeRecord, UpgradeRefusal,
    UpgradeSignature, UpgradeStatus, WasmMachine,
};
use task_queue_raft::ids::Index;
use task_queue_raft::{Raft, SubmitError};
use thiserror::Error;
use tokio::time::Instant;

use super::check_queue::CheckQueue;
use super::succession::{self, SuccessionError};
use super::watch::UpgradeWatch;

/// Most bytes of a module in one entry of the log.
const CHUNK_BYTES: usize = 256 << 10;

/// Options of an upgrade request.
#[derive(Clone, Debug)]
pub(crate) struct UpgradeRequestOptions {
    /// Check the module on all voters, and don't activate it.
    pub(crate) dry_run: bool,
    /// The module may have another name than the active one.
    pub(crate) replace_machine: bool,
    /// How long the voters may take to prepare, in milliseconds of replicated time.
    pub(crate) wait_ms: u64,
    /// Who requested the upgrade, for the history: up to 256 bytes.
    pub(crate) by: String,
    /// The signature of the module, for the nodes that want one.
    pub(crate) signature: Option<String>,
}

/// Why an upgrade has not activated the module. Except after a timeout, the current module stays active.
#[derive(Debug, Error)]
pub(crate) enum UpgradeError {
    /// This node can't run the module. Nothing is in the log.
    #[error("{0}; the current module stays active")]
    InvalidModule(#[source] CheckError),
    /// The module may not take over the state of the active one.
    #[error("{0}; the current module stays active")]
    Succession(#[from] SuccessionError),
    /// Too many modules wait for their check.
    #[error("too many modules wait for their check")]
    TooManyChecks,
    /// The check of the module panicked.
    #[error("the check of the module panicked: {0}")]
    CheckPanicked(#[source] tokio::task::JoinError),
    /// The cluster can't begin the upgrade, for example because another one is in progress.
    #[error(transparent)]
    Refused(UpgradeRefusal),
    /// The upgrade began and was aborted.
    #[error("{end}; the current module stays active")]
    Aborted {
        /// For programs.
        cause: AbortCause,
        /// With the cause and its details.
        end: UpgradeEnd,
    },
    /// A record of the upgrade was not committed.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The upgrade had not ended at the deadline of the request.
    #[error("the upgrade did not end in time")]
    TimedOut,
    /// The node is stopping.
    #[error("this node is stopping")]
    Stopping,
    /// The state machine responded to a record in a way that the protocol does not allow.
    #[error("unexpected response to a record of an upgrade: {0}")]
    UnexpectedReply(String),
}

/// Checks and compiles a module on a blocking thread. A module that fails here never reaches the log.
///
/// # Errors
/// The module is invalid, with every reason that was found.
pub(crate) async fn load_module(
    checks: &CheckQueue,
    active: GuestModule,
    bytes: Bytes,
    limits: MachineLimits,
) -> Result<GuestModule, UpgradeError> {
    let place = checks.enter().ok_or(UpgradeError::TooManyChecks)?;
    let turn = place.turn().await;
    let load = move || {
        // Kept until the check has ended, even if the client is gone.
        let _turn = turn;
        active.load_another(bytes, &limits)
    };
    tokio::task::spawn_blocking(load)
        .await
        .map_err(UpgradeError::CheckPanicked)?
        .map_err(UpgradeError::InvalidModule)
}

/// A request to activate a module.
pub(crate) struct Upgrade<'a> {
    pub(crate) raft: &'a Raft<WasmMachine>,
    pub(crate) upgrades: &'a UpgradeWatch,
    /// The status of the machine, which has the active module.
    pub(crate) machine: &'a StatusHandle,
    pub(crate) module: &'a GuestModule,
    pub(crate) options: UpgradeRequestOptions,
    /// No record is submitted after this time.
    pub(crate) deadline: Instant,
}

impl Upgrade<'_> {
    /// The entry that activated the module; 0 for the first module of the cluster. Only valid for the active module.
    pub(crate) fn active_since(&self) -> Index {
        let upgrades = self.upgrades.now();
        let since = upgrades.activated(self.module.sha256());
        since.map_or(Index::ZERO, |past| past.ended.index)
    }

    /// Upgrades the cluster. Returns the entry that activated the module, or `None` after a dry run.
    ///
    /// # Errors
    /// The module may not take over the state, or the upgrade could not begin, or was aborted, or its end is unknown.
    pub(crate) async fn run(&self) -> Result<Option<Index>, UpgradeError> {
        let checked = self.check_succession()?;
        let begin = UpgradeBegin {
            sha256: self.module.sha256(),
            bytes: self.module.bytes().len() as u64,
            wait_ms: self.options.wait_ms,
            dry_run: self.options.dry_run,
            by: self.options.by.clone(),
        };
        let upgrade = match self.propose(&UpgradeRecord::Begin(begin)).await? {
            (index, UpgradeOutcome::Begun) => index,
            (_, UpgradeOutcome::Refused(UpgradeRefusal::Active { .. })) => {
                return Ok(Some(self.active_since()));
            }
            (_, UpgradeOutcome::Refused(refusal)) => self.join(refusal)?,
            (_, reply) => return Err(unexpected(&reply)),
        };
        // Another module may have become active before the upgrade began. From then on it stays active.
        if self.machine.module().sha256() != checked
            && let Err(error) = self.check_succession()
        {
            self.abort(upgrade, &error).await?;
            return Err(error.into());
        }
        self.send_signature(upgrade).await?;
        self.send_module(upgrade).await?;
        let past = self.upgrades.end_of(upgrade).await;
        result_of(past.ok_or(UpgradeError::Stopping)?)
    }

    /// Checks that the module may take over the state of the active one, whose digest is the result.
    fn check_succession(&self) -> Result<Sha256, SuccessionError> {
        let active = self.machine.module();
        let replace_machine = self.options.replace_machine;
        succession::check(&(&active).into(), &self.module.into(), replace_machine)?;
        Ok(active.sha256())
    }

    async fn abort(&self, upgrade: Index, error: &SuccessionError) -> Result<(), UpgradeError> {
        let end = UpgradeEnd::Aborted {
            cause: AbortCause::NodeRefused,
            message: error.to_string(),
        };
        self.propose(&UpgradeRecord::Close { upgrade, end }).await?;
        Ok(())
    }

    /// Joins the upgrade in progress if it is for the same module. So a client can repeat its request, for example
    /// after a timeout.
    fn join(&self, refusal: UpgradeRefusal) -> Result<Index, UpgradeError> {
        let pending = self.upgrades.now().pending;
        let is_same = |pending: &UpgradeStatus| {
            pending.sha256 == self.module.sha256() && pending.dry_run == self.options.dry_run
        };
        match (refusal, pending) {
            (UpgradeRefusal::InProgress { upgrade, .. }, Some(pending))
                if pending.upgrade == upgrade && is_same(&pending) =>
            {
                Ok(upgrade)
            }
            (refusal, _) => Err(UpgradeError::Refused(refusal)),
        }
    }

    /// Proposes the signature, before the module is complete: then each voter checks it.
    async fn send_signature(&self, upgrade: Index) -> Result<(), UpgradeError> {
        let Some(text) = self.options.signature.clone() else {
            return Ok(());
        };
        let left = self.deadline.saturating_duration_since(Instant::now());
        let record = UpgradeSignature { upgrade, text };
        self.raft.submit(Envelope::signature(&record), left).await?;
        Ok(())
    }

    /// Proposes the module in chunks, and skips bytes that are already in the log.
    async fn send_module(&self, upgrade: Index) -> Result<(), UpgradeError> {
        let bytes = self.module.bytes();
        let mut offset = 0;
        while offset < bytes.len() {
            let end = bytes.len().min(offset + CHUNK_BYTES);
            let chunk = UpgradeRecord::Chunk {
                upgrade,
                offset: offset as u64,
                bytes: bytes.slice(offset..end),
            };
            offset = match self.propose(&chunk).await?.1 {
                UpgradeOutcome::ChunkAdded => end,
                UpgradeOutcome::Refused(UpgradeRefusal::Offset { expected }) => {
                    usize::try_from(expected).unwrap_or(usize::MAX)
                }
                // The module is complete, or the upgrade has ended: its history shows how.
                UpgradeOutcome::Staged
                | UpgradeOutcome::Closed
                | UpgradeOutcome::Refused(UpgradeRefusal::NotInProgress { .. }) => return Ok(()),
                reply => return Err(unexpected(&reply)),
            };
        }
        Ok(())
    }

    async fn propose(
        &self,
        record: &UpgradeRecord,
    ) -> Result<(Index, UpgradeOutcome), UpgradeError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let applied = self.raft.submit(Envelope::upgrade(record), left).await?;
        match applied.reply {
            CommandOutcome::Upgrade(reply) => Ok((applied.index, reply)),
            other => Err(UpgradeError::UnexpectedReply(format!("{other:?}"))),
        }
    }
}

fn result_of(past: PastUpgrade) -> Result<Option<Index>, UpgradeError> {
    match past.end {
        UpgradeEnd::Activated => Ok(Some(past.ended.index)),
        UpgradeEnd::DryRunPassed => Ok(None),
        UpgradeEnd::Aborted { cause, .. } => Err(UpgradeError::Aborted {
            cause,
            end: past.end,
        }),
    }
}

fn unexpected(reply: &UpgradeOutcome) -> UpgradeError {
    UpgradeError::UnexpectedReply(format!("{reply:?}"))
}
