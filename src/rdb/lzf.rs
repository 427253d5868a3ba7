//! LZF, the compression that RDB uses for strings: literals and references up to 8 KiB back.
//!
//! ```text
//! 000lllll               | l + 1 literal bytes
//! lllddddd dddddddd      | copy l + 2 bytes (l in 1..=6) from d + 1 back
//! 111ddddd llllllll ddd… | copy l + 9 bytes from d + 1 back
//! ```
//! Own code rather than a crate: the output must be the one that Redis's makes (DUMP is compared byte for byte), which
//! depends on the hash, on which positions enter the table and on where the end of the room is felt; and a table of
//! 256 KiB must not be cleared for every short string.
use std::cell::RefCell;

const HASH_BITS: u32 = 16;
const LITERALS_MAX: usize = 1 << 5;
const DISTANCE_MAX: usize = 1 << 13;
const COPY_MAX: usize = (1 << 8) + (1 << 3);

/// One byte of input makes at most this many of output.
const EXPANSION_MAX: usize = COPY_MAX / 3 + 1;

struct Compressor {
    /// `base` + a position, by the hash of the three bytes there; what is not above `base` is of an earlier run.
    table: Vec<u32>,
    base: u32,
    out: Vec<u8>,
}

thread_local! {
    static COMPRESSOR: RefCell<Compressor> =
        const { RefCell::new(Compressor { table: Vec::new(), base: 0, out: Vec::new() }) };
}

/// Inputs longer than this are left as they are.
const INPUT_MAX: usize = 1 << 30;
/// A thread's output buffer is not kept when it has become longer.
const KEEP_MAX: usize = 1 << 20;

/// Calls `with` with `input` compressed to at most `max` bytes, or with `None` where that is not possible. `with` compresses nothing
/// itself.
pub fn compressed<R>(input: &[u8], max: usize, with: impl FnOnce(Option<&[u8]>) -> R) -> R {
    if input.len() < 4 || input.len() > INPUT_MAX || max == 0 {
        return with(None);
    }
    COMPRESSOR.with_borrow_mut(|c| {
        let result = match c.run(input, max) {
            Some(len) => with(c.out.get(..len)),
            None => with(None),
        };
        if c.out.len() > KEEP_MAX {
            c.out = Vec::new();
        }
        result
    })
}

impl Compressor {
    /// Compresses into `out`; the length, if it is at most `max`.
    fn run(&mut self, input: &[u8], max: usize) -> Option<usize> {
        if self.table.is_empty() {
            self.table.resize(1 << HASH_BITS, 0);
        }
        let n = input.len();
        if self.base as usize + n > u32::MAX as usize {
            self.table.fill(0);
            self.base = 0;
        }
        if self.out.len() < max {
            self.out.resize(max, 0);
        }
        let (table, out, base) = (&mut self.table[..1 << HASH_BITS], &mut self.out[..max], self.base);
        self.base += n as u32;
        let slot = |at: usize| {
            let h = u32::from(input[at]) << 16 | u32::from(input[at + 1]) << 8 | u32::from(input[at + 2]);
            ((h >> (24 - HASH_BITS)).wrapping_sub(h.wrapping_mul(5)) & ((1 << HASH_BITS) - 1)) as usize
        };
        // `literals` bytes stand in a run that ends at `op`; its head, to be filled in, is right before it.
        let (mut ip, mut op, mut literals) = (0, 1, 0usize);
        while ip < n - 2 {
            let entry = &mut table[slot(ip)];
            // Position 0 never matches.
            let seen = entry.checked_sub(base).filter(|&at| at > 0).map(|at| at as usize);
            *entry = base + ip as u32;
            let matching =
                seen.filter(|&at| ip - at - 1 < DISTANCE_MAX && input[at..at + 3] == input[ip..ip + 3]);
            let Some(from) = matching else {
                if op >= max {
                    return None;
                }
                out[op] = input[ip];
                (op, ip, literals) = (op + 1, ip + 1, literals + 1);
                if literals == LITERALS_MAX {
                    out[op - literals - 1] = (literals - 1) as u8;
                    literals = 0;
                    op += 1;
                }
                continue;
            };
            if op + 4 - usize::from(literals == 0) >= max {
                return None;
            }
            if literals == 0 {
                op -= 1;
            } else {
                out[op - literals - 1] = (literals - 1) as u8;
            }
            let len = common(input, from, ip, (n - ip - 2).min(COPY_MAX));
            let distance = ip - from - 1;
            let (code, high) = (len - 2, (distance >> 8) as u8);
            if code < 7 {
                out[op] = high + ((code as u8) << 5);
                op += 1;
            } else {
                out[op] = high + (7 << 5);
                out[op + 1] = (code - 7) as u8;
                op += 2;
            }
            out[op] = distance as u8;
            // And room for the head of the next run.
            op += 2;
            literals = 0;
            ip += len;
            if ip >= n - 2 {
                break;
            }
            for at in [ip - 2, ip - 1] {
                table[slot(at)] = base + at as u32;
            }
        }
        if op + 3 > max {
            return None;
        }
        for &byte in &input[ip..] {
            out[op] = byte;
            (op, literals) = (op + 1, literals + 1);
            if literals == LITERALS_MAX {
                out[op - literals - 1] = (literals - 1) as u8;
                literals = 0;
                op += 1;
            }
        }
        if literals == 0 {
            op -= 1;
        } else {
            out[op - literals - 1] = (literals - 1) as u8;
        }
        Some(op)
    }
}

