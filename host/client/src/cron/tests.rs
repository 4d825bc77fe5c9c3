use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::*;
use crate::client::tests::support::{ScriptedNode, Turn, client};
use crate::queue::{CatchUp, CronStats, Queue};

const MINUTE: u64 = 60_000;

/// A time in UTC, in milliseconds since 1970.
fn utc(text: &str) -> u64 {
    let at: DateTime = text.parse().unwrap();
    let at = at.to_zoned(TimeZone::UTC).unwrap();
    u64::try_from(at.timestamp().as_millisecond()).unwrap()
}

fn berlin(expression: &str) -> CronExpression {
    CronExpression::parse(expression, "Europe/Berlin").unwrap()
}

/// The first ticks after a time, in UTC.
fn ticks(expression: &CronExpression, after: &str, count: usize) -> Vec<u64> {
    expression.ticks_after(utc(after)).take(count).collect()
}

fn times(texts: &[&str]) -> Vec<u64> {
    texts.iter().map(|text| utc(text)).collect()
}

#[test]
fn an_expression_ticks_at_the_times_of_its_zone() {
    // A Friday in winter, and the Monday after it.
    assert_eq!(
        ticks(&berlin("0 9 * * 1-5"), "2026-01-16T07:59:59.999", 2),
        times(&["2026-01-16T08:00:00", "2026-01-19T08:00:00"])
    );
    // In summer it is an hour earlier in UTC.
    assert_eq!(
        ticks(&berlin("0 9 * * MON"), "2026-07-01T00:00:00", 1),
        times(&["2026-07-06T07:00:00"])
    );
    let kathmandu = CronExpression::parse("@daily", "Asia/Kathmandu").unwrap();
    assert_eq!(
        ticks(&kathmandu, "2026-01-16T00:00:00", 1),
        times(&["2026-01-16T18:15:00"])
    );
}

#[test]
fn a_tick_is_strictly_after_the_time_before() {
    let nine = berlin("0 9 * * *");
    for (after, tick) in [
        ("2026-01-16T08:00:00", "2026-01-17T08:00:00"),
        ("2026-01-16T08:00:00.001", "2026-01-17T08:00:00"),
        ("2026-01-16T07:59:59.001", "2026-01-16T08:00:00"),
    ] {
        assert_eq!(ticks(&nine, after, 1), times(&[tick]));
    }
    for (until, tick) in [
        ("2026-01-16T08:00:00", "2026-01-16T08:00:00"),
        ("2026-01-16T08:00:00.500", "2026-01-16T08:00:00"),
        ("2026-01-16T07:59:59.999", "2026-01-15T08:00:00"),
    ] {
        assert_eq!(nine.last_tick(utc(until)), Some(utc(tick)), "{until}");
    }
}

/// On 2026-03-29 the clocks in Berlin go from 02:00 to 03:00, at 01:00 UTC.
#[test]
fn a_fixed_time_in_a_gap_ticks_right_after_it() {
    let before = "2026-03-28T12:00:00";
    assert_eq!(
        ticks(&berlin("30 2 * * *"), before, 2),
        times(&["2026-03-29T01:00:00", "2026-03-30T00:30:00"])
    );
}

#[test]
fn a_wildcard_passes_over_a_gap() {
    // 01:30, then 03:00.
    assert_eq!(
        ticks(&berlin("*/30 * * * *"), "2026-03-29T00:00:00", 3),
        times(&[
            "2026-03-29T00:30:00",
            "2026-03-29T01:00:00",
            "2026-03-29T01:30:00"
        ])
    );
    assert_eq!(
        ticks(&berlin("30 * * * *"), "2026-03-29T00:00:00", 2),
        times(&["2026-03-29T00:30:00", "2026-03-29T01:30:00"])
    );
}

/// On 2026-10-25 the clocks in Berlin go from 03:00 back to 02:00, at 01:00 UTC.
#[test]
fn a_fixed_time_that_happens_twice_ticks_once() {
    assert_eq!(
        ticks(&berlin("30 2 * * *"), "2026-10-24T12:00:00", 2),
        times(&["2026-10-25T00:30:00", "2026-10-26T01:30:00"])
    );
}

#[test]
fn a_wildcard_ticks_in_both_of_two_equal_hours() {
    assert_eq!(
        ticks(&berlin("0 * * * *"), "2026-10-24T23:30:00", 4),
        times(&[
            "2026-10-25T00:00:00",
            "2026-10-25T01:00:00",
            "2026-10-25T02:00:00",
            "2026-10-25T03:00:00"
        ])
    );
}

