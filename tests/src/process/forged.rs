//! Modules that were made to harm the one who loads them.

use bytes::Bytes;

/// A module with functions of about two megabytes, the largest that a node accepts. A compiler that optimizes needs
/// seconds for each of them, and hundreds of megabytes.
pub fn huge_functions(count: u8) -> Bytes {
    /// `local.get 0; i32.const 1; i32.add; local.set 0`
    const STEP: [u8; 7] = [0x20, 0, 0x41, 1, 0x6a, 0x21, 0];
    const STEPS: usize = 299_000;
    assert!(count < 0x80, "one byte");
    let mut body = vec![1, 1, 0x7f];
    body.extend(STEP.repeat(STEPS));
    body.push(0x0b);
    let mut code = vec![count];
    for _ in 0..count {
        code.extend(leb128(body.len()));
        code.extend(&body);
    }
    let types = [&[count][..], &vec![0; usize::from(count)]].concat();
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    for (section, content) in [(1, vec![1, 0x60, 0, 0]), (3, types), (10, code)] {
        module.push(section);
        module.extend(leb128(content.len()));
        module.extend(content);
    }
    component_around(&module)
}

/// A component with this core module: nothing is encoded before it is compiled.
fn component_around(core: &[u8]) -> Bytes {
    let mut component = b"\0asm\x0d\0\x01\0\x01".to_vec();
    component.extend(leb128(core.len()));
    component.extend_from_slice(core);
    component.into()
}

fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
