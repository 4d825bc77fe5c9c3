//! The state of one call into a guest: what the guest may do in it, and what it has done so far.

use std::sync::Arc;

use task_queue_raft::state_machine::Moment;

use crate::guest::effects::Effects;
use crate::guest::error_lines::ErrorLines;
use crate::guest::limits::MachineLimits;
use crate::guest::random::Random;
use crate::records::caller::GuestCaller;
use crate::records::chunks::{ChunkReader, ChunkWriter};
use crate::records::failure::GuestFailure;

/// Why a guest is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallPurpose {
    /// `apply` or `wake`: effects count.
    Change,
    /// `apply` or `wake` again, to rebuild a state. Its effects are discarded, because they took place before.
    Replay,
    /// Any other call: it must have no effects.
    ReadOnly,
}

/// What a call can see of the host's replicated state. A replay must see the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallView {
    /// A node has reported that the memory of its guest is low.
    pub(crate) memory_is_low: bool,
}

impl CallView {
    /// No node has reported anything.
    pub(crate) const NORMAL: Self = Self {
        memory_is_low: false,
    };
}

/// Who has sent the commands of a call, or the query. A replay must see the same.
#[derive(Clone, Debug)]
pub(crate) struct Callers {
    /// One for each command; `None` if no command has a caller, so that these calls cost nothing.
    of: Option<Arc<[Option<Arc<GuestCaller>>]>>,
}

impl Callers {
    /// No command has a caller.
    pub(crate) fn none() -> Self {
        Self { of: None }
    }

    /// The callers of the commands, in their order.
    pub(crate) fn of<'c>(
        callers: impl Iterator<Item = Option<&'c Arc<GuestCaller>>> + Clone,
    ) -> Self {
        let has_any = callers.clone().any(|caller| caller.is_some());
        Self {
            of: has_any.then(|| callers.map(Option::<&_>::cloned).collect()),
        }
    }

    /// Whether a command has a caller.
    pub(super) fn any(&self) -> bool {
        self.of.is_some()
    }

    /// Who has sent this command, counted from 0.
    pub(super) fn get(&self, command: u32) -> Option<&GuestCaller> {
        let callers = self.of.as_deref()?;
        callers.get(command as usize)?.as_deref()
    }

    /// Approximate size in memory.
    pub(crate) fn bytes(&self) -> usize {
        let callers = self.of.iter().flat_map(|callers| callers.iter());
        let bytes = |caller: &Option<Arc<GuestCaller>>| {
            size_of::<usize>() + caller.as_ref().map_or(0, |caller| caller.bytes())
        };
        callers.map(bytes).sum()
    }
}

/// A call in progress.
pub(crate) struct GuestCall {
    pub(super) purpose: CallPurpose,
    pub(super) now_ms: u64,
    pub(super) view: CallView,
    pub(super) callers: Callers,
    /// The longest reply, in bytes.
    pub(super) reply_bytes: u64,
    pub(super) random: Random,
    pub(super) effects: Effects,
    effect_bytes: u64,
    max_effect_bytes: u64,
    max_effects: u64,
    /// What the guest wrote to standard error, or logged at level error.
    pub(super) error_lines: ErrorLines,
    pub(super) sink: Option<ChunkWriter>,
    pub(super) source: Option<ChunkReader>,
}

impl GuestCall {
    /// A call for `commands` commands; `number` distinguishes the calls of one entry.
    pub(crate) fn new(
        purpose: CallPurpose,
        at: Moment,
        number: u32,
        commands: usize,
        limits: &MachineLimits,
    ) -> Self {
        // A batch that exceeds its share runs command by command.
        let share = (commands as u64).clamp(1, limits.batch_share.max(1));
        Self {
            purpose,
            now_ms: at.time_ms,
            view: CallView::NORMAL,
            callers: Callers::none(),
            reply_bytes: limits.reply_bytes,
            random: Random::new(at.index.0, number),
            effects: Effects::default(),
            effect_bytes: 0,
            max_effect_bytes: limits.event_bytes.saturating_mul(share),
            max_effects: u64::from(limits.events).saturating_mul(share),
            error_lines: ErrorLines::default(),
            sink: None,
            source: None,
        }
    }

    /// A call that must have no effects.
    pub(crate) fn read_only(at: Moment, limits: &MachineLimits) -> Self {
        Self::new(CallPurpose::ReadOnly, at, u32::MAX, 1, limits)
    }

    /// Shows the guest this view.
    pub(crate) fn with_view(mut self, view: CallView) -> Self {
        self.view = view;
        self
    }

    /// Shows the guest who has sent the commands or the query.
    pub(crate) fn with_callers(mut self, callers: Callers) -> Self {
        self.callers = callers;
        self
    }

    /// Lets the guest write a snapshot of at most `limit` bytes.
    pub(crate) fn with_sink(mut self, limit: u64) -> Self {
        self.sink = Some(ChunkWriter::new(limit));
        self
    }

    /// Lets the guest read a snapshot.
    pub(crate) fn with_source(mut self, source: ChunkReader) -> Self {
        self.source = Some(source);
        self
    }

    pub(crate) fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    pub(crate) fn take_sink(&mut self) -> Option<ChunkWriter> {
        self.sink.take()
    }

    pub(crate) fn take_error_lines(&mut self) -> ErrorLines {
        std::mem::take(&mut self.error_lines)
    }

    /// Reserves space for an effect of `bytes` bytes. `false`: effects do not count in this call.
    ///
    /// # Errors
    /// The effect is over the limits of the call.
    pub(super) fn reserve_effect(&mut self, bytes: usize) -> Result<bool, GuestFailure> {
        if self.purpose == CallPurpose::ReadOnly {
            return Ok(false);
        }
        self.effect_bytes += bytes as u64;
        if self.effect_bytes > self.max_effect_bytes {
            return Err(GuestFailure::TooLarge {
                what: "what a command emits and completes",
                bytes: self.effect_bytes,
                limit: self.max_effect_bytes,
            });
        }
        let effects = self.effects.events.len() + self.effects.completions.len();
        if effects as u64 >= self.max_effects {
            return Err(GuestFailure::TooMany {
                what: "events and completions of a command",
                limit: self.max_effects,
            });
        }
        Ok(true)
    }
}
