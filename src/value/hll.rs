//! HyperLogLog: 16,384 registers of 6 bits in a string, byte for byte as Redis keeps them, so that values move both ways.
//!
//! A header of 16 bytes (`HYLL`, encoding, three bytes unused, the cached cardinality whose highest bit says that it
//! is out of date), then the registers: *dense*, 6 bits each from the lowest bit on; or *sparse*, runs in order:
//! - `00xxxxxx`: x + 1 registers are 0 (1 to 64);
//! - `01xxxxxx yyyyyyyy`: xy + 1 registers are 0 (1 to 16,384);
//! - `1vvvvvxx`: x + 1 registers (1 to 4) are v + 1 (1 to 32).
//!
//! Strings come from outside as well: nothing here trusts a run's length, and what does not describe all registers and
//! no more is `Corrupt`.
use super::blob::Blob;

pub const REGISTERS: usize = 1 << INDEX_BITS;
/// What a register counts to: the hash's bits behind the index, and one.
const COUNT_MAX: usize = 64 - INDEX_BITS as usize + 1;
const INDEX_BITS: u32 = 14;
const HEADER: usize = 16;
const PACKED: usize = REGISTERS / 4 * 3;
pub const DENSE_LEN: usize = HEADER + PACKED;
/// What is longer cannot be right: a run takes two bytes at most.
pub const SPARSE_LEN_MAX: usize = HEADER + 2 * REGISTERS;
const SPARSE_VALUE_MAX: u8 = 32;
const RUN_MAX: usize = 4;
const ZEROS_MAX: usize = 64;
/// Registers unpacked at a time, and the bytes that they are packed in.
const BLOCK: usize = 64;
const BLOCK_PACKED: usize = BLOCK / 4 * 3;

/// The registers, a byte each.
pub type Registers = [u8; REGISTERS];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    Dense,
    Sparse,
}

/// The string says that it is a HyperLogLog, but its registers are not all there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Corrupt;

/// What setting a register of a sparse one came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Set {
    /// It was that high already.
    Same,
    Changed,
    /// There is no sparse form of it, or it would be too long; nothing was done.
    TooMuch,
}

/// `None`: no HyperLogLog at all.
pub fn encoding(bytes: &[u8]) -> Option<Encoding> {
    match bytes {
        [b'H', b'Y', b'L', b'L', 0, ..] if bytes.len() == DENSE_LEN => Some(Encoding::Dense),
        [b'H', b'Y', b'L', b'L', 1, ..] if bytes.len() >= HEADER => Some(Encoding::Sparse),
        _ => None,
    }
}

/// One without elements.
pub fn empty() -> [u8; HEADER + 2] {
    let mut bytes = [0; HEADER + 2];
    bytes[..5].copy_from_slice(b"HYLL\x01");
    bytes[HEADER..].copy_from_slice(&[0x7f, 0xff]);
    bytes
}

/// The cardinality as it was last computed, unless registers have changed since.
pub fn cached(bytes: &[u8]) -> Option<u64> {
    let card = u64::from_le_bytes(*bytes.get(8..)?.first_chunk()?);
    (card >> 63 == 0).then_some(card)
}

pub fn set_cached(bytes: &mut [u8], card: u64) {
    if let Some(field) = bytes.get_mut(8..HEADER) {
        field.copy_from_slice(&card.to_le_bytes());
    }
}

/// The cached cardinality is out of date.
pub fn invalidate(bytes: &mut [u8]) {
    if let Some(last) = bytes.get_mut(HEADER - 1) {
        *last |= 0x80;
    }
}

/// MurmurHash64A, read as little-endian everywhere.
fn hash(element: &[u8]) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    const SEED: u64 = 0xadc8_3b19;
    let mix = |k: u64| k ^ k >> 47;
    // Lengths are 32 bits there, signed; ours never come near.
    let mut h = SEED ^ (element.len() as u64).wrapping_mul(M);
    let (words, rest) = element.as_chunks::<8>();
    for word in words {
        let k = mix(u64::from_le_bytes(*word).wrapping_mul(M)).wrapping_mul(M);
        h = (h ^ k).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, &b| tail << 8 | u64::from(b));
        h = (h ^ tail).wrapping_mul(M);
    }
    mix(mix(h).wrapping_mul(M))
}

