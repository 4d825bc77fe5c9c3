//! The arithmetic of the clocks. The tests of the core (`raft/tests/clock.rs`) show the rules on whole clusters.

use super::*;

const BOUND: Duration = Duration::from_millis(500);
/// The wall clock at the zero of the monotonic clock.
const EPOCH: u64 = 1_700_000_000_000;
const HOUR: u64 = 3_600_000;

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The clocks of node a, which reads its own at time 0.
fn clocks() -> Clocks {
    let mut clocks = Clocks::new(Some(BOUND), 0, Duration::ZERO);
    clocks.on_reading(Duration::ZERO, EPOCH);
    clocks
}

fn voters(names: &str) -> Membership {
    let ids: Vec<NodeId> = names.split(' ').map(NodeId::from).collect();
    Membership::of_voters(&ids, &BTreeMap::new())
}

fn update(clocks: &mut Clocks, names: &str, now: u64) {
    clocks.update(&voters(names), &"a".into(), at(now));
}

/// A report that took from `requested` to `now`.
fn slow_report(clocks: &mut Clocks, from: &str, wall_ms: u64, requested: Duration, now: Duration) {
    let report = ClockReport {
        term: Term(1),
        number: 1,
        wall_ms,
    };
    clocks.on_report(&from.into(), &report, requested, now);
}

/// A report that took no time.
fn report(clocks: &mut Clocks, from: &str, wall_ms: u64, now: u64) {
    slow_report(clocks, from, wall_ms, at(now), at(now));
}

/// The leader reports the offset of the report with this number.
fn tell(clocks: &mut Clocks, report: u64, ms: i64) {
    clocks.on_told(Term(1), ClockOffset { report, ms });
}

#[test]
fn a_range_shrinks_to_what_all_reports_allow_and_grows_with_its_age() {
    let mut clocks = clocks();
    // The request left at 0 and the report arrived at 100: the clock was read in between.
    slow_report(&mut clocks, "b", EPOCH + 50, at(0), at(100));
    let first = clocks.reports[&"b".into()].range;
    assert_eq!(first.high - first.low, 101_000);
    // A faster exchange knows it better, a slower one takes nothing away.
    slow_report(&mut clocks, "b", EPOCH + 201, at(200), at(202));
    slow_report(&mut clocks, "b", EPOCH + 700, at(300), at(900));
    let range = clocks.reports[&"b".into()].range;
    assert_eq!(range.high - range.low, 3_000);
    assert!(range.contains(OffsetRange::exactly(offset_of(EPOCH, at(0)))));
    let later = clocks.reports[&"b".into()].range_at(at(300) + Duration::from_secs(100));
    assert_eq!(
        later.high - later.low,
        203_000,
        "1 ms in a second, each way"
    );
}

#[test]
fn a_clock_that_was_set_replaces_the_earlier_report() {
    let mut clocks = clocks();
    report(&mut clocks, "b", EPOCH, 0);
    report(&mut clocks, "b", EPOCH + HOUR + 100, 100);
    let range = clocks.reports[&"b".into()].range;
    assert_eq!(range.low, offset_of(EPOCH + HOUR, at(0)));
}

#[test]
fn the_clusters_clock_is_what_a_majority_has_reached() {
    let mut clocks = clocks();
    update(&mut clocks, "a b c", 0);
    assert!(clocks.estimate.is_none(), "one of three is no majority");
    report(&mut clocks, "b", EPOCH + HOUR, 0);
    update(&mut clocks, "a b c", 0);
    // It is not known which of the two is right: neither is certainly outside.
    let range = clocks.estimate.unwrap().range;
    assert_eq!(range.low, offset_of(EPOCH, at(0)));
    assert_eq!(range.high, offset_of(EPOCH + HOUR + 1, at(0)));
    assert!(!clocks.is_skewed() && !clocks.is_inside(&"b".into(), at(0)));
    report(&mut clocks, "c", EPOCH, 0);
    update(&mut clocks, "a b c", 0);
    assert!(!clocks.is_skewed());
    assert!(clocks.is_inside(&"c".into(), at(0)) && !clocks.is_inside(&"b".into(), at(0)));
    let ahead = clocks.offset_of_peer(&"b".into(), at(0)).unwrap();
    assert_eq!((ahead.report, ahead.ms), (1, 3_600_000 - 1));
}

