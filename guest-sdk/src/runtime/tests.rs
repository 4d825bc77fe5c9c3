use super::section::SectionError;
use super::state::FIRINGS_PER_WAKE;
use super::*;
use crate::token::Token;

fn timers(set: &[(&str, u64)]) -> RuntimeState {
    let mut runtime = RuntimeState::default();
    for (id, at_ms) in set {
        runtime
            .set_timer(id, *at_ms, &mut UndoLog::new())
            .expect("a few timers");
    }
    runtime
}

fn deferred(runtime: &mut RuntimeState, index: u64, deadline_ms: u64, reply: &[u8]) -> Token {
    let token = runtime.new_token(index, &mut UndoLog::new());
    let token = token.expect("not at the limit");
    runtime.keep_reply(token, deadline_ms, reply.to_vec());
    token
}

fn fired(runtime: &RuntimeState, now_ms: u64) -> Vec<String> {
    let due = runtime.due(now_ms).into_iter();
    due.map(|(at_ms, due)| match due {
        Due::Wake => format!("{at_ms} wake"),
        Due::Timer(id) => format!("{at_ms} {id}"),
        Due::Deadline(_) => format!("{at_ms} deadline"),
    })
    .collect()
}

#[test]
fn the_earliest_time_is_the_slot() {
    let mut runtime = RuntimeState::default();
    let undo = &mut UndoLog::new();
    assert_eq!(runtime.slot(), WakeSlot::Clear);
    deferred(&mut runtime, 1, 50, b"");
    assert_eq!(runtime.slot(), WakeSlot::At(50));
    runtime.set_timer("a", 40, undo).unwrap();
    assert_eq!(runtime.slot(), WakeSlot::At(40));
    runtime.set_wake(30, undo);
    assert_eq!(runtime.slot(), WakeSlot::At(30));
    runtime.set_wake(0, undo);
    runtime.set_timer("a", 60, undo).unwrap();
    assert_eq!(runtime.slot(), WakeSlot::At(50));
    runtime.set_timer("b", 0, undo).unwrap();
    assert_eq!(runtime.slot(), WakeSlot::At(1), "0 would clear it");
}

#[test]
fn what_is_due_is_ordered_by_time_and_then_by_kind_and_id() {
    let mut runtime = timers(&[("b", 5), ("a", 5), ("later", 7), ("first", 1)]);
    deferred(&mut runtime, 1, 5, b"");
    deferred(&mut runtime, 1, 2, b"");
    runtime.set_wake(5, &mut UndoLog::new());
    assert_eq!(fired(&runtime, 0), [""; 0]);
    assert_eq!(
        fired(&runtime, 6),
        [
            "1 first",
            "2 deadline",
            "5 wake",
            "5 a",
            "5 b",
            "5 deadline"
        ]
    );
}

#[test]
fn what_is_no_longer_due_does_not_begin() {
    let mut runtime = timers(&[("moved", 1), ("cancelled", 1), ("kept", 1)]);
    let undo = &mut UndoLog::new();
    runtime.set_wake(1, undo);
    let due = runtime.due(1);
    runtime.set_timer("moved", 2, undo).unwrap();
    assert!(runtime.cancel_timer("cancelled", undo));
    assert!(!runtime.cancel_timer("cancelled", undo));
    runtime.set_wake(9, undo);
    let begun: Vec<_> = due
        .into_iter()
        .filter(|(at_ms, due)| runtime.begin(*at_ms, due))
        .collect();
    assert_eq!(begun, [(1, Due::Timer("kept".into()))]);
    assert_eq!(runtime.timer_ms("kept"), None);
    assert_eq!(runtime.timer_ms("moved"), Some(2));
}

#[test]
fn an_undo_restores_all_of_it() {
    let mut runtime = timers(&[("moved", 1), ("cancelled", 2)]);
    let token = deferred(&mut runtime, 3, 50, b"late");
    let before = runtime.clone();
    let mut undo = UndoLog::new();
    runtime.set_timer("moved", 7, &mut undo).unwrap();
    runtime.set_timer("moved", 8, &mut undo).unwrap();
    runtime.set_timer("new", 7, &mut undo).unwrap();
    assert!(runtime.cancel_timer("cancelled", &mut undo));
    runtime.set_wake(9, &mut undo);
    runtime.set_wake(0, &mut undo);
    assert!(runtime.complete(token, &mut undo));
    assert!(!runtime.complete(token, &mut undo));
    runtime.new_token(3, &mut undo).unwrap();
    assert_ne!(runtime, before);
    runtime.undo(undo);
    assert_eq!(runtime, before);
}

#[test]
fn tokens_are_unique_and_grow_whatever_the_index_is() {
    let mut runtime = RuntimeState::default();
    let undo = &mut UndoLog::new();
    let mut last = Token::new(0);
    for index in [1, 1, 1, 2, 7, 7, 3, u64::MAX / 2] {
        let token = runtime.new_token(index, undo).unwrap();
        assert!(token > last, "{token} after {last}");
        last = token;
    }
    // More tokens in an entry than its share.
    let mut runtime = RuntimeState::default();
    for _ in 0..70_000 {
        let token = runtime.new_token(1, undo).unwrap();
        assert!(token > last || last.get() > 1 << 40);
        last = token;
    }
    assert!(runtime.new_token(2, undo).unwrap() > last);
}

