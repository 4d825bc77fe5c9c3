//! Times as flags: RFC 3339, or milliseconds since 1970.

use time::{Date, Month, PrimitiveDateTime, Time, UtcOffset};

const WANTED: &str =
    "write a time as 2026-11-28T18:00:00Z or 2026-11-28T19:00:00+01:00, or milliseconds since 1970";

/// Milliseconds since 1970. Digits after the milliseconds are dropped.
pub(super) fn parse_time(text: &str) -> Result<u64, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_err(|_| WANTED.to_owned());
    }
    of_rfc3339(text).ok_or_else(|| WANTED.to_owned())
}

fn of_rfc3339(text: &str) -> Option<u64> {
    if !text.is_ascii() || text.len() < 20 {
        return None;
    }
    let (date_time, rest) = text.split_at(19);
    let number = |at: usize, length: usize| number(&date_time[at..at + length]);
    let separators = [(4, "-"), (7, "-"), (13, ":"), (16, ":")];
    let is_shaped = separators
        .iter()
        .all(|(at, wanted)| &date_time[*at..=*at] == *wanted);
    if !is_shaped || !matches!(&date_time[10..11], "T" | "t" | " ") {
        return None;
    }
    let month = Month::try_from(u8::try_from(number(5, 2)?).ok()?).ok()?;
    let small = |at| u8::try_from(number(at, 2)?).ok();
    let date =
        Date::from_calendar_date(i32::try_from(number(0, 4)?).ok()?, month, small(8)?).ok()?;
    let (milliseconds, zone) = fraction(rest)?;
    let time = Time::from_hms_milli(small(11)?, small(14)?, small(17)?, milliseconds).ok()?;
    let at = PrimitiveDateTime::new(date, time).assume_offset(offset(zone)?);
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()
}

/// The milliseconds, and what follows them.
fn fraction(text: &str) -> Option<(u16, &str)> {
    let Some(text) = text.strip_prefix('.') else {
        return Some((0, text));
    };
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, zone) = text.split_at(end);
    let milliseconds: String = digits.chars().chain("00".chars()).take(3).collect();
    let milliseconds = (!digits.is_empty()).then(|| milliseconds.parse().ok())??;
    Some((milliseconds, zone))
}

fn offset(zone: &str) -> Option<UtcOffset> {
    if matches!(zone, "Z" | "z") {
        return Some(UtcOffset::UTC);
    }
    let sign = match zone.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = zone[1..].split_once(':')?;
    let part = |text: &str| {
        let value = number(text).filter(|_| text.len() == 2)?;
        i8::try_from(value).ok()
    };
    let (hours, minutes) = (part(hours)?, part(minutes).filter(|minutes| *minutes < 60)?);
    UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()
}

/// Digits only: `parse` would accept a sign.
fn number(text: &str) -> Option<u32> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_both_forms() {
        for (text, ms) in [
            ("0", 0),
            ("1700000000123", 1_700_000_000_123),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000),
            ("2023-11-14t22:13:20.1z", 1_700_000_000_100),
            ("2023-11-14 22:13:20.123999Z", 1_700_000_000_123),
            ("2023-11-14T23:43:20+01:30", 1_700_000_000_000),
            ("2023-11-14T17:13:20.042-05:00", 1_700_000_000_042),
        ] {
            assert_eq!(parse_time(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "-1",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-13-14T22:13:20Z",
            "2023-11-31T22:13:20Z",
            "2023-11-14T24:13:20Z",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20+0130",
            "2023-11-14T22:13:20+01:75",
            "2023-11-14T22:13:20Zx",
            "+023-11-14T22:13:20Z",
            "1969-12-31T23:59:59Z",
            "99999999999999999999",
        ] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
