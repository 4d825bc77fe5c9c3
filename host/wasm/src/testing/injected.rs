//! Histories in which a guest fails at random points, and the same histories without the failures. The
//! benchmarks include this file.

use super::{
    CommandOutcome, Envelope, GuestModule, Index, MachineLimits, Moment, ReplicatedStateMachine,
    WasmMachine,
};

type Error = Box<dyn std::error::Error>;

/// Dice with a seed (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) % sides
    }
}

/// Commands for a guest.
pub(crate) trait Script {
    /// A command that succeeds.
    fn valid(&self, dice: &mut Dice) -> Vec<u8>;
    /// A command that fails, and the code of its failure.
    fn failing(&self, dice: &mut Dice) -> (Vec<u8>, &'static str);
}

/// Limits that a failing command reaches quickly.
pub(crate) fn injected_limits() -> MachineLimits {
    MachineLimits {
        fuel_per_command: 4_000_000,
        memory_bytes: 4 << 20,
        reply_bytes: 64 << 10,
        ..MachineLimits::default()
    }
}

/// The guest of `scripted.wat`.
pub(crate) struct Scripted;

fn op(letter: u8, number: u32) -> Vec<u8> {
    let mut command = vec![letter];
    command.extend_from_slice(&number.to_le_bytes());
    command
}

impl Script for Scripted {
    fn valid(&self, dice: &mut Dice) -> Vec<u8> {
        match dice.roll(20) {
            0 => b"eevent".to_vec(),
            1 => b"rrefused".to_vec(),
            2 => b"lline".to_vec(),
            3 => op(b'z', 1_000),
            4 => op(b'p', dice.roll(100) as u32),
            _ => b"a".to_vec(),
        }
    }

    fn failing(&self, dice: &mut Dice) -> (Vec<u8>, &'static str) {
        match dice.roll(20) {
            0..6 => (b"t".to_vec(), "trap"),
            6..9 => (b"utext".to_vec(), "trap"),
            9 => (b"v".to_vec(), "out_of_fuel"),
            10 | 11 => (op(b'z', 64 << 20), "out_of_memory"),
            // Over the limit of a reply.
            12 | 13 => (op(b'z', 65 << 10), "trap"),
            // Too few verdicts, too few offsets, and other invalid outcomes.
            _ => (vec![b'o', b'1' + dice.roll(6) as u8], "trap"),
        }
    }
}

/// The guest of `tests/guests/faulty`.
pub(crate) struct Faulty;

impl Script for Faulty {
    fn valid(&self, dice: &mut Dice) -> Vec<u8> {
        let text = match dice.roll(11) {
            0 => r#"{"emit":{"topic":"t","payload":"p"}}"#.to_owned(),
            // No draws: their results depend on earlier calls in the same entry.
            1 => r#"{"refuse":{}}"#.to_owned(),
            _ => format!(r#"{{"add":{{"by":{}}}}}"#, dice.roll(1_000)),
        };
        text.into_bytes()
    }

    fn failing(&self, dice: &mut Dice) -> (Vec<u8>, &'static str) {
        let (text, code) = match dice.roll(20) {
            0..8 => (r#"{"trap":{}}"#, "trap"),
            8..18 => (r#"{"half":{"by":7}}"#, "trap"),
            18 => (r#"{"spin":{}}"#, "out_of_fuel"),
            _ => (r#"{"alloc":{"mib":16}}"#, "out_of_memory"),
        };
        (text.as_bytes().to_vec(), code)
    }
}

/// Counts of an injection.
#[derive(Debug, Default)]
pub(crate) struct Injected {
    pub(crate) failures: u64,
    pub(crate) entries: u64,
    pub(crate) rollbacks: u64,
}

/// Applies entries of one to eight commands until `failures` of them have failed: on a machine with images, on one that
/// uses replay, and, without the failing commands, on a third one. The first two must have the same outcomes and the
/// same running hash after each entry, for the first `compared` failures, because a replay takes long. The third must
/// have the same outcomes for all other commands and end in the same state.
pub(crate) fn inject(
    module: &GuestModule,
    script: &dyn Script,
    seed: u64,
    failures: u64,
    compared: u64,
) -> Result<Injected, Error> {
    let new = |module: &GuestModule| WasmMachine::new(module.clone(), injected_limits(), None);
    let mut images = new(module)?;
    let mut replayed = new(&module.without_memory_images())?;
    let mut reference = new(module)?;
    let mut dice = Dice(seed);
    let mut done = Injected::default();
    while done.failures < failures {
        done.entries += 1;
        let at = Moment {
            index: Index(done.entries),
            time_ms: done.entries,
        };
        let (mut all, mut good, mut codes) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..=dice.roll(8) {
            if dice.roll(3) == 0 {
                let (command, code) = script.failing(&mut dice);
                all.push(Envelope::command(None, &command)?);
                codes.push(Some(code));
                done.failures += 1;
            } else {
                let command = Envelope::command(None, &script.valid(&mut dice))?;
                all.push(command.clone());
                good.push(command);
                codes.push(None);
            }
        }
        let outcomes = images.apply(at, &all)?;
        let kinds: Vec<_> = outcomes.iter().map(failure).collect();
        if kinds != codes {
            return Err(format!(
                "entry {at:?} should fail with {codes:?}, but failed with {kinds:?}"
            )
            .into());
        }
        if done.failures <= compared {
            let same = replayed.apply(at, &all)?;
            if replayed.state_hash() != images.state_hash() || kinds != failures_of(&same) {
                return Err(format!("image and replay differ at {at:?}").into());
            }
        }
        let kept: Vec<&CommandOutcome> =
            outcomes.iter().filter(|it| failure(it).is_none()).collect();
        let expected = reference.apply(at, &good)?;
        if kept != expected.iter().collect::<Vec<_>>() {
            return Err(format!("a failure changed the outcomes of {at:?}: {kept:?}").into());
        }
    }
    done.rollbacks = images.status().get().counts.rollbacks;
    let digest = images.guest_digest()?;
    let differs = done.failures <= compared && digest != replayed.guest_digest()?;
    if differs || digest != reference.guest_digest()? {
        return Err("the final states differ".into());
    }
    Ok(done)
}

fn failures_of(outcomes: &[CommandOutcome]) -> Vec<Option<&'static str>> {
    outcomes.iter().map(failure).collect()
}

fn failure(outcome: &CommandOutcome) -> Option<&'static str> {
    match outcome {
        CommandOutcome::Failed(failure) => Some(failure.code()),
        _ => None,
    }
}
