use super::{Template, default_for};

fn render(text: &str, size: usize) -> String {
    String::from_utf8(Template::parse(text, size).render(7, 3).to_vec()).unwrap()
}

#[test]
fn gaps_are_filled_and_other_braces_stay() {
    assert_eq!(
        render(r#"{"put":{"key":"k{seq}","value":"{payload}"}}"#, 4),
        r#"{"put":{"key":"k7","value":"abcd"}}"#
    );
    assert_eq!(render("{client}{seq}{seq}{payload}{payload}", 1), "377aa");
    assert_eq!(
        render("{{seq}} {N} {other} é{seq}", 0),
        "{7} {N} {other} é7"
    );
    assert_eq!(render("", 9), "");
}

#[test]
fn each_request_has_its_own_number() {
    let template = Template::parse("{seq}/{client}", 0);
    assert_eq!(
        template.render(u64::MAX, u32::MAX),
        "18446744073709551615/4294967295"
    );
    assert_eq!(template.render(0, 0), "0/0");
}

#[test]
fn a_payload_has_its_size_and_is_json() {
    for size in [0, 1, 64, 65, 1000] {
        let text = render(r#""{payload}""#, size);
        let read: String = serde_json::from_str(&text).unwrap();
        assert_eq!(read.len(), size);
    }
}

#[test]
fn every_default_renders_as_json() {
    for module in ["task-queue", "queue", "kv", "counter"] {
        for query in [false, true] {
            let text = render(default_for(module, query).unwrap(), 10);
            assert!(
                serde_json::from_str::<serde_json::Value>(&text)
                    .unwrap()
                    .is_object(),
                "{text}"
            );
        }
    }
    assert_eq!(default_for("other", false), None);
}
