//! Changes of an input.

use crate::sim::rng::Rng;

/// Numbers at which code errs: limits of types, and their neighbours.
const NUMBERS: [u64; 16] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];
/// Bytes with a meaning in one of the formats: prefixes of integers of bincode, separators of texts.
const BYTES: [u8; 20] = [
    0, 1, 2, 3, 127, 128, 250, 251, 252, 253, 254, 255, b'\r', b'\n', b' ', b':', b'.', b'?', b'=',
    b'"',
];
/// Longest piece that is inserted, removed or copied, in bytes.
const PIECE: u64 = 64;
/// Longest input.
const MAX_BYTES: usize = 4 << 20;

/// Changes an input once. `other` is another input, from which a piece may be taken.
pub(super) fn change(input: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    match rng.below(11) {
        0 => with_byte(input, rng, |byte, rng| byte ^ (1 << rng.below(8))),
        1 => with_byte(input, rng, |_, rng| rng.pick(&BYTES)),
        2 => with_byte(input, rng, |_, rng| rng.number().to_le_bytes()[0]),
        3 => with_byte(input, rng, |byte, rng| {
            if rng.chance(500) {
                byte.wrapping_add(1)
            } else {
                byte.wrapping_sub(1)
            }
        }),
        4 => put_number(input, rng),
        5 => {
            let (at, length) = piece(input, rng);
            input.drain(at..at + length);
        }
        6 => {
            let (at, length) = piece(input, rng);
            let copy = input[at..at + length].to_vec();
            insert(input, &copy, rng);
        }
        7 => {
            let (at, length) = piece(other, rng);
            insert(input, &other[at..at + length], rng);
        }
        8 => {
            let length = 1 + rng.place(8);
            let bytes: Vec<u8> = (0..length).map(|_| rng.pick(&BYTES)).collect();
            insert(input, &bytes, rng);
        }
        9 => input.truncate(rng.place(input.len() + 1)),
        _ => {
            // The begin of this one and the end of the other.
            let (at, from) = (rng.place(input.len() + 1), rng.place(other.len() + 1));
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
    }
    input.truncate(MAX_BYTES);
}

fn with_byte(input: &mut [u8], rng: &mut Rng, change: impl Fn(u8, &mut Rng) -> u8) {
    if !input.is_empty() {
        let at = rng.place(input.len());
        input[at] = change(input[at], rng);
    }
}

/// Overwrites 1, 2, 4 or 8 bytes with a number.
fn put_number(input: &mut [u8], rng: &mut Rng) {
    let number = rng.pick(&NUMBERS);
    let (little, big) = (number.to_le_bytes(), number.to_be_bytes());
    let length = rng.pick(&[1_usize, 2, 4, 8]);
    let bytes = if rng.chance(500) {
        &little[..length]
    } else {
        &big[8 - length..]
    };
    let at = rng.place(input.len() + 1);
    for (to, from) in input[at..].iter_mut().zip(bytes) {
        *to = *from;
    }
}

/// A piece of an input: position and length.
fn piece(of: &[u8], rng: &mut Rng) -> (usize, usize) {
    let at = rng.place(of.len() + 1);
    let most = if rng.chance(100) { u64::MAX } else { PIECE };
    let rest = (of.len() - at) as u64;
    let length = rng.below(rest.min(most).saturating_add(1));
    (at, usize::try_from(length).unwrap_or(0))
}

fn insert(input: &mut Vec<u8>, bytes: &[u8], rng: &mut Rng) {
    let at = rng.place(input.len() + 1);
    input.splice(at..at, bytes.iter().copied());
}
