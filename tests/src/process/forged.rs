//! Modules that were made to harm the one who loads them.

use bytes::Bytes;

/// A module with one function of more than seven megabytes, the largest that a parser accepts. A compiler that optimizes needs
/// many seconds for it, and hundreds of megabytes.
pub fn one_huge_function() -> Bytes {
    /// `local.get 0; i32.const 1; i32.add; local.set 0`
    const STEP: [u8; 7] = [0x20, 0, 0x41, 1, 0x6a, 0x21, 0];
    const STEPS: usize = 1_000_000;
    let mut body = vec![1, 1, 0x7f];
    body.extend(STEP.repeat(STEPS));
    body.push(0x0b);
    let mut code = vec![1];
    code.extend(leb128(body.len()));
    code.extend(body);
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    for (section, content) in [(1, vec![1, 0x60, 0, 0]), (3, vec![1, 0]), (10, code)] {
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