/// The register that an element belongs to, and how high it is at least: the place of the first 1 in the hash.
#[inline]
pub fn place(element: &[u8]) -> (usize, u8) {
    let hash = hash(element);
    let rest = hash >> INDEX_BITS | 1 << (64 - INDEX_BITS);
    (hash as usize % REGISTERS, rest.trailing_zeros() as u8 + 1)
}

/// A dense one's register; 0 past the end.
#[inline]
pub fn dense_get(bytes: &[u8], index: usize) -> u8 {
    let bit = index * 6;
    let at = HEADER + bit / 8;
    let byte = |at: usize| u16::from(bytes.get(at).copied().unwrap_or(0));
    ((byte(at) | byte(at + 1) << 8) >> (bit % 8)) as u8 & 63
}

pub fn dense_set(bytes: &mut [u8], index: usize, value: u8) {
    let bit = index * 6;
    let at = HEADER + bit / 8;
    let (clear, set) = (!(63u16 << (bit % 8)), u16::from(value & 63) << (bit % 8));
    for (byte, shift) in bytes.iter_mut().skip(at).take(2).zip([0, 8]) {
        *byte = *byte & (clear >> shift) as u8 | (set >> shift) as u8;
    }
}

/// A run of a sparse one.
#[derive(Clone, Copy)]
struct Run {
    /// 0 for the two forms of zeros.
    value: u8,
    len: usize,
    /// Bytes that it takes.
    size: usize,
}

#[inline]
fn run_at(bytes: &[u8], at: usize) -> Option<Run> {
    let b = *bytes.get(at)?;
    Some(match b >> 6 {
        0 => Run { value: 0, len: usize::from(b) + 1, size: 1 },
        1 => {
            let low = *bytes.get(at + 1)?;
            Run { value: 0, len: (usize::from(b & 63) << 8 | usize::from(low)) + 1, size: 2 }
        }
        _ => Run { value: (b >> 2 & 31) + 1, len: usize::from(b & 3) + 1, size: 1 },
    })
}

fn run_of_values(value: u8, len: usize) -> u8 {
    0x80 | (value - 1) << 2 | (len - 1) as u8
}

/// Calls back with every run and the index of its first register.
fn each_run(bytes: &[u8], mut f: impl FnMut(usize, Run)) -> Result<(), Corrupt> {
    let (mut at, mut first) = (HEADER, 0);
    while at < bytes.len() {
        let run = run_at(bytes, at).filter(|run| first + run.len <= REGISTERS).ok_or(Corrupt)?;
        f(first, run);
        first += run.len;
        at += run.size;
    }
    if first == REGISTERS { Ok(()) } else { Err(Corrupt) }
}

const ONES: u64 = 0x0101_0101_0101_0101;

/// By which of eight bytes look like the first of a run of two (a bit each, the first byte lowest): the bytes that are,
/// given that a run begins with the first. What looks like one behind one is its second byte.
static WIDE: [u64; 256] = {
    let mut table = [0; 256];
    let mut looks = 0;
    while looks < 256 {
        let mut i = 0;
        while i < 8 {
            if looks >> i & 1 == 1 {
                table[looks] |= 0xff << (8 * i);
                i += 1;
            }
            i += 1;
        }
        looks += 1;
    }
    table
};

/// The sum of the bytes.
#[inline(always)]
fn sum(bytes: u64) -> usize {
    let pairs = (bytes & 0x00ff_00ff_00ff_00ff) + (bytes >> 8 & 0x00ff_00ff_00ff_00ff);
    (pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48) as usize
}

