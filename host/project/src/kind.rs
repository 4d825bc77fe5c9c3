//! What a project contains.

/// What a project contains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProjectKind {
    /// A state machine of its own.
    #[default]
    StateMachine,
    /// The task queue with rules in it. Only in Rust.
    Queue,
}
