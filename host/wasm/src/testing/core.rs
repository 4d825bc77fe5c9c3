//! Core modules from text, with the WIT that the counter embeds. The benchmarks include this file too.

pub(crate) const COUNTER: &[u8] = include_bytes!("../../../../examples-wasm/dist/counter.wasm");

/// The text of `scripted.wat` with its globals in memory, at 16 and 20, where an image contains them. Its table does
/// not grow.
pub(crate) fn in_memory(scripted: &str) -> String {
    let mut text = scripted.to_owned();
    for (global, address, value) in [("top", 16, "262144"), ("wrong", 20, "0")] {
        let global_is = format!("(global ${global} (mut i32) (i32.const {value}))");
        assert!(text.contains(&global_is), "{global_is}");
        text = text
            .replace(&global_is, "")
            .replace(
                &format!("(global.get ${global})"),
                &format!("(i32.load (i32.const {address}))"),
            )
            .replace(
                &format!("(global.set ${global} "),
                &format!("(i32.store (i32.const {address}) "),
            );
    }
    assert!(!text.contains("global"), "there is another global");
    let grow = "(table.grow $table (ref.null func) (i32.load (local.get $rest)))";
    assert!(text.contains(grow), "{grow}");
    text = text.replace(grow, "(i32.const -1)");
    let end = text.rfind(')').unwrap();
    // 262,144, little-endian.
    text.replace_range(end.., "(data (i32.const 16) \"\\00\\00\\04\\00\"))");
    text
}

/// A core module from text, with the WIT that the counter embeds.
pub(crate) fn core_module(text: &str) -> Vec<u8> {
    core_module_with_wit(text, embedded_wit())
}

/// A core module from text, with the WIT that another module embeds.
#[allow(dead_code, reason = "only tests with two releases use it")]
pub(crate) fn core_module_like(text: &str, other: &[u8]) -> Vec<u8> {
    core_module_with_wit(text, wit_in(other))
}

fn core_module_with_wit(text: &str, wit: Vec<(&str, &[u8])>) -> Vec<u8> {
    let mut module = wat::parse_str(text).unwrap();
    for (name, payload) in wit {
        let mut section = Vec::new();
        put_leb(&mut section, name.len());
        section.extend_from_slice(name.as_bytes());
        section.extend_from_slice(payload);
        module.push(0);
        put_leb(&mut module, section.len());
        module.extend_from_slice(&section);
    }
    module
}

/// The counter's custom sections that hold its WIT: names and contents.
pub(crate) fn embedded_wit() -> Vec<(&'static str, &'static [u8])> {
    wit_in(COUNTER)
}

/// The custom sections of a module that hold its WIT.
fn wit_in(module: &[u8]) -> Vec<(&str, &[u8])> {
    let mut sections = Vec::new();
    let mut rest = &module[8..];
    while let [id, after @ ..] = rest {
        let (length, after) = take_leb(after);
        let (section, next) = after.split_at(length);
        rest = next;
        if *id == 0 {
            let (length, section) = take_leb(section);
            let (name, payload) = section.split_at(length);
            let name = std::str::from_utf8(name).unwrap();
            if name.starts_with("component-type") {
                sections.push((name, payload));
            }
        }
    }
    assert!(!sections.is_empty(), "the module embeds its WIT");
    sections
}

fn take_leb(mut bytes: &[u8]) -> (usize, &[u8]) {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        bytes = &bytes[1..];
        value |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return (value, bytes);
        }
    }
}

fn put_leb(to: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        to.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}
