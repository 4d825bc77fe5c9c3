use super::*;

fn audit(requested_at: u64) -> AuditSituation {
    AuditSituation {
        requested_at: Some(Index(requested_at)),
        ..AuditSituation::default()
    }
}

#[test]
fn the_attempts_to_report_have_an_end_and_growing_pauses() {
    let mut duties = AuditDuties::default();
    let mut now = Duration::ZERO;
    duties.note(audit(7), now);
    duties.set_report_missing(true);
    let mut pauses = Vec::new();
    let mut attempts = 0;
    while duties.may_report(now) {
        attempts += 1;
        duties.report_attempted(now);
        assert!(!duties.may_report(now), "no attempt without a pause");
        let Some(again_at) = duties.report_again_at() else {
            break;
        };
        pauses.push(again_at - now);
        now = again_at;
    }
    assert_eq!(attempts, MAX_REPORT_ATTEMPTS);
    assert!(pauses.is_sorted() && pauses.last() <= Some(&MAX_REPORT_PAUSE));
    now += MAX_REPORT_PAUSE;
    assert!(!duties.may_report(now) && duties.report_again_at().is_none());
    // The next audit requests a report again, and so does a new leader.
    duties.note(audit(8), now);
    assert!(duties.may_report(now));
    duties.report_attempted(now);
    duties.retry_report();
    assert!(duties.may_report(now));
}

#[test]
fn a_leader_in_quarantine_transfers_leadership_with_growing_pauses() {
    let mut duties = AuditDuties::default();
    let quarantined = |leads| AuditSituation {
        leads,
        is_quarantined: true,
        ..audit(7)
    };
    let start = Duration::ZERO;
    let mut now = start;
    let mut transfers = 0;
    // Leadership comes back at once after each transfer, as between nodes that are all in quarantine.
    while now - start < Duration::from_secs(600) {
        duties.note(quarantined(true), now);
        now = duties.hand_over_at().unwrap();
        transfers += 1;
        duties.handed_over();
        duties.note(quarantined(false), now);
        assert_eq!(duties.hand_over_at(), None);
    }
    // 1 + 2 + 4 + … + 32 seconds, then one each minute.
    assert!((12..=17).contains(&transfers), "{transfers}");
    duties.note(audit(7), now);
    assert_eq!(duties.hand_over_at(), None, "it serves");
}

#[test]
fn a_refused_cluster_is_audited_again_but_not_at_every_tick() {
    let refused = AuditSituation {
        leads: true,
        undecided: true,
        are_writes_stopped: true,
        ..audit(7)
    };
    let mut duties = AuditDuties::default();
    let mut now = Duration::ZERO;
    let mut requests = 0;
    for _ in 0..600 {
        duties.note(refused, now);
        duties.request(true, now);
        requests += u32::from(duties.takes_request(now));
        assert!(!duties.takes_request(now), "a request is taken once");
        now += Duration::from_millis(100);
    }
    assert!((5..=7).contains(&requests), "{requests}");
}

#[test]
fn a_follower_that_refuses_commands_asks_for_audits_and_gives_way_to_those_of_others() {
    let follower = |requested_at, are_writes_stopped| AuditSituation {
        are_writes_stopped,
        ..audit(requested_at)
    };
    let (mut duties, start) = (AuditDuties::default(), Duration::ZERO);
    duties.note(follower(7, true), start);
    duties.request(false, start);
    assert!(
        !duties.takes_request(start),
        "the latest audit has its time"
    );
    let mut now = start + REPEAT_PAUSE;
    duties.request(false, now);
    assert!(duties.takes_request(now));
    duties.request(false, now);
    assert!(!duties.takes_request(now));
    now += REPEAT_PAUSE;
    duties.note(follower(8, true), now);
    duties.request(false, now);
    assert!(!duties.takes_request(now), "another node was faster");
    now += REPEAT_PAUSE;
    duties.note(follower(8, false), now);
    duties.request(true, now);
    assert!(!duties.takes_request(now), "it accepts commands again");
}

#[test]
fn voters_that_do_not_report_have_a_time_limit() {
    let undecided = AuditSituation {
        undecided: true,
        ..audit(7)
    };
    let (mut duties, now) = (AuditDuties::default(), Duration::ZERO);
    duties.note(undecided, now);
    let deadline = duties.stop_writes_at().unwrap();
    assert_eq!(deadline - now, REPORT_TIMEOUT);
    duties.note(undecided, now + Duration::from_secs(1));
    assert_eq!(duties.stop_writes_at(), Some(deadline), "it does not move");
    duties.note(audit(7), now);
    assert_eq!(duties.stop_writes_at(), None);
}

#[test]
fn an_audit_without_a_majority_gets_its_time_before_the_next_one() {
    let undecided = AuditSituation {
        leads: true,
        undecided: true,
        ..audit(7)
    };
    let (mut duties, mut now) = (AuditDuties::default(), Duration::ZERO);
    duties.note(undecided, now);
    let deadline = duties.stop_writes_at().unwrap();
    while now < deadline {
        duties.request(true, now);
        assert!(!duties.takes_request(now), "after {now:?}");
        now += Duration::from_millis(100);
        duties.note(undecided, now);
    }
    assert_eq!(duties.stop_writes_at(), Some(deadline));
    // Commands are refused now, and voters may come back.
    let stopped = AuditSituation {
        are_writes_stopped: true,
        ..undecided
    };
    duties.note(stopped, now);
    duties.request(true, now);
    assert!(duties.takes_request(now));
    // A voter has reported, and a majority agrees.
    let agreed = AuditSituation {
        leads: true,
        ..audit(7)
    };
    duties.note(agreed, now);
    duties.request(true, now);
    assert!(duties.takes_request(now));
}