#[test]
fn wrong_expressions_and_zones_are_refused_with_advice() {
    for text in [
        "",
        "* * * *",
        "* * * * * *",
        "61 * * * *",
        "0 9 * * mo-fr",
        &"*".repeat(300),
    ] {
        let error = CronExpression::parse(text, "UTC").unwrap_err();
        assert!(
            matches!(error, CronExpressionError::Expression { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("for example '0 9 * * 1-5'"));
        assert!(error.to_string().len() < 600);
    }
    assert_eq!(
        CronExpression::parse("0 9 * * *", "Europe/Atlantis").unwrap_err(),
        CronExpressionError::Zone("Europe/Atlantis".to_owned())
    );
    assert_eq!(
        CronExpression::parse("0 0 30 2 *", "UTC").unwrap_err(),
        CronExpressionError::Never("0 0 30 2 *".to_owned())
    );
}

#[test]
fn the_text_of_an_expression_is_parsed_again() {
    let text = "CRON_TZ=Europe/Berlin 0 9 * * 1-5";
    let expression: CronExpression = text.parse().unwrap();
    assert_eq!(expression.to_string(), text);
    assert_eq!(expression.zone(), "Europe/Berlin");
    let utc: CronExpression = "0 9 * * 1-5".parse().unwrap();
    assert_eq!(utc.to_string(), "CRON_TZ=UTC 0 9 * * 1-5");
    assert!("CRON_TZ=Europe/Berlin".parse::<CronExpression>().is_err());
}

fn stats(last_ms: u64, left: u64, catch_up: CatchUp) -> CronStats {
    CronStats {
        expression: String::new(),
        last_ms,
        left,
        catch_up,
    }
}

#[test]
fn ticks_are_listed_up_to_a_number_a_horizon_and_at_least_one() {
    let now = utc("2026-01-16T00:00:30");
    let each_minute = plan::first_ticks(&berlin("* * * * *"), now);
    assert_eq!(each_minute.len(), MAX_TICKS);
    assert_eq!(each_minute[0], now + MINUTE / 2);
    assert_eq!(plan::first_ticks(&berlin("0 9 * * *"), now).len(), 400);
    let leap_day = plan::first_ticks(&berlin("0 0 29 2 *"), now);
    assert_eq!(leap_day, times(&["2028-02-28T23:00:00"]));
}

#[test]
fn a_list_is_filled_again_when_half_of_it_is_over() {
    let now = utc("2026-01-16T00:00:30");
    let day = 24 * 60 * MINUTE;
    for (last_ms, left, needed) in [
        (now + 500 * MINUTE, 500, false),
        (now + 499 * MINUTE, 499, true),
        (now + 200 * day, 200, false),
        (now + 199 * day, 199, true),
        (now - MINUTE, 0, true),
    ] {
        let cron = stats(last_ms, left, CatchUp::Last);
        assert_eq!(plan::needs_ticks(&cron, now), needed, "{last_ms} {left}");
    }
    let last = utc("2026-01-16T08:00:00");
    let more = plan::more_ticks(&berlin("* * * * *"), &stats(last, 400, CatchUp::Last), now);
    assert_eq!((more.len(), more[0]), (600, last + MINUTE));
}

#[test]
fn of_missed_ticks_all_are_listed_or_the_last_one() {
    let hourly = CronExpression::parse("0 * * * *", "UTC").unwrap();
    let (last, now) = (utc("2026-01-16T01:00:00"), utc("2026-01-16T05:30:00"));
    let first = |catch_up| plan::more_ticks(&hourly, &stats(last, 0, catch_up), now)[0];
    assert_eq!(first(CatchUp::All), utc("2026-01-16T02:00:00"));
    assert_eq!(first(CatchUp::Last), utc("2026-01-16T05:00:00"));
    assert_eq!(first(CatchUp::Skip), utc("2026-01-16T05:00:00"));
}

#[test]
fn a_list_is_filled_with_half_of_its_ticks_to_come_or_all_of_the_horizon() {
    let now = utc("2026-01-16T00:00:30");
    let cron = stats(now - MINUTE, 400, CatchUp::All);
    let added = |past: u64, future: u64| -> Vec<u64> {
        let first = now - past * MINUTE;
        (0..past + future)
            .map(|at| first + at * MINUTE + 1)
            .collect()
    };
    for (past, future, filled) in [
        (600, 0, false),
        (300, 300, false),
        (100, 500, true),
        (300, 200, true),
        (500, 0, false),
    ] {
        let added = added(past, future);
        assert_eq!(
            plan::is_filled(&cron, &added, now),
            filled,
            "{past} {future}"
        );
    }
}

/// A queue whose node has this page of schedules as the response to each request.
async fn queue(page: &'static str) -> (ScriptedNode, Queue) {
    let node = ScriptedNode::start([Turn::Respond(200, page)]).await;
    let queue = Queue::new(client(&[&node.endpoint]), "");
    (node, queue)
}

#[tokio::test]
async fn a_schedule_with_more_missed_ticks_than_one_call_adds_is_behind() {
    // Each command is accepted, and 27 years of ticks stay missing.
    let (node, queue) = queue(
        r#"{"schedules":{"s":{"queue":"q","next_ms":60000,"ticks":0,"failed":0,"paused":false,
            "cron":{"expression":"* * * * *","last_ms":60000,"left":499,"catch_up":"all"}}},"now_ms":864000000000}"#,
    )
    .await;
    let done = queue.refill_cron().await.unwrap();
    assert_eq!((done.schedules, done.behind), (1, 1), "{done:?}");
    assert_eq!(done.ticks, 100 * 501);
    assert_eq!(
        node.seen().len(),
        1 + 100 + 99,
        "the first page is used again"
    );
}

#[tokio::test]
async fn a_list_that_is_filled_takes_one_command() {
    let page = r#"{"schedules":{
        "r":{"queue":"q","next_ms":864000060000,"ticks":0,"failed":0,"paused":false,
            "cron":{"expression":"* * * * *","last_ms":864029940000,"left":499,"catch_up":"last"}},
        "s":{"queue":"q","next_ms":864000060000,"ticks":0,"failed":0,"paused":false,
            "cron":{"expression":"* * * * *","last_ms":864029940000,"left":499,"catch_up":"last"}}},
        "now_ms":864000000000}"#;
    let (node, of_both) = queue(page).await;
    let done = of_both.refill_cron().await.unwrap();
    assert_eq!((done.schedules, done.ticks, done.behind), (2, 1002, 0));
    assert_eq!(node.seen().len(), 3, "one query, and a command for each");

    let (node, of_one) = queue(page).await;
    let done = of_one.refill_cron_of("s").await.unwrap();
    assert_eq!((done.schedules, done.ticks, done.behind), (1, 501, 0));
    assert_eq!(node.seen().len(), 2);
    let done = of_one.refill_cron_of("unknown").await.unwrap();
    assert_eq!(done, CronRefill::default());
}
