//! Randomness, injected: seeded in tests so that a failure can be run again, from the operating system otherwise. Good
//! enough for sampling, eviction and ids; not for secrets.
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

/// xoshiro256++ (Blackman and Vigna, 2019). Not shared: each thread or structure owns one, by `fork`.
#[derive(Debug, Clone)]
pub struct Rng([u64; 4]);

impl Rng {
    /// The same seed gives the same numbers, always.
    pub fn from_seed(seed: u64) -> Self {
        let mut x = seed;
        Rng([(); 4].map(|()| splitmix(&mut x)))
    }

    pub fn from_os() -> Self {
        // The standard library keys its hasher from the operating system's randomness.
        let keyed = RandomState::new();
        let mut state = [0, 1, 2, 3].map(|i: u64| keyed.hash_one(i));
        state[0] |= u64::from(state == [0; 4]);
        Rng(state)
    }

    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let s = &mut self.0;
        let out = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// Uniform in `0..n`, without bias (Lemire's multiplication). Panics when `n` is 0.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0);
        let mut wide = u128::from(self.next_u64()) * u128::from(n);
        if (wide as u64) < n {
            let reject = n.wrapping_neg() % n;
            while (wide as u64) < reject {
                wide = u128::from(self.next_u64()) * u128::from(n);
            }
        }
        (wide >> 64) as u64
    }

    /// Uniform in a nonempty range.
    #[inline]
    pub fn range(&mut self, r: Range<u64>) -> u64 {
        assert!(r.start < r.end);
        r.start + self.below(r.end - r.start)
    }

    /// Uniform in `[0, 1)`, of 53 bits.
    #[inline]
    pub fn f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }

    pub fn fill_bytes(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    /// Another generator whose numbers are independent of this one's from here on.
    pub fn fork(&mut self) -> Self {
        let mut x = self.next_u64();
        let mut state = self.0;
        for s in &mut state {
            *s ^= splitmix(&mut x);
        }
        state[0] |= u64::from(state == [0; 4]);
        Rng(state)
    }

    /// 40 hexadecimal digits: a run id or replication id.
    pub fn hex_id(&mut self) -> [u8; 40] {
        let mut raw = [0; 20];
        self.fill_bytes(&mut raw);
        std::array::from_fn(|i| b"0123456789abcdef"[usize::from(raw[i / 2] >> (4 * (i % 2)) & 15)])
    }
}

fn splitmix(x: &mut u64) -> u64 {
    *x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *x;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_sequence() {
        let mut r = Rng([1, 2, 3, 4]);
        assert_eq!([(); 4].map(|()| r.next_u64()), [41943041, 58720359, 3588806011781223, 3591011842654386]);
        let mut x = 1234567;
        assert_eq!(splitmix(&mut x), 6457827717110365317);
    }

    #[test]
    fn a_seed_repeats_and_forks_differ() {
        let (mut a, mut b) = (Rng::from_seed(7), Rng::from_seed(7));
        assert_eq!(a.hex_id(), b.hex_id());
        let mut f = a.fork();
        assert_ne!(f.next_u64(), a.next_u64());
        assert_ne!(Rng::from_os().hex_id(), Rng::from_os().hex_id());
        assert!(a.hex_id().iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
    }

    #[test]
    fn bounds_and_evenness() {
        let mut r = Rng::from_seed(1);
        let mut seen = [0u32; 6];
        for _ in 0..60_000 {
            seen[r.below(6) as usize] += 1;
            assert!((10..13).contains(&r.range(10..13)));
            assert!((0.0..1.0).contains(&r.f64()));
        }
        assert!(seen.iter().all(|&n| (9_500..10_500).contains(&n)), "{seen:?}");
        assert_eq!(r.below(1), 0);
        // Where a plain remainder would show: two thirds of the values would fall in the lower half.
        let n = 3u64 << 62;
        let low = (0..10_000).filter(|_| r.below(n) < n / 2).count();
        assert!((4_700..5_300).contains(&low), "{low}");
    }

    #[test]
    fn shuffles_keep_and_move() {
        let mut r = Rng::from_seed(3);
        let mut v: Vec<u32> = (0..100).collect();
        r.shuffle(&mut v);
        assert_ne!(v, (0..100).collect::<Vec<_>>());
        v.sort_unstable();
        assert_eq!(v, (0..100).collect::<Vec<_>>());
        let mut bytes = [0; 13];
        r.fill_bytes(&mut bytes);
        assert!(bytes.iter().filter(|&&b| b == 0).count() < 5);
    }
}
