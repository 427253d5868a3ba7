//! A growable run of bytes that packed encodings (listpack, intset) are edited in: a `Vec<u8>` in tests and in list
//! chunks, the tail of a `Cell` in the keyspace.
use std::ops::Deref;

/// Bytes that can be edited in place.
pub trait Blob: Deref<Target = [u8]> {
    /// The same bytes, writable.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Replaces `remove` bytes at `at` by `insert`. Panics when `at + remove` is past the end, as slices do.
    fn splice(&mut self, at: usize, remove: usize, insert: &[u8]);
}

impl Blob for Vec<u8> {
    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }

    fn splice(&mut self, at: usize, remove: usize, insert: &[u8]) {
        let tail = at + remove;
        assert!(tail <= self.len());
        if insert.len() > remove {
            let grow = insert.len() - remove;
            let old = self.len();
            self.resize(old + grow, 0);
            self.copy_within(tail..old, tail + grow);
        } else if insert.len() < remove {
            self.copy_within(tail.., at + insert.len());
            self.truncate(self.len() - (remove - insert.len()));
        }
        self[at..at + insert.len()].copy_from_slice(insert);
    }
}
