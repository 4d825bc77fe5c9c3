use super::GuestSemantics;

#[test]
fn a_version_number_names_one_set_of_rules() {
    let latest = GuestSemantics::LATEST.version();
    for version in 0..=latest {
        let semantics = GuestSemantics::of_version(version).unwrap();
        assert_eq!(semantics.version(), version);
        assert_eq!(semantics.to_string(), version.to_string());
    }
    assert_eq!(GuestSemantics::of_version(latest + 1), None);
    assert_eq!(GuestSemantics::default(), GuestSemantics::Native);
}