#[test]
fn the_report_of_a_node_that_is_no_voter_any_more_does_not_count() {
    let mut clocks = clocks();
    for node in ["b", "c"] {
        report(&mut clocks, node, EPOCH + HOUR, 0);
    }
    update(&mut clocks, "a b c", 0);
    assert!(clocks.is_skewed());
    report(&mut clocks, "d", EPOCH, 0);
    report(&mut clocks, "e", EPOCH, 0);
    update(&mut clocks, "a d e", 0);
    assert!(!clocks.is_skewed());
    assert!(!clocks.reports.contains_key(&"b".into()));
}

#[test]
fn readings_in_milliseconds_are_no_change_of_the_clock() {
    let mut clocks = clocks();
    for micros in (0..20_000).step_by(130) {
        let now = Duration::from_micros(micros);
        let wall_ms = EPOCH + u64::try_from(now.as_millis()).unwrap();
        clocks.on_reading(now, wall_ms);
        let own = clocks.own.unwrap();
        assert!((own - offset_of(EPOCH, at(0))).abs() < MILLISECOND);
    }
}

#[test]
fn a_changed_clock_does_not_count_as_skewed_before_new_reports() {
    let mut clocks = clocks();
    for node in ["b", "c"] {
        report(&mut clocks, node, EPOCH, 0);
    }
    update(&mut clocks, "a b c", 0);
    // The machine was paused for an hour, in which its monotonic clock stood still.
    clocks.on_reading(at(10), EPOCH + HOUR + 10);
    update(&mut clocks, "a b c", 10);
    assert!(!clocks.is_skewed());
    assert_eq!(clocks.status(false, 0).offset_ms, None);
    assert!(
        clocks.stamp(at(10), false) <= EPOCH + 510,
        "until it is known"
    );
    for node in ["b", "c"] {
        report(&mut clocks, node, EPOCH + HOUR + 20, 20);
    }
    update(&mut clocks, "a b c", 20);
    assert!(!clocks.is_skewed());
    assert_eq!(clocks.stamp(at(20), false), EPOCH + HOUR + 20);
}

#[test]
fn a_report_to_an_earlier_request_does_not_count_after_a_change() {
    let mut clocks = clocks();
    let before = clocks.begin_request(at(0), at(1000)).unwrap();
    clocks.on_campaign(Term(3), at(0));
    assert_eq!(clocks.begin_request(at(1), at(1000)), None);
    clocks.on_reading(at(10), EPOCH + HOUR);
    assert_eq!(clocks.requested_at(before), None);
    assert_eq!(clocks.campaign_began(Term(3)), None);
    assert!(clocks.begin_request(at(11), at(1000)).is_some(), "at once");
}

#[test]
fn what_the_leader_reports_makes_the_clusters_clock_known_to_a_follower() {
    let mut clocks = clocks();
    tell(&mut clocks, 1, 250);
    assert!(clocks.estimate.is_none(), "it has reported nothing yet");
    clocks.report(at(0), Term(1), 1);
    tell(&mut clocks, 1, -3000);
    assert!(clocks.is_skewed());
    assert_eq!(clocks.status(false, 0).offset_ms, Some(-3000));
    // Its clock is set right before the leader's next request.
    clocks.on_reading(at(100), EPOCH + 3100);
    assert!(!clocks.is_skewed());
    assert_eq!(clocks.stamp(at(100), false), EPOCH + 3100);
    // Its next report is lost: the leader still means the one before.
    clocks.report(at(100), Term(1), 2);
    tell(&mut clocks, 1, -3000);
    assert!(!clocks.is_skewed());
    assert_eq!(clocks.stamp(at(100), false), EPOCH + 3100);
    tell(&mut clocks, 2, 0);
    assert_eq!(clocks.status(false, 0).offset_ms, Some(0));
}

#[test]
fn an_offset_of_an_earlier_report_is_not_applied_to_a_clock_that_was_set_since() {
    let mut clocks = clocks();
    clocks.report(at(0), Term(1), 1);
    clocks.on_reading(at(10), EPOCH + HOUR + 10);
    clocks.report(at(10), Term(1), 2);
    // The leader has not received the second report.
    tell(&mut clocks, 1, 0);
    assert!(clocks.stamp(at(20), false) <= EPOCH + 520);
    // Nor does the offset of another leader's term count.
    clocks.on_told(Term(2), ClockOffset { report: 2, ms: 0 });
    assert!(clocks.stamp(at(20), false) <= EPOCH + 520);
}