/// Where the run of a register begins, the index of its first one, and where the run before it begins.
///
/// Eight bytes at a time, whose lengths are added up side by side; what one step hands to the next is hardly more than
/// whether its last byte was half a run.
fn find(bytes: &[u8], index: usize) -> Option<(usize, usize, Option<usize>)> {
    let (mut at, mut first) = (HEADER, 0);
    let mut before = None;
    let mut half = 0;
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let word = u64::from_le_bytes(*word);
        let values = word >> 7 & ONES;
        let single = (word & ((0x3f * ONES) ^ (values * 0x3c))) + ONES;
        let looks = (word >> 6 & !values & ONES).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        let wide = WIDE[(looks & !half) as usize & 255];
        let second = (wide << 8) | (half * 0xff);
        let low = (single & !(wide | second)) | (word & second) | (wide & ONES);
        let high = word & wide & (0x3f * ONES);
        let len = sum(low) + (sum(high) << 8);
        if first + len > index {
            break;
        }
        before = Some(at + half as usize);
        first += len;
        half = wide >> 63;
        at += 8;
    }
    if half == 1 {
        // Back to where that run begins.
        at -= 1;
        first -= (usize::from(bytes.get(at)? & 0x3f) << 8) + 1;
    }
    let mut prev = None;
    loop {
        let run = run_at(bytes, at)?;
        if index < first + run.len {
            break;
        }
        first += run.len;
        prev = Some(at);
        at += run.size;
    }
    if let (None, Some(mut last)) = (prev, before) {
        // It begins where eight bytes ended: the last run within those.
        while last < at {
            prev = Some(last);
            last += run_at(bytes, last)?.size;
        }
    }
    Some((at, first, prev))
}

/// Raises a register of a sparse one, and the cached cardinality is out of date. The bytes that come out are those that
/// Redis makes of it.
pub fn sparse_set(
    blob: &mut (impl Blob + ?Sized),
    index: usize,
    value: u8,
    len_max: usize,
) -> Result<Set, Corrupt> {
    if value > SPARSE_VALUE_MAX {
        return Ok(Set::TooMuch);
    }
    let bytes: &[u8] = blob;
    if bytes.len() > SPARSE_LEN_MAX {
        return Err(Corrupt);
    }
    let (at, first, prev) = find(bytes, index).ok_or(Corrupt)?;
    let run = run_at(bytes, at).ok_or(Corrupt)?;
    if run.value >= value {
        return Ok(Set::Same);
    }
    // What was before it, it, what was behind it.
    let mut runs = [0; 5];
    let mut n = 0;
    let mut same_as_before = |n: &mut usize, len: usize| {
        if len == 0 {
            return;
        }
        if run.value > 0 {
            runs[*n] = run_of_values(run.value, len);
        } else if len <= ZEROS_MAX {
            runs[*n] = (len - 1) as u8;
        } else {
            runs[*n] = 0x40 | ((len - 1) >> 8) as u8;
            runs[*n + 1] = (len - 1) as u8;
            *n += 1;
        }
        *n += 1;
    };
    same_as_before(&mut n, index - first);
    let own = n;
    n += 1;
    same_as_before(&mut n, first + run.len - 1 - index);
    runs[own] = run_of_values(value, 1);
    if n > run.size && bytes.len() + n - run.size > len_max {
        return Ok(Set::TooMuch);
    }
    blob.splice(at, run.size, &runs[..n]);
    join(blob, prev.unwrap_or(HEADER));
    invalidate(blob.bytes_mut());
    Ok(Set::Changed)
}

/// Joins equal runs, as far as Redis looks for them: five runs from `at` on.
fn join(blob: &mut (impl Blob + ?Sized), at: usize) {
    let mut at = at;
    for _ in 0..5 {
        let Some(run) = run_at(blob, at) else { return };
        if run.value > 0
            && let Some(next) = run_at(blob, at + 1)
            && next.value == run.value
            && next.len + run.len <= RUN_MAX
        {
            blob.splice(at, 2, &[run_of_values(run.value, run.len + next.len)]);
        } else {
            at += run.size;
        }
    }
}

/// The dense form of a sparse one, cached cardinality included.
pub fn to_dense(sparse: &[u8]) -> Result<Vec<u8>, Corrupt> {
    let mut registers = [0; REGISTERS];
    merge(&mut registers, sparse)?;
    let mut dense = vec![0; DENSE_LEN];
    dense[..HEADER].copy_from_slice(sparse.get(..HEADER).ok_or(Corrupt)?);
    dense[4] = 0;
    pack(&registers, &mut dense);
    Ok(dense)
}

