//! Intset: a sorted set of integers in one run of bytes, byte for byte what Redis writes.
//!
//! ```text
//! width of a member: u32 le (2, 4 or 8 bytes) | members: u32 le | member: i16, i32 or i64 le ...
//! ```
//!
//! Invariants: members strictly ascend; the width holds them all and, as in Redis, never shrinks. Readers trust
//! their bytes: on anything that [`Intset::validate`] has not accepted they may panic or find nothing, never more.
use super::blob::Blob;

const HEADER: usize = 8;

/// An intset to read.
#[derive(Clone, Copy, Debug)]
pub struct Intset<'a>(&'a [u8]);

impl<'a> Intset<'a> {
    /// Views bytes that were built here or that `validate` accepted.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        debug_assert!(bytes.len() >= HEADER && matches!(bytes[0], 2 | 4 | 8));
        Intset(bytes)
    }

    /// Whether `bytes` are an intset. An empty one passes; whether it may be a value is the caller's.
    pub fn validate(bytes: &[u8]) -> bool {
        let Some((header, members)) = bytes.split_first_chunk::<HEADER>() else { return false };
        let [w0, w1, w2, w3, n0, n1, n2, n3] = *header;
        let width = u32::from_le_bytes([w0, w1, w2, w3]);
        let len = u32::from_le_bytes([n0, n1, n2, n3]);
        if !matches!(width, 2 | 4 | 8) || u64::from(width) * u64::from(len) != members.len() as u64 {
            return false;
        }
        Intset(bytes).iter().is_sorted_by(|a, b| a < b)
    }

    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    #[inline]
    pub fn bytes_len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    pub fn len(&self) -> usize {
        (self.0.len() - HEADER) / self.encoding()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.len() == HEADER
    }

    /// Bytes a member: 2, 4 or 8.
    #[inline]
    pub fn encoding(&self) -> usize {
        self.0[0].into()
    }

    /// The member of rank `index`.
    #[inline]
    pub fn get(&self, index: usize) -> Option<i64> {
        (index < self.len()).then(|| self.at(index))
    }

    #[inline]
    pub fn first(&self) -> Option<i64> {
        self.get(0)
    }

    #[inline]
    pub fn last(&self) -> Option<i64> {
        self.get(self.len().wrapping_sub(1))
    }

    #[inline]
    pub fn contains(&self, value: i64) -> bool {
        self.rank(value).is_ok()
    }

    /// The rank of `value`, or the rank that it would get.
    #[inline]
    pub fn rank(&self, value: i64) -> Result<usize, usize> {
        let members = &self.0[HEADER..];
        match self.encoding() {
            2 => members.as_chunks().0.binary_search_by(|m| i64::from(i16::from_le_bytes(*m)).cmp(&value)),
            4 => members.as_chunks().0.binary_search_by(|m| i64::from(i32::from_le_bytes(*m)).cmp(&value)),
            _ => members.as_chunks().0.binary_search_by(|m| i64::from_le_bytes(*m).cmp(&value)),
        }
    }

    /// Members in ascending order.
    #[inline]
    pub fn iter(&self) -> Iter<'a> {
        Iter { set: *self, front: 0, back: self.len() }
    }

    #[inline]
    fn at(&self, index: usize) -> i64 {
        let width = self.encoding();
        let member = &self.0[HEADER + index * width..][..width];
        match *member {
            [a, b] => i16::from_le_bytes([a, b]).into(),
            [a, b, c, d] => i32::from_le_bytes([a, b, c, d]).into(),
            [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
            _ => panic!("an intset's member has 2, 4 or 8 bytes"),
        }
    }
}

impl<'a> IntoIterator for Intset<'a> {
    type Item = i64;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// See [`Intset::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    set: Intset<'a>,
    front: usize,
    back: usize,
}

