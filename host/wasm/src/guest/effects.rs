//! Effects of an entry: what a guest did besides returning outcomes.

use bytes::Bytes;

/// An event that a guest published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestEvent {
    /// The topic, chosen by the guest.
    pub topic: String,
    /// The content, opaque to the host.
    pub payload: Bytes,
}

/// The late reply to a deferred command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The token of [`CommandOutcome::Deferred`](crate::CommandOutcome::Deferred).
    pub token: u64,
    /// `true`: the command was executed; `false`: the guest rejected it.
    pub accepted: bool,
    /// The reply or the rejection.
    pub reply: Bytes,
}

/// The effects of one entry, in the order in which the guest caused them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Published events. The index of the entry and the position in this list identify an event.
    pub events: Vec<GuestEvent>,
    /// Deferred commands that are now complete.
    pub completions: Vec<Completion>,
    /// The wake-up time that the guest requested, in milliseconds of replicated time. `None`: no request; 0: never
    /// wake.
    pub wake_at_ms: Option<u64>,
}
