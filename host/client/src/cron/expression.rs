//! A cron expression in a time zone, and its ticks.

use std::fmt;
use std::str::FromStr;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use thiserror::Error;

/// Longest expression, in bytes.
const MAX_BYTES: usize = 200;

/// What precedes the time zone in the text of an expression.
const ZONE: &str = "CRON_TZ=";

/// A cron expression of five fields (minute, hour, day of month, month, day of week), or `@hourly`, `@daily`, `@weekly`,
/// `@monthly`, `@yearly`, in a time zone.
///
/// Its text is `CRON_TZ=Europe/Berlin 0 9 * * 1-5`; without the zone it is in UTC.
///
/// # When clocks change
/// - A time that does not exist, because clocks go forward: an expression with fixed minutes and hours ticks at the first
///   instant after the gap. One with a wildcard or step in minutes or hours goes on with the next time that exists.
/// - A time that happens twice, because clocks go back: an expression with fixed minutes and hours ticks at the first of the
///   two. One with a wildcard or step in minutes or hours ticks at both.
///
/// The rules are those of the zone database of the system, or else of a copy in this program.
#[derive(Clone, Debug)]
pub struct CronExpression {
    cron: Cron,
    zone: TimeZone,
    zone_name: String,
    text: String,
}

impl CronExpression {
    /// Parses an expression. `zone` is an IANA name such as `Europe/Berlin` or `UTC`.
    ///
    /// # Errors
    /// The expression is wrong or never matches, or there is no such zone.
    pub fn parse(expression: &str, zone: &str) -> Result<Self, CronExpressionError> {
        let text = expression.trim();
        let wrong = |reason: String| CronExpressionError::Expression {
            expression: text.chars().take(MAX_BYTES).collect(),
            reason,
        };
        if text.len() > MAX_BYTES {
            let reason = format!("it has {} bytes, the limit is {MAX_BYTES}", text.len());
            return Err(wrong(reason));
        }
        let cron = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build()
            .parse(text)
            .map_err(|error| wrong(error.to_string().trim_end_matches('.').to_owned()))?;
        let no_zone = |_| CronExpressionError::Zone(zone.chars().take(MAX_BYTES).collect());
        let parsed = Self {
            cron,
            zone: TimeZone::get(zone).map_err(no_zone)?,
            zone_name: zone.to_owned(),
            text: text.to_owned(),
        };
        // From 2000 on, so that the answer does not depend on a clock.
        match parsed.ticks_after(946_684_800_000).next() {
            Some(_) => Ok(parsed),
            None => Err(CronExpressionError::Never(parsed.text)),
        }
    }

    /// The ticks after a time in milliseconds since 1970-01-01 UTC, in their order.
    #[must_use]
    pub fn ticks_after(&self, after_ms: u64) -> CronTicks<'_> {
        CronTicks {
            expression: self,
            last: self.zoned(after_ms),
        }
    }

    /// The last tick at or before a time, in milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn last_tick(&self, until_ms: u64) -> Option<u64> {
        let until = self.zoned(until_ms)?;
        let found = self.cron.find_previous_occurrence(&until, true).ok()?;
        millis(&found).filter(|at_ms| *at_ms <= until_ms)
    }

    /// The name of the time zone.
    #[must_use]
    pub fn zone(&self) -> &str {
        &self.zone_name
    }

    fn zoned(&self, at_ms: u64) -> Option<Zoned> {
        let at_ms = i64::try_from(at_ms).ok()?;
        let at = Timestamp::from_millisecond(at_ms).ok()?;
        Some(at.to_zoned(self.zone.clone()))
    }
}

impl fmt::Display for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ZONE}{} {}", self.zone_name, self.text)
    }
}

impl FromStr for CronExpression {
    type Err = CronExpressionError;

    /// Parses the text of an expression, with or without the time zone.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().strip_prefix(ZONE) {
            Some(rest) => {
                let (zone, expression) = rest.split_once(' ').unwrap_or((rest, ""));
                Self::parse(expression, zone)
            }
            None => Self::parse(text, "UTC"),
        }
    }
}

/// The ticks of an expression. See [`CronExpression::ticks_after`].
#[derive(Clone, Debug)]
pub struct CronTicks<'a> {
    expression: &'a CronExpression,
    /// The tick before; nothing if there are no more.
    last: Option<Zoned>,
}

impl Iterator for CronTicks<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let last = self.last.take()?;
        let next = self
            .expression
            .cron
            .find_next_occurrence(&last, false)
            .ok()?;
        if next.timestamp() <= last.timestamp() {
            return None;
        }
        let at_ms = millis(&next);
        self.last = Some(next);
        at_ms
    }
}

fn millis(at: &Zoned) -> Option<u64> {
    u64::try_from(at.timestamp().as_millisecond()).ok()
}

/// Why a cron expression can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CronExpressionError {
    /// The expression is wrong.
    #[error(
        "the cron expression {expression:?} is wrong: {reason}; write minute, hour, day of month, month and day of week, for example '0 9 * * 1-5'"
    )]
    Expression {
        /// The expression.
        expression: String,
        /// What is wrong.
        reason: String,
    },
    /// There is no such time zone.
    #[error("there is no time zone {0:?}; use an IANA name, for example Europe/Berlin or UTC")]
    Zone(String),
    /// The expression matches no time, for example the 30th of February.
    #[error("the cron expression {0:?} matches no time; change its day or month")]
    Never(String),
}