impl Iterator for Iter<'_> {
    type Item = i64;

    #[inline]
    fn next(&mut self) -> Option<i64> {
        (self.front < self.back).then(|| {
            self.front += 1;
            self.set.at(self.front - 1)
        })
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.back - self.front;
        (left, Some(left))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<i64> {
        (self.front < self.back).then(|| {
            self.back -= 1;
            self.set.at(self.back)
        })
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// An empty intset, to start a blob from.
pub fn empty() -> &'static [u8; 8] {
    &[2, 0, 0, 0, 0, 0, 0, 0]
}

/// Adds `value`, widening every member first where it does not fit; whether it was new.
pub fn add<B: Blob + ?Sized>(blob: &mut B, value: i64) -> bool {
    let set = Intset::new(blob);
    let (width, needed) = (set.encoding(), width_of(value));
    if needed > width {
        let wider = widened(set, needed, value);
        let old = blob.len();
        blob.splice(0, old, &wider);
        return true;
    }
    // Ascending inserts are common: spare them the search.
    let rank = match set.last() {
        Some(last) if value > last => set.len(),
        _ => match set.rank(value) {
            Ok(_) => return false,
            Err(rank) => rank,
        },
    };
    blob.splice(HEADER + rank * width, 0, &value.to_le_bytes()[..width]);
    settle(blob.bytes_mut());
    true
}

/// Removes `value`; whether it was there.
pub fn remove<B: Blob + ?Sized>(blob: &mut B, value: i64) -> bool {
    let set = Intset::new(blob);
    let Ok(rank) = set.rank(value) else { return false };
    let width = set.encoding();
    blob.splice(HEADER + rank * width, width, &[]);
    settle(blob.bytes_mut());
    true
}

fn width_of(value: i64) -> usize {
    if i16::try_from(value).is_ok() {
        2
    } else if i32::try_from(value).is_ok() {
        4
    } else {
        8
    }
}

/// The set in a wider encoding together with `value`, which the old one could not hold: it is before or after all.
fn widened(set: Intset, width: usize, value: i64) -> Vec<u8> {
    let mut wider = Vec::with_capacity(HEADER + (set.len() + 1) * width);
    wider.extend_from_slice(&[width as u8, 0, 0, 0, 0, 0, 0, 0]);
    let (before, after) = if value < 0 { (Some(value), None) } else { (None, Some(value)) };
    for member in before.into_iter().chain(set).chain(after) {
        wider.extend_from_slice(&member.to_le_bytes()[..width]);
    }
    settle(&mut wider);
    wider
}

/// Writes the count after an edit.
fn settle(bytes: &mut [u8]) {
    let len = u32::try_from(Intset(bytes).len()).expect("an intset has below 2^32 members");
    bytes[4..HEADER].copy_from_slice(&len.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn pack(values: &[i64]) -> Vec<u8> {
        let mut set = empty().to_vec();
        for &v in values {
            assert!(add(&mut set, v));
        }
        set
    }

    fn unhex(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
    }

    /// What Redis 7.0 dumps for small sets.
    #[test]
    fn sets_have_redis_bytes() {
        for (values, hex) in [
            (&[1][..], "02000000010000000100"),
            (&[3, 1, 2], "0200000003000000010002000300"),
            (&[-32768, 32767], "02000000020000000080ff7f"),
            (&[1, 32768], "04000000020000000100000000800000"),
            (&[1, -32769, 5], "0400000003000000ff7fffff0100000005000000"),
            (&[1, 2147483648], "080000000200000001000000000000000000008000000000"),
            (&[5, -2147483649, 70000], "0800000003000000ffffff7fffffffff05000000000000007011010000000000"),
            (&[i64::MIN, i64::MAX, 0], "080000000300000000000000000000800000000000000000ffffffffffffff7f"),
        ] {
            let set = pack(values);
            assert_eq!(set, unhex(hex), "{values:?}");
            assert!(Intset::validate(&set));
        }
    }

    #[test]
    fn removing_never_narrows() {
        let mut set = pack(&[1, 2, 3, 100_000]);
        assert!(remove(&mut set, 100_000) && !remove(&mut set, 100_000) && !remove(&mut set, i64::MAX));
        assert_eq!(set, unhex("0400000003000000010000000200000003000000"));
    }

    #[test]
    fn validate_refuses_what_is_no_intset() {
        assert!(Intset::validate(empty()));
        for bad in [
            "",
            "02000000000000",
            "03000000000000000000",
            "00000000000000",
            "02010000010000000100",
            "020000000200000001000100",
            "020000000200000002000100",
            "020000000200000001",
            "0200000001000000010002",
            "08000000ffffffff0100",
            "0200000000000080",
        ] {
            assert!(!Intset::validate(&unhex(bad)), "{bad}");
        }
    }

    fn value() -> impl Strategy<Value = i64> {
        prop_oneof![
            4 => -20..20i64,
            1 => (prop::sample::select(vec![0, 32767, 2_147_483_647, i64::MAX]), any::<bool>(), -2..=2i64)
                .prop_map(|(edge, negative, by)| if negative { !edge } else { edge }.saturating_add(by)),
            1 => (any::<i64>(), 0..64u32).prop_map(|(v, s)| v >> s),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn edits_match_a_btree_set(ops in prop::collection::vec((any::<bool>(), value()), 0..80), probe in value()) {
            let (mut set, mut model) = (empty().to_vec(), BTreeSet::new());
            for (adding, v) in ops {
                if adding {
                    prop_assert_eq!(add(&mut set, v), model.insert(v));
                } else {
                    prop_assert_eq!(remove(&mut set, v), model.remove(&v));
                }
            }
            prop_assert!(Intset::validate(&set));
            let view = Intset::new(&set);
            prop_assert_eq!((view.len(), view.is_empty()), (model.len(), model.is_empty()));
            prop_assert_eq!((view.first(), view.last()), (model.first().copied(), model.last().copied()));
            prop_assert!(view.iter().eq(model.iter().copied()) && view.iter().rev().eq(model.iter().rev().copied()));
            prop_assert_eq!(view.get(model.len()), None);
            for (i, &v) in model.iter().enumerate() {
                prop_assert_eq!((view.get(i), view.rank(v)), (Some(v), Ok(i)));
            }
            prop_assert_eq!(view.contains(probe), model.contains(&probe));
        }

        #[test]
        fn validate_never_panics(bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(2), Just(4), any::<u8>()], 0..40)) {
            if Intset::validate(&bytes) {
                prop_assert_eq!(Intset::new(&bytes).iter().count(), Intset::new(&bytes).len());
            }
        }
    }
}
