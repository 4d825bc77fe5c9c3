//! Times of nodes as text.

use std::time::{Duration, UNIX_EPOCH};

/// A time as in RFC 3339, in UTC, to the second: `2026-11-24T18:28:21Z`. Times after the year 9999 stay milliseconds.
pub(crate) fn utc(time_ms: u64) -> String {
    /// Begin of the year 10000.
    const END_MS: u64 = 253_402_300_800_000;
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    if time_ms >= END_MS {
        return format!("{time_ms} ms");
    }
    // Always 29 ASCII characters, as in `Tue, 24 Nov 2026 18:28:21 GMT`.
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(time_ms));
    let month = MONTHS.find(&date[8..11]).map_or(0, |at| at / 3 + 1);
    let (day, year, time) = (&date[5..7], &date[12..16], &date[17..25]);
    format!("{year}-{month:02}-{day}T{time}Z")
}

/// The same to the millisecond: `2026-11-24T18:28:21.042Z`.
pub(crate) fn utc_ms(time_ms: u64) -> String {
    match utc(time_ms).strip_suffix('Z') {
        Some(seconds) => format!("{seconds}.{:03}Z", time_ms % 1000),
        None => utc(time_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_milliseconds() {
        assert_eq!(utc_ms(1_795_544_901_042), "2026-11-24T18:28:21.042Z");
        assert_eq!(utc_ms(253_402_300_800_001), "253402300800001 ms");
    }
}
