//! Hunts for planted faults: a simulation that catches none of them proves nothing.

use std::ops::Range;
use std::time::Duration;

use super::planted::Planted;
use super::{Failure, Report, SimConfig, run_many};

/// How a planted fault was caught, or that it was not.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// The fault.
    pub planted: Planted,
    /// How many seeds were tried.
    pub tried: u64,
    /// The run that detected it, by an invariant that shows this fault; `None` if there was none.
    pub caught: Option<Box<Failure>>,
    /// How long all of them took, in their own time.
    pub virtual_time: Duration,
}

/// Runs seeds with the planted fault, until one detects it.
#[must_use]
pub fn hunt(planted: Planted, seeds: Range<u64>) -> Hunt {
    let configs: Vec<_> = seeds
        .map(|seed| SimConfig {
            planted: Some(planted),
            ..SimConfig::of_seed(seed)
        })
        .collect();
    let mut hunt = Hunt {
        planted,
        tried: 0,
        caught: None,
        virtual_time: Duration::ZERO,
    };
    run_many(&configs, |result: Result<Report, Box<Failure>>| {
        hunt.tried += 1;
        match result {
            Ok(report) => hunt.virtual_time += report.virtual_time,
            Err(failure) => {
                hunt.virtual_time += failure.at;
                let tells = planted.is_told_by(failure.violation.invariant);
                hunt.caught = tells.then_some(failure);
            }
        }
        hunt.caught.is_none()
    });
    hunt
}
