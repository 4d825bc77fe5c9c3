//! Deferred commands, by token and by deadline.

use std::collections::{BTreeMap, BTreeSet};

use crate::refusal::Refusal;
use crate::token::Token;

/// Most deferred commands without a reply. The default limit of the host is the same.
pub(super) const MAX_WAITING: usize = 100_000;
/// No further command is deferred while the kept replies have this many bytes or more.
pub(super) const MAX_KEPT_BYTES: usize = 16 << 20;
/// Tokens of one entry, unless it has more commands than that.
const TOKENS_PER_ENTRY: u64 = 1 << 16;

/// A command without a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deferral {
    pub(super) deadline_ms: u64,
    /// The encoded reply that it gets at the deadline.
    pub(super) reply: Vec<u8>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Deferrals {
    by_token: BTreeMap<Token, Deferral>,
    by_deadline: BTreeSet<(u64, Token)>,
    kept_bytes: usize,
    /// The largest token that was given out, 0 before the first.
    last_token: u64,
}

impl Deferrals {
    pub(super) fn last_token(&self) -> u64 {
        self.last_token
    }

    pub(super) fn set_last_token(&mut self, token: u64) {
        self.last_token = token;
    }

    /// A token is larger than all before. It also depends on the index of the entry, so that it is new to the host even if
    /// another guest ran before this one.
    pub(super) fn new_token(&mut self, index: u64) -> Result<Token, Refusal> {
        if self.by_token.len() >= MAX_WAITING || self.kept_bytes >= MAX_KEPT_BYTES {
            let text = format!(
                "{} commands wait for their replies, which is the limit; try again later",
                self.by_token.len()
            );
            return Err(Refusal::new("too_many_waiting", text));
        }
        let first = index.saturating_mul(TOKENS_PER_ENTRY);
        self.last_token = first.max(self.last_token + 1);
        Ok(Token::new(self.last_token))
    }

    pub(super) fn contains(&self, token: Token) -> bool {
        self.by_token.contains_key(&token)
    }

    pub(super) fn first_ms(&self) -> Option<u64> {
        self.by_deadline
            .first()
            .map(|(deadline_ms, _)| *deadline_ms)
    }

    /// The commands whose deadlines have passed, by deadline and token.
    pub(super) fn due(&self, now_ms: u64) -> impl Iterator<Item = (u64, Token)> {
        let by_deadline = self.by_deadline.iter();
        by_deadline
            .take_while(move |(deadline_ms, _)| *deadline_ms <= now_ms)
            .copied()
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (Token, &Deferral)> {
        self.by_token
            .iter()
            .map(|(token, deferral)| (*token, deferral))
    }

    #[cfg(not(target_family = "wasm"))]
    pub(super) fn tokens(&self) -> Vec<Token> {
        self.by_token.keys().copied().collect()
    }

    pub(super) fn insert(&mut self, token: Token, deferral: Deferral) {
        self.kept_bytes += deferral.reply.len();
        self.by_deadline.insert((deferral.deadline_ms, token));
        self.by_token.insert(token, deferral);
    }

    pub(super) fn remove(&mut self, token: Token) -> Option<Deferral> {
        let deferral = self.by_token.remove(&token)?;
        self.by_deadline.remove(&(deferral.deadline_ms, token));
        self.kept_bytes -= deferral.reply.len();
        Some(deferral)
    }
}