/// Eight registers out of the lower 48 bits of `x`, a byte each.
#[inline(always)]
fn unpack_eight(x: u64) -> u64 {
    let x = x & 0xff_ffff | (x & 0xffff_ff00_0000) << 8;
    let x = x & 0x0000_0fff_0000_0fff | (x & 0x00ff_f000_00ff_f000) << 4;
    x & 0x003f_003f_003f_003f | (x & 0x0fc0_0fc0_0fc0_0fc0) << 2
}

/// The way back.
#[inline(always)]
fn pack_eight(x: u64) -> u64 {
    let x = x & 0x003f_003f_003f_003f | (x & 0x3f00_3f00_3f00_3f00) >> 2;
    let x = x & 0x0000_0fff_0000_0fff | (x & 0x0fff_0000_0fff_0000) >> 4;
    x & 0xff_ffff | (x & 0x00ff_ffff_0000_0000) >> 8
}

#[inline(always)]
fn unpack_block(packed: &[u8; BLOCK_PACKED]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let (words, _) = block.as_chunks_mut::<8>();
    for (i, word) in words.iter_mut().enumerate() {
        // The last eight bytes end with the block, so that nothing behind it is read.
        let (from, shift) = if i == 7 { (BLOCK_PACKED - 8, 16) } else { (6 * i, 0) };
        let mut eight = [0; 8];
        eight.copy_from_slice(&packed[from..from + 8]);
        *word = unpack_eight(u64::from_le_bytes(eight) >> shift).to_le_bytes();
    }
    block
}

/// Raises each register to what `bytes`, for which `encoding` found a form, has there.
pub fn merge(registers: &mut Registers, bytes: &[u8]) -> Result<(), Corrupt> {
    if encoding(bytes).ok_or(Corrupt)? == Encoding::Sparse {
        return each_run(bytes, |first, run| {
            if run.value > 0 {
                registers[first..first + run.len].iter_mut().for_each(|r| *r = (*r).max(run.value));
            }
        });
    }
    let (blocks, _) = registers.as_chunks_mut::<BLOCK>();
    let (packed, _) = bytes[HEADER..].as_chunks::<BLOCK_PACKED>();
    for (block, packed) in blocks.iter_mut().zip(packed) {
        let other = unpack_block(packed);
        for (r, o) in block.iter_mut().zip(other) {
            *r = (*r).max(o);
        }
    }
    Ok(())
}

/// Writes the registers into a dense one.
pub fn pack(registers: &Registers, dense: &mut [u8]) {
    let (eights, _) = registers.as_chunks::<8>();
    for (eight, packed) in eights.iter().zip(dense[HEADER..].chunks_exact_mut(6)) {
        packed.copy_from_slice(&pack_eight(u64::from_le_bytes(*eight)).to_le_bytes()[..6]);
    }
}

/// How many registers have each value. In four tables, so that equal neighbours do not wait for each other.
struct Histogram([[u32; 64]; 4]);

impl Histogram {
    fn new() -> Self {
        Histogram([[0; 64]; 4])
    }

    #[inline(always)]
    fn add(&mut self, registers: &[u8]) {
        let (fours, _) = registers.as_chunks::<4>();
        for four in fours {
            for (table, r) in self.0.iter_mut().zip(four) {
                table[usize::from(*r & 63)] += 1;
            }
        }
    }

    fn of(&self, value: usize) -> f64 {
        f64::from(self.0.iter().map(|table| table[value]).sum::<u32>())
    }

    /// The cardinality that such registers speak of. Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog
    /// sketches" (arXiv:1702.01284), algorithm 6.
    fn estimate(&self) -> u64 {
        const ALPHA: f64 = 0.7213475204444817;
        let m = REGISTERS as f64;
        let mut z = m * tau((m - self.of(COUNT_MAX)) / m);
        for value in (1..COUNT_MAX).rev() {
            z += self.of(value);
            z *= 0.5;
        }
        z += m * sigma(self.of(0) / m);
        let estimate = (ALPHA * m * m / z).round();
        // Values that no hash leads to can make it infinite, which is the least integer there.
        if estimate < 9.2e18 { estimate as u64 } else { 1 << 63 }
    }
}

