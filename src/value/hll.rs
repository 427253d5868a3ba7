//! HyperLogLog: dense and sparse registers, byte-compatible with the strings that Redis keeps.
//!
//! ```text
//! "HYLL" encoding(0 dense, 1 sparse) 0 0 0 cardinality(8, little-endian; top bit: not up to date) registers
//! ```
//! Dense: 16,384 registers of six bits, lowest bits first. Sparse: runs of registers, each of one to two bytes:
//! `00llllll` l + 1 zeros, `01llllll llllllll` l + 1 zeros, `1vvvvvll` l + 1 registers of value v + 1.
//! The estimator is Ertl's ("New cardinality estimation algorithms for HyperLogLog sketches", 2017), computed in the same
//! order of operations as Redis does, so that the figures are equal.
//!
//! The bytes may come from anywhere (SET, RESTORE): what contradicts the format is an error, never a wild read.

pub const REGISTERS: usize = 1 << INDEX_BITS;
const INDEX_BITS: u32 = 14;
/// Bits of the hash that are left for the run of zeros.
const RUN_BITS: u32 = 64 - INDEX_BITS;
const HEADER: usize = 16;
pub const DENSE_BYTES: usize = HEADER + REGISTERS * 6 / 8;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
const STALE: u8 = 0x80;
const HASH_SEED: u64 = 0xadc8_3b19;

const ZERO_MAX: usize = 64;
const XZERO_MAX: usize = REGISTERS;
const VALUE_MAX: u8 = 32;
const VALUE_RUN_MAX: usize = 4;

/// The runs do not add up to the registers, or go on beyond them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("corrupted HyperLogLog")]
pub struct Corrupt;

/// Whether the bytes begin as a HyperLogLog does and have a length that one can have.
pub fn is_valid(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER
        && bytes.starts_with(b"HYLL")
        && match bytes[4] {
            DENSE => bytes.len() == DENSE_BYTES,
            SPARSE => true,
            _ => false,
        }
}

pub fn is_dense(bytes: &[u8]) -> bool {
    bytes.get(4) == Some(&DENSE)
}

/// An empty one, sparse.
pub fn empty() -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes[..4].copy_from_slice(b"HYLL");
    bytes[4] = SPARSE;
    put_run(&mut bytes, Run::Zeros(REGISTERS));
    bytes
}

/// The cardinality as it was last computed, if it still stands.
pub fn cached(bytes: &[u8]) -> Option<u64> {
    let card: [u8; 8] = bytes.get(8..16)?.try_into().ok()?;
    (card[7] & STALE == 0).then(|| u64::from_le_bytes(card))
}

pub fn set_cached(bytes: &mut [u8], count: u64) {
    bytes[8..16].copy_from_slice(&count.to_le_bytes());
}

/// The cardinality is to be computed anew.
pub fn forget_cached(bytes: &mut [u8]) {
    bytes[15] |= STALE;
}

/// MurmurHash2, 64 bits, by Austin Appleby (public domain).
fn hash(bytes: &[u8]) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let mut h = HASH_SEED ^ (bytes.len() as u64).wrapping_mul(M);
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        let mut k = u64::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 47;
        h = (h ^ k.wrapping_mul(M)).wrapping_mul(M);
    }
    if !tail.is_empty() {
        let mut last = [0; 8];
        last[..tail.len()].copy_from_slice(tail);
        h = (h ^ u64::from_le_bytes(last)).wrapping_mul(M);
    }
    h ^= h >> 47;
    h = h.wrapping_mul(M);
    h ^ h >> 47
}

/// The register of an element, and the value that it asks for.
fn place(element: &[u8]) -> (usize, u8) {
    let h = hash(element);
    let index = h as usize & (REGISTERS - 1);
    let run = (h >> INDEX_BITS | 1 << RUN_BITS).trailing_zeros() as u8 + 1;
    (index, run)
}

fn dense_get(registers: &[u8], index: usize) -> u8 {
    let bit = index * 6;
    let low = u16::from(registers[bit / 8]);
    let high = registers.get(bit / 8 + 1).map_or(0, |b| u16::from(*b));
    ((low | high << 8) >> (bit % 8)) as u8 & 63
}

