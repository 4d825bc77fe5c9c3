use super::*;

fn commands(data: &[&'static str]) -> Vec<Bytes> {
    data.iter()
        .map(|data| Bytes::from_static(data.as_bytes()))
        .collect()
}

fn snapshot_of(machine: &mut MemoryStateMachine) -> Vec<u8> {
    let mut bytes = Vec::new();
    machine.snapshot(&mut bytes).unwrap();
    bytes
}

#[test]
fn commands_are_kept_in_order_and_can_be_read() {
    let mut machine = MemoryStateMachine::new();
    let replies = machine
        .apply(Moment::default(), &commands(&["a", "", "c"]))
        .unwrap();
    assert_eq!(replies, commands(&["a", "", "c"]));
    machine.apply(Moment::default(), &commands(&["d"])).unwrap();
    assert_eq!(machine.commands(), commands(&["a", "", "c", "d"]));
    assert_eq!(
        machine.query(Moment::default(), 3),
        Some(Bytes::from_static(b"d"))
    );
    assert_eq!(machine.query(Moment::default(), 4), None);
}

#[test]
fn a_snapshot_replaces_the_state() {
    let mut machine = MemoryStateMachine::new();
    machine
        .apply(Moment::default(), &commands(&["a", "", "ccc"]))
        .unwrap();
    let bytes = snapshot_of(&mut machine);
    let mut other = MemoryStateMachine::new();
    other.apply(Moment::default(), &commands(&["old"])).unwrap();
    other.restore(&mut &bytes[..]).unwrap();
    assert_eq!(other, machine);
    assert_eq!(snapshot_of(&mut MemoryStateMachine::new()), []);
}

#[test]
fn a_truncated_snapshot_changes_nothing() {
    let mut machine = MemoryStateMachine::new();
    machine
        .apply(Moment::default(), &commands(&["abc"]))
        .unwrap();
    let bytes = snapshot_of(&mut machine);
    let mut other = MemoryStateMachine::new();
    other
        .apply(Moment::default(), &commands(&["kept"]))
        .unwrap();
    for length in 1..bytes.len() {
        assert!(
            other.restore(&mut &bytes[..length]).is_err(),
            "{length} bytes"
        );
    }
    assert!(
        other.restore(&mut &[255; 8][..]).is_err(),
        "a length past the end"
    );
    assert_eq!(other.commands(), commands(&["kept"]));
}