fn sigma(x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut x, mut y, mut z) = (x, 1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut x, mut y, mut z) = (x, 1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

/// The estimated cardinality of one for which `encoding` found a form.
pub fn count(bytes: &[u8]) -> Result<u64, Corrupt> {
    let mut histogram = Histogram::new();
    if encoding(bytes).ok_or(Corrupt)? == Encoding::Sparse {
        each_run(bytes, |_, run| histogram.0[0][usize::from(run.value)] += run.len as u32)?;
    } else {
        let (packed, _) = bytes[HEADER..].as_chunks::<BLOCK_PACKED>();
        packed.iter().for_each(|packed| histogram.add(&unpack_block(packed)));
    }
    Ok(histogram.estimate())
}

pub fn count_registers(registers: &Registers) -> u64 {
    let mut histogram = Histogram::new();
    histogram.add(registers);
    histogram.estimate()
}

/// A sparse one's runs as text, whether they are right or not: `Z:` and `z:` are zeros, `v:` a value and its count.
pub fn describe(sparse: &[u8]) -> Result<String, Corrupt> {
    if sparse.len() > SPARSE_LEN_MAX {
        return Err(Corrupt);
    }
    let mut runs = Vec::new();
    let mut at = HEADER;
    while let Some(run) = run_at(sparse, at) {
        runs.push(match run {
            Run { value: 0, len, size: 1 } => format!("z:{len}"),
            Run { value: 0, len, .. } => format!("Z:{len}"),
            Run { value, len, .. } => format!("v:{value},{len}"),
        });
        at += run.size;
    }
    Ok(runs.join(" "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::rng::Rng;

    /// Adds as PFADD does.
    fn add(bytes: &mut Vec<u8>, index: usize, value: u8, len_max: usize) -> bool {
        if encoding(bytes) == Some(Encoding::Sparse) {
            match sparse_set(bytes, index, value, len_max).unwrap() {
                Set::TooMuch => *bytes = to_dense(bytes).unwrap(),
                set => return set == Set::Changed,
            }
        }
        let more = dense_get(bytes, index) < value;
        if more {
            dense_set(bytes, index, value);
        }
        more
    }

    fn registers(bytes: &[u8]) -> Vec<u8> {
        let mut all = [0; REGISTERS];
        merge(&mut all, bytes).unwrap();
        all.to_vec()
    }

    #[test]
    fn elements_have_known_places() {
        // As redis-server puts them.
        let mut bytes = empty().to_vec();
        for element in ["a", "b", "c"] {
            let (index, value) = place(element.as_bytes());
            assert!(add(&mut bytes, index, value, 3000));
            assert!(!add(&mut bytes, index, value, 3000));
        }
        assert_eq!(count(&bytes), Ok(3));
        assert_eq!((cached(&empty()), cached(&bytes)), (Some(0), None));
        set_cached(&mut bytes, 3);
        assert_eq!(cached(&bytes), Some(3));
    }

    #[test]
    fn estimates_are_close() {
        let mut dense = to_dense(&empty()).unwrap();
        for i in 0..100_000u32 {
            let (index, value) = place(&i.to_le_bytes());
            add(&mut dense, index, value, 0);
        }
        let n = count(&dense).unwrap();
        assert!((95_000..105_000).contains(&n), "{n}");
    }

    #[test]
    fn what_no_hash_leads_to_is_counted_without_panic() {
        for value in [51, 52, 63] {
            let mut dense = to_dense(&empty()).unwrap();
            pack(&[value; REGISTERS], &mut dense);
            assert_eq!(count(&dense), count(&dense));
            assert_eq!(dense_get(&dense, REGISTERS - 1), value);
        }
        let mut dense = to_dense(&empty()).unwrap();
        pack(&[63; REGISTERS], &mut dense);
        assert_eq!(count(&dense), Ok(1 << 63));
    }

    #[test]
    fn hostile_strings_are_corrupt_or_none() {
        let head = |tail: &[u8]| [&empty()[..HEADER], tail].concat();
        for none in [
            &b""[..],
            b"HYLL",
            b"HYLL\x02aaaaaaaaaaaaaaa",
            b"HYLL\x00aaaaaaaaaaaaaaa",
            b"HYLX\x01aaaaaaaaaaaaaaa",
        ] {
            assert_eq!(encoding(none), None);
        }
        for tail in [
            &b""[..],
            b"\x7f",
            b"\x7f\xff\x00",
            b"\x7f\xfe",
            b"\xff",
            b"\x7f\xff\x7f\xff",
            b"\x00\x7f\xff",
            &[0xff; 70_000],
        ] {
            let mut bytes = head(tail);
            assert_eq!(count(&bytes), Err(Corrupt), "{tail:?}");
            assert_eq!(to_dense(&bytes), Err(Corrupt));
            assert_eq!(describe(&bytes).is_err(), tail.len() > 60_000);
            // It may find the register, but never anything outside.
            for index in [0, 63, 64, 8000, REGISTERS - 1] {
                let _ = sparse_set(&mut bytes, index, 3, 3000);
                let _ = sparse_set(&mut bytes, index, 40, 3000);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn sparse_and_dense_agree(seed: u64, n in 0..600usize, near: bool, len_max in prop::sample::select(vec![0usize, 30, 300, 3000, 40_000])) {
            let mut rng = Rng::from_seed(seed);
            let (mut sparse, mut dense) = (empty().to_vec(), to_dense(&empty()).unwrap());
            let mut model = vec![0; REGISTERS];
            for _ in 0..n {
                // Close together, so that runs are split and joined.
                let index = rng.below(if near { 40 } else { REGISTERS as u64 }) as usize;
                let index = if rng.below(2) == 0 { index } else { REGISTERS - 1 - index };
                let value = 1 + rng.below(if near { 3 } else { 33 }) as u8;
                let more = model[index] < value;
                model[index] = model[index].max(value);
                prop_assert_eq!(add(&mut sparse, index, value, len_max), more);
                prop_assert_eq!(add(&mut dense, index, value, 0), more);
            }
            prop_assert_eq!(&registers(&sparse), &model);
            prop_assert_eq!(&registers(&dense), &model);
            prop_assert_eq!(count(&sparse), count(&dense));
            let model: &Registers = model[..].try_into().unwrap();
            prop_assert_eq!(Ok(count_registers(model)), count(&dense));
            let was = dense.clone();
            pack(model, &mut dense);
            prop_assert_eq!(dense, was);
        }

        #[test]
        fn registers_are_found_as_one_by_one(words in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 0..20), index in 0..REGISTERS) {
            let mut bytes = vec![0; HEADER];
            for (word, wide, short) in words {
                // Many that look like runs of two, and not too long ones.
                let word = (word & !(wide & 0x8080_8080_8080_8080)) | (wide & 0x4040_4040_4040_4040);
                bytes.extend((word & !(short & 0x3838_3838_3838_3838)).to_le_bytes());
            }
            let (mut at, mut first, mut prev) = (HEADER, 0, None);
            let expected = loop {
                match run_at(&bytes, at) {
                    None => break None,
                    Some(run) if index < first + run.len => break Some((at, first, prev)),
                    Some(run) => {
                        prev = Some(at);
                        first += run.len;
                        at += run.size;
                    }
                }
            };
            prop_assert_eq!(find(&bytes, index), expected);
        }

        #[test]
        fn random_bytes_do_no_harm(tail in prop::collection::vec(any::<u8>(), 0..300), index in 0..REGISTERS, value in 1..64u8) {
            let mut bytes = [&empty()[..HEADER], &tail].concat();
            let _ = (count(&bytes), to_dense(&bytes), describe(&bytes), merge(&mut [0; REGISTERS], &bytes));
            let _ = sparse_set(&mut bytes, index, value, 3000);
            prop_assert!(bytes.len() <= HEADER + tail.len() + 3);
        }
    }
}