fn dense_set(registers: &mut [u8], index: usize, value: u8) -> bool {
    if dense_get(registers, index) >= value {
        return false;
    }
    let (byte, shift) = (index * 6 / 8, index * 6 % 8);
    let (mask, bits) = (63u16 << shift, u16::from(value) << shift);
    registers[byte] = registers[byte] & !(mask as u8) | bits as u8;
    if let Some(next) = registers.get_mut(byte + 1) {
        *next = *next & !((mask >> 8) as u8) | (bits >> 8) as u8;
    }
    true
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Run {
    Zeros(usize),
    Value(u8, usize),
}

impl Run {
    fn len(self) -> usize {
        match self {
            Run::Zeros(n) | Run::Value(_, n) => n,
        }
    }
}

/// The run at `at`, and its bytes.
fn run_at(bytes: &[u8], at: usize) -> Result<(Run, usize), Corrupt> {
    let first = *bytes.get(at).ok_or(Corrupt)?;
    Ok(match first >> 6 {
        0 => (Run::Zeros(usize::from(first & 63) + 1), 1),
        1 => {
            let second = *bytes.get(at + 1).ok_or(Corrupt)?;
            (Run::Zeros((usize::from(first & 63) << 8 | usize::from(second)) + 1), 2)
        }
        _ => (Run::Value((first >> 2 & 31) + 1, usize::from(first & 3) + 1), 1),
    })
}

fn put_run(out: &mut Vec<u8>, run: Run) {
    match run {
        Run::Zeros(0) => {}
        Run::Zeros(n) if n <= ZERO_MAX => out.push((n - 1) as u8),
        Run::Zeros(n) => {
            debug_assert!(n <= XZERO_MAX);
            out.extend_from_slice(&[0x40 | ((n - 1) >> 8) as u8, (n - 1) as u8]);
        }
        Run::Value(_, 0) => {}
        Run::Value(value, n) => out.push(0x80 | (value - 1) << 2 | (n - 1) as u8),
    }
}

/// Adds an element; tells whether a register changed. `sparse_max` is `hll-sparse-max-bytes`.
pub fn add(bytes: &mut Vec<u8>, element: &[u8], sparse_max: usize) -> Result<bool, Corrupt> {
    let (index, value) = place(element);
    set_register(bytes, index, value, sparse_max)
}

/// Whether `add` would change a register. Cheap, and needs no exclusive access.
pub fn would_change(bytes: &[u8], element: &[u8]) -> Result<bool, Corrupt> {
    let (index, value) = place(element);
    if is_dense(bytes) {
        return Ok(dense_get(&bytes[HEADER..], index) < value);
    }
    let (mut at, mut first) = (HEADER, 0);
    loop {
        let (run, size) = run_at(bytes, at)?;
        if index < first + run.len() {
            return Ok(match run {
                Run::Zeros(_) => true,
                Run::Value(old, _) => old < value,
            });
        }
        first += run.len();
        at += size;
    }
}

/// In place, for a dense one. The caller has checked that it is.
pub fn dense_add(bytes: &mut [u8], element: &[u8]) -> bool {
    let (index, value) = place(element);
    let changed = dense_set(&mut bytes[HEADER..], index, value);
    if changed {
        forget_cached(bytes);
    }
    changed
}

/// Raises a register to `value`; tells whether it was lower.
pub fn set_register(
    bytes: &mut Vec<u8>,
    index: usize,
    value: u8,
    sparse_max: usize,
) -> Result<bool, Corrupt> {
    let changed = if is_dense(bytes) {
        dense_set(&mut bytes[HEADER..], index, value)
    } else {
        sparse_set(bytes, index, value, sparse_max)?
    };
    if changed {
        forget_cached(bytes);
    }
    Ok(changed)
}

fn sparse_set(bytes: &mut Vec<u8>, index: usize, value: u8, sparse_max: usize) -> Result<bool, Corrupt> {
    if value > VALUE_MAX {
        return promote_and_set(bytes, index, value);
    }
    let (mut at, mut first, mut before) = (HEADER, 0, None);
    let (run, size) = loop {
        let (run, size) = run_at(bytes, at)?;
        if index < first + run.len() {
            break (run, size);
        }
        before = Some(at);
        first += run.len();
        at += size;
    };
    let last = first + run.len() - 1;
    if last >= REGISTERS {
        return Err(Corrupt);
    }
    match run {
        Run::Value(old, _) if old >= value => return Ok(false),
        Run::Value(_, 1) | Run::Zeros(1) if size == 1 => {
            bytes[at] = 0x80 | (value - 1) << 2;
        }
        _ => {
            let side = |n: usize| match run {
                Run::Zeros(_) => Run::Zeros(n),
                Run::Value(old, _) => Run::Value(old, n),
            };
            let mut runs = Vec::with_capacity(5);
            for part in [side(index - first), Run::Value(value, 1), side(last - index)] {
                put_run(&mut runs, part);
            }
            if runs.len() > size && bytes.len() + runs.len() - size > sparse_max {
                return promote_and_set(bytes, index, value);
            }
            bytes.splice(at..at + size, runs);
        }
    }
    merge_values(bytes, before.unwrap_or(HEADER));
    Ok(true)
}

/// Runs looked at for neighbours of the same value.
const MERGE_SCAN: usize = 5;

/// Joins neighbours of the same value around a change.
fn merge_values(bytes: &mut Vec<u8>, from: usize) {
    let value_at = |bytes: &[u8], at: usize| match run_at(bytes, at) {
        Ok((Run::Value(value, n), _)) => Some((value, n)),
        _ => None,
    };
    let mut at = from;
    for _ in 0..MERGE_SCAN {
        let Ok((_, size)) = run_at(bytes, at) else { return };
        match (value_at(bytes, at), value_at(bytes, at + size)) {
            (Some((value, n)), Some((other, m))) if value == other && n + m <= VALUE_RUN_MAX => {
                bytes[at + 1] = 0x80 | (value - 1) << 2 | (n + m - 1) as u8;
                bytes.remove(at);
            }
            _ => at += size,
        }
    }
}

fn promote_and_set(bytes: &mut Vec<u8>, index: usize, value: u8) -> Result<bool, Corrupt> {
    to_dense(bytes)?;
    Ok(dense_set(&mut bytes[HEADER..], index, value))
}

/// Makes it dense; tells whether it was not.
pub fn to_dense(bytes: &mut Vec<u8>) -> Result<bool, Corrupt> {
    if is_dense(bytes) {
        return Ok(false);
    }
    let mut dense = vec![0; DENSE_BYTES];
    dense[..HEADER].copy_from_slice(&bytes[..HEADER]);
    dense[4] = DENSE;
    for_each_value(bytes, |index, value| {
        dense_set(&mut dense[HEADER..], index, value);
    })?;
    *bytes = dense;
    Ok(true)
}

/// Calls back with every register of a sparse one that is not zero.
fn for_each_value(bytes: &[u8], mut f: impl FnMut(usize, u8)) -> Result<(), Corrupt> {
    let (mut at, mut first) = (HEADER, 0);
    while at < bytes.len() {
        let (run, size) = run_at(bytes, at)?;
        if first + run.len() > REGISTERS {
            return Err(Corrupt);
        }
        if let Run::Value(value, n) = run {
            (first..first + n).for_each(|index| f(index, value));
        }
        first += run.len();
        at += size;
    }
    if first == REGISTERS { Ok(()) } else { Err(Corrupt) }
}

/// All registers, a byte each.
pub type Registers = [u8; REGISTERS];

/// Raises each of `max` to this one's register.
pub fn merge(max: &mut Registers, bytes: &[u8]) -> Result<(), Corrupt> {
    if !is_dense(bytes) {
        // All of it is looked at before anything changes.
        for_each_value(bytes, |_, _| {})?;
        return for_each_value(bytes, |index, value| max[index] = max[index].max(value));
    }
    let (packed, _) = bytes[HEADER..].as_chunks::<3>();
    let (fours, _) = max.as_chunks_mut::<4>();
    for (four, three) in fours.iter_mut().zip(packed) {
        // Four registers in one word, a byte each, so that the compiler can compare many at once.
        let w = u32::from(three[0]) | u32::from(three[1]) << 8 | u32::from(three[2]) << 16;
        let spread = w & 63 | (w & 63 << 6) << 2 | (w & 63 << 12) << 4 | (w & 63 << 18) << 6;
        let new = spread.to_le_bytes();
        for (old, new) in four.iter_mut().zip(new) {
            *old = (*old).max(new);
        }
    }
    Ok(())
}

/// How many distinct elements were added, about.
pub fn count(bytes: &[u8]) -> Result<u64, Corrupt> {
    if is_dense(bytes) {
        let mut registers = [0; REGISTERS];
        merge(&mut registers, bytes)?;
        return Ok(count_registers(&registers));
    }
    let (mut histogram, mut others) = ([0u32; 64], 0);
    for_each_value(bytes, |_, value| {
        histogram[usize::from(value)] += 1;
        others += 1;
    })?;
    histogram[0] = REGISTERS as u32 - others;
    Ok(estimate(&histogram))
}

pub fn count_registers(registers: &Registers) -> u64 {
    // Several tables, as neighbours are often equal and would wait for each other.
    let mut tables = [[0u32; 64]; 4];
    let (fours, _) = registers.as_chunks::<4>();
    for four in fours {
        for (table, value) in tables.iter_mut().zip(four) {
            table[usize::from(*value & 63)] += 1;
        }
    }
    let mut histogram = [0; 64];
    for table in tables {
        histogram.iter_mut().zip(table).for_each(|(sum, n)| *sum += n);
    }
    estimate(&histogram)
}

/// 1 / (2 ln 2).
const ALPHA: f64 = 0.721_347_520_444_481_7;

fn estimate(histogram: &[u32; 64]) -> u64 {
    let m = REGISTERS as f64;
    let q = RUN_BITS as usize;
    let mut z = m * tau((m - f64::from(histogram[q + 1])) / m);
    for j in (1..=q).rev() {
        z += f64::from(histogram[j]);
        z *= 0.5;
    }
    z += m * sigma(f64::from(histogram[0]) / m);
    let estimate = (ALPHA * m * m / z).round();
    // No elements lead to registers that full; C's rounding gives this, and so Redis does.
    if estimate < i64::MAX as f64 { estimate as u64 } else { i64::MIN as u64 }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if before == z {
            return z / 3.0;
        }
    }
}

