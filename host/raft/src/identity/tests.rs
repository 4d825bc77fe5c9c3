use super::*;

fn hello(store_id: u64, number: u64, recent: &[RunId]) -> PeerHello {
    PeerHello {
        id: "a".into(),
        protocol: 2,
        store_id: StoreId(store_id),
        runs: RunHistory {
            number,
            recent: recent.to_vec(),
        },
        history: History::default(),
        known_level: 1,
        peer_addr: String::new(),
    }
}

#[test]
fn a_history_of_runs_grows_at_its_front_and_is_bounded() {
    let mut runs = RunHistory::default();
    assert_eq!((runs.current(), runs.at(0)), (0, None));
    for run in 1..=20 {
        runs = runs.next(run);
    }
    assert_eq!((runs.number, runs.current()), (20, 20));
    assert_eq!(runs.recent.len(), MAX_RUNS);
    assert_eq!(runs.at(20), Some(20));
    assert_eq!(runs.at(5), Some(5));
    assert_eq!(runs.at(4), None, "forgotten");
    assert_eq!(runs.at(21), None, "never begun");
}

#[test]
fn a_later_run_of_the_same_store_is_recorded() {
    let mut met = MetPeer::first(&hello(7, 1, &[11]));
    assert_eq!(met.meet(&hello(7, 1, &[11])), HelloVerdict::Known);
    assert_eq!(
        met.meet(&hello(7, 3, &[13, 12, 11])),
        HelloVerdict::Recorded
    );
    assert_eq!((met.number, met.run), (3, 13));
    assert_eq!(met.replaced, []);
}

#[test]
fn an_earlier_run_and_a_copy_of_an_older_state_are_outdated() {
    let mut met = MetPeer::first(&hello(7, 3, &[13, 12, 11]));
    assert_eq!(met.meet(&hello(7, 2, &[12, 11])), HelloVerdict::Outdated);
    // The copy has begun as many runs as the original, or more.
    assert_eq!(
        met.meet(&hello(7, 3, &[23, 12, 11])),
        HelloVerdict::Outdated
    );
    assert_eq!(
        met.meet(&hello(7, 5, &[25, 24, 23, 12, 11])),
        HelloVerdict::Outdated
    );
    assert_eq!((met.number, met.run), (3, 13), "nothing was recorded");
}

#[test]
fn a_store_that_was_replaced_is_outdated_for_ever() {
    let mut met = MetPeer::first(&hello(7, 3, &[13]));
    assert_eq!(met.meet(&hello(8, 1, &[31])), HelloVerdict::Recorded);
    assert_eq!(met.meet(&hello(7, 4, &[14, 13])), HelloVerdict::Outdated);
    assert_eq!(met.meet(&hello(9, 1, &[41])), HelloVerdict::Recorded);
    assert_eq!(met.replaced, [StoreId(7), StoreId(8)]);
    assert_eq!(met.meet(&hello(8, 2, &[32, 31])), HelloVerdict::Outdated);
    for store_id in 10..30 {
        met.meet(&hello(store_id, 1, &[1]));
    }
    assert_eq!(met.replaced.len(), MAX_REPLACED, "bounded");
}

#[test]
fn histories_contradict_each_other_only_where_two_logs_can_not_be_one() {
    let of = |lineage, has_log| History { lineage, has_log };
    let (begun, other) = (Lineage::at_bootstrap(4), Lineage::at_bootstrap(8));
    let raised = Lineage::at_raise(8);
    assert!(begun.is_from_bootstrap() && !raised.is_from_bootstrap());
    assert_ne!(Lineage::at_raise(0), Lineage::NONE);
    let cases = [
        (of(begun, true), of(begun, true), false),
        (of(begun, true), of(other, true), true),
        (of(begun, true), of(raised, true), true),
        // An empty log fits to every history.
        (of(begun, true), of(Lineage::NONE, false), false),
        (of(Lineage::NONE, false), of(Lineage::NONE, true), false),
        // A log of level 0 may lack the entry of a raise, but not the first entry.
        (of(raised, true), of(Lineage::NONE, true), false),
        (of(begun, true), of(Lineage::NONE, true), true),
        (of(Lineage::NONE, true), of(Lineage::NONE, true), false),
    ];
    for (one, two, expected) in cases {
        assert_eq!(one.contradicts(&two), expected, "{one:?} {two:?}");
        assert_eq!(two.contradicts(&one), expected, "{two:?} {one:?}");
    }
}
