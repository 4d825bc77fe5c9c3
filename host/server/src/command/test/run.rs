//! Runs a suite on several copies and compares them.
//!
//! | copy | how it gets from one step to the next |
//! |---|---|
//! | live | it goes on |
//! | restored | it is replaced by a new one, restored from its snapshot |
//! | upgraded | it is upgraded, to the same guest under another digest |
//! | upgraded from OLD, for each step | it begins with the module OLD and is upgraded before that step |

use oarlock_wasm::GuestModule;

use super::compare::differences;
use super::expect::DeferredNames;
use super::replica::Replica;
use super::report::SuiteReport;
use super::result::StepResult;
use super::suite::Suite;
use crate::exit::Failure;

const LIVE: &str = "live";
const RESTORED: &str = "restored after each step";
const UPGRADED: &str = "upgraded after each step";

/// Runs the suite on the copies of `module`, and on copies that begin with `from`.
///
/// # Errors
/// The guest does not start. Everything later is in the report.
pub(crate) fn run(
    module: &GuestModule,
    from: Option<&GuestModule>,
    suite: &Suite,
) -> Result<SuiteReport, Failure> {
    let mut report = SuiteReport::new(suite.steps.len());
    report.add_copy(LIVE);
    report.add_copy(RESTORED);
    report.add_copy(UPGRADED);
    let twin = module.labelled("the copy of `oarlock test`");
    let known = [module, &twin];
    let start = || Replica::new(module, &known).map_err(Failure::failed);
    let mut live = start()?;
    let (mut restored, mut upgraded) = (Some(start()?), Some(start()?));
    let mut names = DeferredNames::new();
    for (number, step) in suite.steps.iter().enumerate() {
        let result = match live.step(number, &step.action) {
            Ok(result) => result,
            Err(message) => {
                report.add_stop(number, step, LIVE, message);
                return Ok(report);
            }
        };
        for difference in step.expected.differences(&result, &mut names) {
            report.add(number, step, LIVE, difference);
        }
        restored = restored.and_then(|copy| {
            let next = |mut copy: Replica| copy.restored(&known);
            follow(copy, RESTORED, number, suite, &result, &mut report, next)
        });
        let target = if number % 2 == 0 { &twin } else { module };
        upgraded = upgraded.and_then(|copy| {
            let next = |mut copy: Replica| copy.upgrade(number + 1, target).map(|()| copy);
            follow(copy, UPGRADED, number, suite, &result, &mut report, next)
        });
    }
    if let Some(old) = from {
        run_from(old, module, suite, &mut report)?;
    }
    Ok(report)
}

/// Executes a step on a copy, compares it with the live copy's result, and brings the copy to the next step. `None`: the
/// copy can't go on, or differs, which is in the report.
fn follow(
    mut copy: Replica,
    name: &str,
    number: usize,
    suite: &Suite,
    live: &StepResult,
    report: &mut SuiteReport,
    next: impl FnOnce(Replica) -> Result<Replica, String>,
) -> Option<Replica> {
    let step = &suite.steps[number];
    let followed = copy.step(number, &step.action).map(|result| {
        let found = differences(LIVE, live, &result);
        let agrees = found.is_empty();
        for difference in found {
            report.add(number, step, name, difference);
        }
        agrees
    });
    let next = match followed {
        Ok(true) => next(copy),
        Ok(false) => return None,
        Err(message) => Err(message),
    };
    next.map_err(|message| report.add_stop(number, step, name, message))
        .ok()
}

/// Runs the suite on copies that begin with the module `old`: for each step, up to the first that only the new module
/// knows, one that is upgraded before it. What the old module replies is not compared.
fn run_from(
    old: &GuestModule,
    new: &GuestModule,
    suite: &Suite,
    report: &mut SuiteReport,
) -> Result<(), Failure> {
    let description = old.description();
    let (guest, version) = (&description.name, description.version);
    let from = format!("upgraded from {guest} version {version}");
    let last = suite.steps.iter().position(|step| step.is_new);
    let last = last.unwrap_or(suite.steps.len() - 1);
    report.add_copy(format!("{from} before each of the steps 1 to {}", last + 1));
    let mut base = Replica::new(old, &[old, new]).map_err(Failure::failed)?;
    let mut names = DeferredNames::new();
    for (number, step) in suite.steps.iter().enumerate().take(last + 1) {
        let name = format!("{from} before step {}", number + 1);
        let copy = base.restored(&[new]).and_then(|mut copy| {
            copy.upgrade(number, new)?;
            let restored = copy.restored(&[new])?;
            Ok((copy, restored))
        });
        match copy {
            Ok((copy, restored)) => {
                let copies = UpgradedCopies {
                    name: &name,
                    copy,
                    restored,
                };
                copies.run(number, suite, names.clone(), report);
            }
            Err(message) => report.add_stop(number, step, &name, message),
        }
        // The last step may be one that the old module does not know.
        if number == last {
            break;
        }
        match base.step(number, &step.action) {
            Ok(result) => drop(step.expected.differences(&result, &mut names)),
            Err(message) => {
                report.add_stop(number, step, &format!("{guest} version {version}"), message);
                break;
            }
        }
    }
    Ok(())
}

/// A copy that was upgraded from another module, and one that was restored from it right after.
struct UpgradedCopies<'n> {
    name: &'n str,
    copy: Replica,
    restored: Replica,
}

impl UpgradedCopies<'_> {
    /// Runs the steps from number `first` on. Both copies must meet the expectations and agree.
    fn run(
        mut self,
        first: usize,
        suite: &Suite,
        mut names: DeferredNames,
        report: &mut SuiteReport,
    ) {
        let restored_name = format!("{}, then restored", self.name);
        for (number, step) in suite.steps.iter().enumerate().skip(first) {
            let result = match self.copy.step(number, &step.action) {
                Ok(result) => result,
                Err(message) => return report.add_stop(number, step, self.name, message),
            };
            let found = step.expected.differences(&result, &mut names);
            let is_met = found.is_empty();
            for difference in found {
                report.add(number, step, self.name, difference);
            }
            let restored = match self.restored.step(number, &step.action) {
                Ok(restored) => restored,
                Err(message) => return report.add_stop(number, step, &restored_name, message),
            };
            let found = differences(self.name, &result, &restored);
            let agrees = found.is_empty();
            for difference in found {
                report.add(number, step, &restored_name, difference);
            }
            // One difference leads to others in later steps.
            if !is_met || !agrees {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
