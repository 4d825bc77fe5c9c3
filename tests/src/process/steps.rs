//! Prints how long each step of a test takes. It measures for people, and asserts nothing.

use std::time::Instant;

/// The steps of a test so far.
pub struct Steps {
    what: String,
    begun: Instant,
    step_begun: Instant,
}

impl Steps {
    /// Begins the first step.
    pub fn begin(what: impl Into<String>) -> Self {
        let now = Instant::now();
        Self {
            what: what.into(),
            begun: now,
            step_begun: now,
        }
    }

    /// The step is done, and the next one begins.
    pub fn done(&mut self, step: &str) {
        let now = Instant::now();
        let seconds = (now - self.step_begun).as_secs_f64();
        println!("time: {}: {step}: {seconds:.1} s", self.what);
        self.step_begun = now;
    }

    /// All steps are done.
    pub fn end(self) {
        let seconds = self.begun.elapsed().as_secs_f64();
        println!("time: {}: in all: {seconds:.1} s", self.what);
    }
}
