//! The inputs from which others are made.

use std::collections::HashSet;

use super::mutate;
use crate::sim::rng::Rng;

/// Most inputs that are kept besides the seeds.
const MAX_FOUND: usize = 4096;
/// Largest input that is kept, in bytes.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// The seeds, and the inputs with new outcomes.
pub(super) struct Corpus {
    inputs: Vec<Vec<u8>>,
    seeds: usize,
    outcomes: HashSet<String>,
    /// The next seed that is run without a change.
    next_seed: usize,
}

impl Corpus {
    pub(super) fn new(seeds: Vec<Vec<u8>>) -> Self {
        Self {
            seeds: seeds.len(),
            inputs: seeds,
            outcomes: HashSet::new(),
            next_seed: 0,
        }
    }

    /// The next input: first each seed as it is, then mutations.
    pub(super) fn next(&mut self, rng: &mut Rng) -> Vec<u8> {
        if let Some(seed) = self.inputs[..self.seeds].get(self.next_seed) {
            self.next_seed += 1;
            return seed.clone();
        }
        let mut input = self.pick(rng).to_vec();
        let most = 1 + rng.below(6);
        for _ in 0..=rng.below(most) {
            let other = self.inputs.get(rng.place(self.inputs.len()));
            mutate::change(&mut input, other.map_or(&[], Vec::as_slice), rng);
        }
        input
    }

    /// Half of the inputs are made from those with new outcomes, if there are any.
    fn pick(&self, rng: &mut Rng) -> &[u8] {
        let found = self.inputs.len() - self.seeds;
        let place = if found > 0 && rng.chance(500) {
            self.seeds + rng.place(found)
        } else {
            rng.place(self.seeds)
        };
        self.inputs.get(place).map_or(&[], Vec::as_slice)
    }

    /// Keeps an input if its outcome is new.
    pub(super) fn note(&mut self, input: Vec<u8>, outcome: &str) {
        let outcome: String = outcome.chars().filter(|c| !c.is_ascii_digit()).collect();
        let has_room = self.inputs.len() - self.seeds < MAX_FOUND;
        if has_room && input.len() <= MAX_KEPT_BYTES && self.outcomes.insert(outcome) {
            self.inputs.push(input);
        }
    }

    /// Outcomes that were seen.
    pub(super) fn outcomes(&self) -> usize {
        self.outcomes.len()
    }
}