#[test]
fn commands_and_bytes_that_wait_are_limited() {
    let mut runtime = RuntimeState::default();
    let mut last = None;
    for index in 0..100_000 {
        last = Some(deferred(&mut runtime, index, 1, b""));
    }
    let full = runtime.new_token(100_000, &mut UndoLog::new()).unwrap_err();
    assert_eq!(full.code(), "too_many_waiting");
    assert!(full.message().contains("100000 commands wait"), "{full}");
    runtime.take_reply(last.unwrap()).unwrap();
    runtime.new_token(100_000, &mut UndoLog::new()).unwrap();

    let mut runtime = RuntimeState::default();
    let reply = vec![0; 64 << 10];
    for index in 0..256 {
        last = Some(deferred(&mut runtime, index, 1, &reply));
    }
    let full = runtime.new_token(256, &mut UndoLog::new()).unwrap_err();
    assert_eq!(full.code(), "too_many_waiting");
    assert!(runtime.complete(last.unwrap(), &mut UndoLog::new()));
    runtime.new_token(256, &mut UndoLog::new()).unwrap();
}

#[test]
fn timers_and_their_ids_are_limited() {
    let mut runtime = RuntimeState::default();
    let undo = &mut UndoLog::new();
    runtime.set_timer(&"x".repeat(256), 1, undo).unwrap();
    let long = runtime.set_timer(&"x".repeat(257), 1, undo).unwrap_err();
    assert_eq!(long.code(), "timer_id_too_long");
    for number in 1..1_000_000 {
        runtime.set_timer(&number.to_string(), 1, undo).unwrap();
        undo.clear();
    }
    let full = runtime.set_timer("one more", 1, undo).unwrap_err();
    assert_eq!(full.code(), "too_many_timers");
    runtime.set_timer("5", 2, undo).expect("it is set already");
}

#[test]
fn a_wake_up_fires_a_limited_number_and_fewer_if_it_seems_to_fail() {
    let ids: Vec<String> = (0..1000).map(|number| format!("{number:04}")).collect();
    let set: Vec<_> = ids.iter().map(|id| (id.as_str(), 1)).collect();
    let mut runtime = timers(&set);
    let mut fired = Vec::new();
    for _ in 0..14 {
        fired.push(runtime.due(1).len());
        runtime.note_overdue();
    }
    assert_eq!(fired[..4], [FIRINGS_PER_WAKE; 4]);
    assert_eq!(fired[4..], [128, 64, 32, 16, 8, 4, 2, 1, 1, 1]);
    runtime.end_wake();
    assert_eq!(runtime.due(1).len(), FIRINGS_PER_WAKE);
}

#[test]
fn the_section_is_empty_or_contains_everything() {
    assert_eq!(RuntimeState::default().to_section().unwrap(), b"");
    assert_eq!(
        RuntimeState::from_section(b"").unwrap(),
        RuntimeState::default()
    );
    let mut runtime = timers(&[("b", 5), ("a", 300)]);
    deferred(&mut runtime, 1, 70, b"late");
    deferred(&mut runtime, 2, 60, b"");
    runtime.set_wake(9, &mut UndoLog::new());
    runtime.note_overdue();
    for state in [runtime, RuntimeState::of_earlier_sdk()] {
        let section = state.to_section().unwrap();
        assert_eq!(RuntimeState::from_section(&section).unwrap(), state);
        for length in 1..section.len() {
            RuntimeState::from_section(&section[..length]).unwrap_err();
        }
    }
}

#[test]
fn the_section_has_the_documented_bytes() {
    let mut runtime = timers(&[("b", 5), ("a", 300)]);
    deferred(&mut runtime, 1, 70, b"late");
    assert_eq!(
        runtime.to_section().unwrap(),
        [
            &[1, 0, 0][..],   // version, no wake time, no overdue batch
            &[0x80, 0x80, 4], // last token, 65,536
            &[2, 1, b'a', 0xac, 2, 1, b'b', 5],
            &[1, 0x80, 0x80, 4, 70, 4],
            b"late",
        ]
        .concat()
    );
}

#[test]
fn a_section_that_is_not_canonical_is_refused() {
    let swapped = [1, 0, 0, 0, 2, 1, b'b', 5, 1, b'a', 5, 0];
    let error = RuntimeState::from_section(&swapped).unwrap_err();
    assert!(matches!(error, SectionError::Order), "{error}");
    let newer = RuntimeState::from_section(&[2, 0, 0, 0, 0, 0]).unwrap_err();
    assert!(newer.to_string().contains("version 2"), "{newer}");
    RuntimeState::from_section(&[1, 0, 0, 0, 0, 0, 7]).unwrap_err();
}

#[test]
fn the_wake_time_of_an_earlier_sdk_is_kept_until_a_timer_would_replace_it() {
    let undo = &mut UndoLog::new();
    let mut runtime = RuntimeState::of_earlier_sdk();
    assert_eq!(runtime.slot(), WakeSlot::Kept);
    assert_eq!(runtime.due(1), [(0, Due::Wake)], "the wake-up is for it");
    runtime.set_timer("a", 50, undo).unwrap();
    assert_eq!(
        runtime.slot(),
        WakeSlot::At(1),
        "rather too early than never"
    );
    assert!(runtime.begin(0, &Due::Wake));
    assert_eq!(runtime.slot(), WakeSlot::At(50));

    let mut runtime = RuntimeState::of_earlier_sdk();
    runtime.set_wake(0, undo);
    assert_eq!(runtime.slot(), WakeSlot::Clear);
}