#[test]
fn small_changes_of_the_offset_are_not_shown() {
    let mut clocks = clocks();
    clocks.report(at(0), Term(1), 1);
    for (told, shown) in [(100, 100), (103, 100), (95, 100), (110, 110), (0, 0)] {
        tell(&mut clocks, 1, told);
        assert_eq!(clocks.status(false, 0).offset_ms, Some(shown));
    }
}

#[test]
fn time_that_is_ahead_loses_nothing_between_entries_that_follow_each_other_fast() {
    let mut clocks = Clocks::new(Some(BOUND), EPOCH + HOUR, Duration::ZERO);
    clocks.on_reading(Duration::ZERO, EPOCH);
    update(&mut clocks, "a", 0);
    let mut last = 0;
    for micros in (0..2_000_000).step_by(700) {
        last = clocks.stamp(Duration::from_micros(micros), false);
        clocks.on_log_time(last, Duration::from_micros(micros));
    }
    assert_eq!(last, EPOCH + HOUR + 1_999);
    assert_eq!(clocks.status(false, 0).ahead_ms, HOUR);
}

#[test]
fn no_clock_overflows() {
    for wall in [0, 1, u64::MAX] {
        let mut clocks = clocks();
        clocks.on_reading(at(5), wall);
        clocks.report(at(5), Term(1), 1);
        for told in [i64::MIN, i64::MAX] {
            tell(&mut clocks, 1, told);
            clocks.stamp(at(6), true);
            clocks.status(true, 0);
        }
        for other in [0, u64::MAX] {
            slow_report(&mut clocks, "b", other, at(0), Duration::MAX);
            slow_report(&mut clocks, "b", other, Duration::MAX, at(0));
            update(&mut clocks, "a b", 9);
            clocks.offset_of_peer(&"b".into(), Duration::MAX);
            clocks.stamp(Duration::MAX, true);
        }
    }
}

#[test]
fn a_leader_that_cannot_judge_a_clock_does_not_tell_its_offset() {
    let mut clocks = clocks();
    report(&mut clocks, "b", EPOCH + HOUR, 0);
    update(&mut clocks, "a b c", 0);
    // Either of the two may be right, so b must not take its own clock for the cluster's.
    assert_eq!(clocks.offset_of_peer(&"b".into(), at(0)), None);
    report(&mut clocks, "c", EPOCH + 100, 0);
    update(&mut clocks, "a b c", 0);
    let told = |clocks: &Clocks, peer: &str| clocks.offset_of_peer(&peer.into(), at(0)).unwrap().ms;
    assert_eq!(told(&clocks, "b"), 3_600_000 - 101);
    assert_eq!(told(&clocks, "c"), 0);
    // Of five, two clocks are wrong, and a right one is not known.
    report(&mut clocks, "d", EPOCH + 2 * HOUR, 0);
    update(&mut clocks, "a b c d e", 0);
    assert_eq!(clocks.offset_of_peer(&"d".into(), at(0)), None);
}

#[test]
fn the_first_report_after_a_jump_of_the_own_clock_moves_the_time_by_nothing() {
    let mut clocks = clocks();
    report(&mut clocks, "b", EPOCH, 0);
    report(&mut clocks, "c", EPOCH, 0);
    update(&mut clocks, "a b c", 0);
    assert_eq!(clocks.stamp(at(10), false), EPOCH + 10);
    for (jump, now) in [(HOUR, 20), (2 * HOUR, 30)] {
        clocks.on_reading(at(now), EPOCH + jump + now);
        update(&mut clocks, "a b c", now);
        assert_eq!(clocks.stamp(at(now), false), EPOCH + now);
        // One of the two clocks is wrong. It is not known which one.
        report(&mut clocks, "b", EPOCH + now, now);
        update(&mut clocks, "a b c", now);
        assert_eq!(clocks.stamp(at(now + 1), false), EPOCH + now + 1);
        report(&mut clocks, "c", EPOCH + now, now);
        update(&mut clocks, "a b c", now);
        assert_eq!(clocks.stamp(at(now + 2), false), EPOCH + now + 2);
    }
}
