use super::*;

fn report(node: &str, is_low: bool) -> MemoryRecord {
    MemoryRecord {
        node: node.to_owned(),
        is_low,
    }
}

#[test]
fn memory_is_low_while_one_node_reports_it() {
    let mut low = LowMemory::default();
    low.apply(report("a", true));
    low.apply(report("b", true));
    low.apply(report("a", false));
    assert!(low.is_low());
    low.apply(report("b", false));
    assert_eq!(low, LowMemory::default());
}

#[test]
fn the_number_of_nodes_is_bounded() {
    let mut low = LowMemory::default();
    for node in 0..100 {
        low.apply(report(&format!("node{node:03}"), true));
    }
    assert_eq!(low.nodes().len(), MAX_NODES);
    low.apply(report("node000", false));
    assert_eq!(low.nodes().len(), MAX_NODES - 1);
}

#[test]
fn a_snapshot_keeps_the_nodes() {
    let mut low = LowMemory::default();
    for nodes in [&["a", "node2"][..], &[]] {
        low.nodes = nodes.iter().map(|&node| node.to_owned()).collect();
        let mut bytes = Vec::new();
        low.write(&mut bytes).unwrap();
        assert_eq!(LowMemory::read(&bytes).unwrap(), low);
    }
    LowMemory::read(b"\x05").unwrap_err();
}