/// The registers, for PFDEBUG GETREG.
pub fn registers(bytes: &[u8]) -> Result<Box<Registers>, Corrupt> {
    let mut all = Box::new([0; REGISTERS]);
    merge(&mut all, bytes)?;
    Ok(all)
}

/// A sparse one's runs in words, for PFDEBUG DECODE: `z` short and `Z` long runs of zeros, `v:value,count`.
pub fn decode(bytes: &[u8]) -> Result<String, Corrupt> {
    let mut words = Vec::new();
    let mut at = HEADER;
    while at < bytes.len() {
        let (run, size) = run_at(bytes, at)?;
        words.push(match run {
            Run::Zeros(n) if size == 1 => format!("z:{n}"),
            Run::Zeros(n) => format!("Z:{n}"),
            Run::Value(value, n) => format!("v:{value},{n}"),
        });
        at += size;
    }
    Ok(words.join(" "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hash_is_murmurs() {
        // Computed with the reference implementation's constants by hand for the empty string: only the end mixes.
        let mut h = HASH_SEED;
        h ^= h >> 47;
        h = h.wrapping_mul(0xc6a4_a793_5bd1_e995);
        assert_eq!(hash(b""), h ^ h >> 47);
        assert_ne!(hash(b"abcdefgh"), hash(b"abcdefgi"));
    }

    #[test]
    fn counts_are_close_and_both_forms_agree() {
        let (mut sparse, mut dense) = (empty(), empty());
        to_dense(&mut dense).unwrap();
        let mut next = 10;
        for i in 1..=100_000u64 {
            let element = i.to_le_bytes();
            add(&mut sparse, &element, 3000).unwrap();
            add(&mut dense, &element, 3000).unwrap();
            if i == next {
                let (a, b) = (count(&sparse).unwrap(), count(&dense).unwrap());
                assert_eq!(a, b);
                let error = (a as f64 - i as f64).abs() / i as f64;
                assert!(error < 0.04, "{a} for {i}");
                next *= 10;
            }
        }
        assert!(is_dense(&sparse), "it was promoted on the way");
    }

    #[test]
    fn hostile_bytes_are_errors() {
        let mut short = empty();
        short.truncate(HEADER);
        assert_eq!(count(&short), Err(Corrupt));
        assert_eq!(add(&mut short.clone(), b"a", 3000), Err(Corrupt));
        let mut long = empty();
        long.push(0x7f);
        long.push(0xff);
        assert_eq!(count(&long), Err(Corrupt));
        assert_eq!(merge(&mut [0; REGISTERS], &long), Err(Corrupt));
        let mut cut = empty();
        cut.truncate(HEADER + 1);
        assert_eq!((count(&cut), decode(&cut)), (Err(Corrupt), Err(Corrupt)));
        assert!(!is_valid(b"HYLL") && !is_valid(&[0; 20]) && is_valid(&empty()));
    }

    proptest! {
        #[test]
        fn the_registers_are_the_maxima(
            sets in proptest::collection::vec((0..REGISTERS, 1u8..=51), 0..400),
            narrow in any::<bool>(),
        ) {
            let mut model = vec![0u8; REGISTERS];
            let mut bytes = empty();
            for (index, value) in sets {
                // Close together they make runs, which merge and split.
                let index = if narrow { index % 40 } else { index };
                let changed = set_register(&mut bytes, index, value, 3000).unwrap();
                prop_assert_eq!(changed, model[index] < value);
                model[index] = model[index].max(value);
            }
            prop_assert!(is_valid(&bytes));
            prop_assert_eq!(&registers(&bytes).unwrap()[..], &model[..]);
            let counted = count(&bytes).unwrap();
            to_dense(&mut bytes).unwrap();
            prop_assert_eq!(&registers(&bytes).unwrap()[..], &model[..]);
            prop_assert_eq!(count(&bytes).unwrap(), counted);
        }

        #[test]
        fn no_bytes_panic(tail in proptest::collection::vec(any::<u8>(), 0..200), element in any::<u32>()) {
            let mut bytes = empty();
            bytes.truncate(HEADER);
            bytes.extend_from_slice(&tail);
            let _ = (count(&bytes), decode(&bytes), would_change(&bytes, &element.to_le_bytes()));
            let _ = add(&mut bytes, &element.to_le_bytes(), 3000);
        }
    }
}
