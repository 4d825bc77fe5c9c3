//! The simulated network: it loses, duplicates, delays and cuts off frames in their wire format.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use task_queue_raft::message::Message;
use task_queue_raft::node::frame::{
    self, FrameError, FrameLength, LENGTH_BYTES, MAX_FRAME_BYTES, decode_request, decode_response,
};

use super::profile::NetworkProfile;
use super::rng::Rng;

/// A message as bytes. Which way it goes is known from its connection.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    bytes: Rc<[u8]>,
    request: bool,
}

impl Frame {
    pub(crate) fn encode(message: &Message) -> Result<Self, FrameError> {
        let mut bytes = Vec::new();
        match message {
            Message::Request(request) => {
                frame::encode_request(request, MAX_FRAME_BYTES, &mut bytes)?;
            }
            Message::Response(response) => {
                frame::encode_response(response, MAX_FRAME_BYTES, &mut bytes)?;
            }
        }
        Ok(Self {
            bytes: bytes.into(),
            request: matches!(message, Message::Request(_)),
        })
    }

    pub(crate) fn decode(&self) -> Result<Message, FrameError> {
        let too_short = || FrameError::TooShort {
            length: self.bytes.len(),
        };
        let (prefix, body) = self
            .bytes
            .split_first_chunk::<LENGTH_BYTES>()
            .ok_or_else(too_short)?;
        match frame::decode_length(*prefix, MAX_FRAME_BYTES)? {
            FrameLength::Body(length) if length == body.len() => {}
            _ => return Err(too_short()),
        }
        if self.request {
            decode_request(body).map(Message::Request)
        } else {
            decode_response(body).map(Message::Response)
        }
    }

    /// Its length and its checksum, which is at its end: enough to distinguish it from others.
    pub(crate) fn fingerprint(&self) -> u64 {
        let checksum = self
            .bytes
            .last_chunk::<4>()
            .map_or(0, |bytes| u32::from_be_bytes(*bytes));
        (self.bytes.len() as u64) << 32 | u64::from(checksum)
    }
}

/// Which nodes receive messages of which, and how unreliably.
#[derive(Debug)]
pub(crate) struct Network {
    profile: NetworkProfile,
    rng: Rng,
    /// `cut[from][to]`: nothing arrives.
    cut: Vec<Vec<bool>>,
    /// In calm weather a connection is what TCP makes of it: when the last frame of each arrives.
    in_order: Option<BTreeMap<Link, Duration>>,
}

/// From whom, to whom; requests and responses travel on different connections.
type Link = (usize, usize, bool);

impl Network {
    pub(crate) fn new(nodes: usize, profile: NetworkProfile, rng: Rng) -> Self {
        Self {
            profile,
            rng,
            cut: vec![vec![false; nodes]; nodes],
            in_order: None,
        }
    }

    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut[from][to]
    }

    /// After how long each copy of a message that is sent now arrives; no copy if it is lost.
    pub(crate) fn delays(
        &mut self,
        now: Duration,
        from: usize,
        to: usize,
        frame: &Frame,
    ) -> Vec<Duration> {
        if self.rng.chance(self.profile.drop_per_mille) {
            return Vec::new();
        }
        let copies = 1 + usize::from(self.rng.chance(self.profile.duplicate_per_mille));
        let delays = (0..copies).map(|_| self.delay()).collect::<Vec<_>>();
        let Some(last) = &mut self.in_order else {
            return delays;
        };
        let last = last.entry((from, to, frame.request)).or_default();
        let in_turn = |delay| {
            *last = (*last).max(now + delay);
            *last - now
        };
        delays.into_iter().map(in_turn).collect()
    }

    /// After how long a message that has met a cut arrives again; none if it is lost.
    pub(crate) fn resend(&mut self) -> Option<Duration> {
        let again = self.rng.chance(self.profile.resend_per_mille);
        again.then(|| self.rng.millis(5, 300))
    }

    fn delay(&mut self) -> Duration {
        if self.rng.chance(self.profile.late_per_mille) {
            return self.rng.millis(1, self.profile.late_max_ms);
        }
        self.rng.micros(20, self.profile.delay_max_us)
    }

    /// Cuts both directions between nodes for which `side` differs.
    pub(crate) fn partition(&mut self, side: &[bool]) {
        for (from, row) in self.cut.iter_mut().enumerate() {
            for (to, cut) in row.iter_mut().enumerate() {
                *cut = side[from] != side[to];
            }
        }
    }

    pub(crate) fn cut_one_way(&mut self, from: usize, to: usize) {
        self.cut[from][to] = true;
    }

    pub(crate) fn heal(&mut self) {
        self.cut.iter_mut().flatten().for_each(|cut| *cut = false);
    }

    /// From now on it does no harm. Returns what it did before.
    pub(crate) fn calm(&mut self) -> NetworkProfile {
        self.heal();
        self.in_order = Some(BTreeMap::new());
        std::mem::replace(&mut self.profile, NetworkProfile::calm())
    }

    /// From now on it does this.
    pub(crate) fn storm(&mut self, profile: NetworkProfile) {
        self.profile = profile;
        self.in_order = None;
    }
}