/// How many bytes at `from` and `at` are the same; three are known to be. Near the end of the input the last two
/// may be left out.
fn common(input: &[u8], from: usize, at: usize, max: usize) -> usize {
    let mut len = 2;
    if max > 16 {
        for _ in 0..16 {
            len += 1;
            if input[from + len] != input[at + len] {
                return len;
            }
        }
    }
    loop {
        len += 1;
        if len >= max || input[from + len] != input[at + len] {
            return len;
        }
    }
}

/// Decompresses into `out`, replacing what it held; whether `packed` was in order and made exactly `len` bytes.
pub fn decompress(packed: &[u8], len: usize, out: &mut Vec<u8>) -> bool {
    out.clear();
    if len / EXPANSION_MAX > packed.len() {
        return false;
    }
    out.reserve_exact(len);
    let mut rest = packed;
    while let Some((&head, after)) = rest.split_first() {
        let head = usize::from(head);
        if head < LITERALS_MAX {
            let Some((literals, after)) = after.split_at_checked(head + 1) else { return false };
            if out.len() + literals.len() > len {
                return false;
            }
            out.extend_from_slice(literals);
            rest = after;
            continue;
        }
        let (mut count, mut after) = (head >> 5, after);
        if count == 7 {
            let Some((&more, next)) = after.split_first() else { return false };
            count += usize::from(more);
            after = next;
        }
        let Some((&low, next)) = after.split_first() else { return false };
        rest = next;
        let back = ((head & 0x1f) << 8 | usize::from(low)) + 1;
        let mut count = count + 2;
        let Some(from) = out.len().checked_sub(back) else { return false };
        if out.len() + count > len {
            return false;
        }
        // What it copies may itself just have been copied: in steps that are there already.
        while count > 0 {
            let step = count.min(out.len() - from);
            out.extend_from_within(from..from + step);
            count -= step;
        }
    }
    out.len() == len
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pack(input: &[u8]) -> Option<Vec<u8>> {
        compressed(input, input.len().saturating_sub(4), |out| out.map(<[u8]>::to_vec))
    }

    #[test]
    fn known_outputs() {
        // As a real server's DUMP shows them.
        assert_eq!(pack(&[b'a'; 100]), Some(vec![1, b'a', b'a', 0xe0, 87, 0, 1, b'a', b'a']));
        assert_eq!(pack(b"abcdefghijklmnopqrstuvwxyz"), None);
        let mut out = Vec::new();
        assert!(decompress(&[1, b'a', b'a', 0xe0, 87, 0, 1, b'a', b'a'], 100, &mut out));
        assert_eq!(out, [b'a'; 100]);
    }

    #[test]
    fn wrong_bytes_are_refused() {
        let mut out = Vec::new();
        let good = [1, b'a', b'a', 0xe0, 87, 0, 1, b'a', b'a'];
        for len in [0, 99, 101, usize::MAX] {
            assert!(!decompress(&good, len, &mut out));
        }
        for cut in 1..good.len() {
            assert!(!decompress(&good[..cut], 100, &mut out), "{cut}");
        }
        assert!(!decompress(&[0x20, 0], 3, &mut out), "a reference to before the start");
        assert!(out.capacity() < 1000);
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(
            input in prop_oneof![
                proptest::collection::vec(0u8..3, 0..2000),
                proptest::collection::vec(any::<u8>(), 0..300),
                (proptest::collection::vec(any::<u8>(), 1..40), 1usize..300).prop_map(|(v, n)| v.repeat(n)),
            ],
        ) {
            if let Some(packed) = pack(&input) {
                prop_assert!(packed.len() + 4 <= input.len());
                let mut out = Vec::new();
                prop_assert!(decompress(&packed, input.len(), &mut out));
                prop_assert_eq!(out, input);
            }
        }

        #[test]
        fn any_bytes_may_be_decompressed(packed in proptest::collection::vec(any::<u8>(), 0..100), len in 0usize..3000) {
            let mut out = Vec::new();
            let good = decompress(&packed, len, &mut out);
            prop_assert!(!good || out.len() == len);
        }
    }
}
