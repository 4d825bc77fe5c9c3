//! `host/docs/doctor.md`: the table between the markers is made from the checks.
//!
//! To write it again after a change of the checks:
//! `OARLOCK_UPDATE_DOCS=1 cargo test --workspace --bin oarlock -- the_page_of_checks_is_made_from_the_table`

use std::path::Path;

use super::all;

const UPDATE: &str = "OARLOCK_UPDATE_DOCS";
const BEGIN: &str = "<!-- begin: checks -->\n";
const END: &str = "<!-- end: checks -->\n";

fn table() -> String {
    let mut text = String::from(
        "| check | severity | condition | why it matters | what to do |\n|---|---|---|---|---|\n",
    );
    for check in all() {
        let cells = [
            format!("`{}`", check.id),
            check.severity.name().to_owned(),
            check.condition.to_owned(),
            check.why.to_owned(),
            check.remedy.to_owned(),
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}

#[test]
fn the_page_of_checks_is_made_from_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/doctor.md");
    let page = std::fs::read_to_string(&path).expect("the page");
    let (before, rest) = page.split_once(BEGIN).expect("the begin");
    let (_, after) = rest.split_once(END).expect("the end");
    let wanted = format!("{before}{BEGIN}{}{END}{after}", table());
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &wanted).expect("writable");
    } else {
        assert!(
            page == wanted,
            "host/docs/doctor.md differs from host/server/src/doctor/checks: run this test with {UPDATE}=1"
        );
    }
}
