use super::probe;

#[test]
fn a_directory_is_measured_and_left_empty() {
    let dir = tempfile::tempdir().unwrap();
    let figures = probe(dir.path()).unwrap();
    assert!(
        figures.writes >= 1 && figures.p50_us <= figures.p99_us,
        "{figures:?}"
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let failure = probe(&missing).unwrap_err();
    assert!(failure.to_string().contains("missing"), "{failure}");
    assert_eq!(failure.code(), 1);
}
