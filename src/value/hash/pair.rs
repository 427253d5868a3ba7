//! A pair of a hash's table, in one allocation: the field's bytes, then the value's, with their lengths in the upper half
//! of the table's eight-byte slot, so that 16 and 16 bytes take 32. What does not fit there stands before the bytes:
//! long lengths, and the instant at which the field expires. So a field without a TTL pays nothing for those with one,
//! and a look-up that has found the pair has found its TTL.
#![allow(unsafe_code)]
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr;

use crate::base::alloc::size_class;
use crate::value::listpack::Elem;
use crate::value::table::{self, Slot, View};

/// A field, its value, and when it expires: the address of their bytes, and above it the two lengths, eight bits each.
/// Where one is too long for that, or the field expires, 64-bit words stand before the bytes: both lengths, the expiry.
pub struct Pair(u64);

const ADDRESS_BITS: u32 = 48;
const ADDRESS: u64 = (1 << ADDRESS_BITS) - 1;
/// In place of the field's length: look into the allocation. The value's length says what for.
const HEADED: usize = 0xff;
const LONG: usize = 0;
const EXPIRING: usize = 1;
const LONG_HEADER: usize = 16;
const EXPIRY_HEADER: usize = 24;

impl Pair {
    /// `at`: when the field expires, in Unix milliseconds.
    pub(super) fn new(field: &[u8], value: &[u8], at: Option<u64>) -> Self {
        let (head, kind) = match at {
            Some(_) => (EXPIRY_HEADER, EXPIRING),
            None if field.len() >= HEADED || value.len() >= HEADED => (LONG_HEADER, LONG),
            None => (0, 0),
        };
        let layout = pair_layout(head + field.len() + value.len());
        // SAFETY: the layout is not empty and has room for the header, if any, and both texts; it is 8-aligned.
        let address = unsafe {
            let start = alloc(layout);
            if start.is_null() {
                handle_alloc_error(layout);
            }
            if head > 0 {
                start.cast::<[u64; 2]>().write([field.len() as u64, value.len() as u64]);
            }
            if let Some(at) = at {
                start.cast::<u64>().add(2).write(at);
            }
            ptr::copy_nonoverlapping(field.as_ptr(), start.add(head), field.len());
            ptr::copy_nonoverlapping(value.as_ptr(), start.add(head + field.len()), value.len());
            start.expose_provenance() as u64
        };
        let lengths = if head > 0 { HEADED | kind << 8 } else { field.len() | value.len() << 8 };
        assert!(address >> ADDRESS_BITS == 0, "user space has 48-bit addresses");
        Pair(address | (lengths as u64) << ADDRESS_BITS)
    }

    fn address(&self) -> *mut u8 {
        ptr::with_exposed_provenance_mut((self.0 & ADDRESS) as usize)
    }

    /// Header bytes and the lengths of field and value.
    fn lengths(&self) -> (usize, usize, usize) {
        let lengths = (self.0 >> ADDRESS_BITS) as usize;
        let (field, value) = (lengths & 0xff, lengths >> 8);
        if field != HEADED {
            return (0, field, value);
        }
        let head = if value == LONG { LONG_HEADER } else { EXPIRY_HEADER };
        // SAFETY: the mark says that the allocation starts with two words.
        let [field, value] = unsafe { self.address().cast::<[u64; 2]>().read() };
        (head, field as usize, value as usize)
    }

    /// Tells it from the other pairs of its table, until it changes.
    pub(super) fn id(&self) -> u64 {
        self.0
    }

    /// When the field expires, in Unix milliseconds.
    pub fn expire_ms(&self) -> Option<u64> {
        // SAFETY: the mark says that the third word of the allocation is the expiry.
        self.expires().then(|| unsafe { self.address().cast::<u64>().add(2).read() })
    }

    fn expires(&self) -> bool {
        self.0 >> ADDRESS_BITS == (HEADED | EXPIRING << 8) as u64
    }

    /// Whether the field's time comes after the horizon.
    #[inline]
    pub(super) fn lives(&self, horizon: u64) -> bool {
        self.expire_ms().is_none_or(|at| at > horizon)
    }

    pub fn field(&self) -> &[u8] {
        let (head, field, _) = self.lengths();
        // SAFETY: the field's bytes lie in the allocation, which lives as long as the pair.
        unsafe { std::slice::from_raw_parts(self.address().add(head), field) }
    }

    pub fn value(&self) -> &[u8] {
        let (head, field, value) = self.lengths();
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(self.address().add(head + field), value) }
    }

    pub(super) fn elems(&self) -> (Elem<'_>, Elem<'_>) {
        (Elem::Str(self.field()), Elem::Str(self.value()))
    }

    /// The texts of a pair that lies in `_owner`, for as long as that is borrowed: a table does not change while it is.
    pub(super) fn parts_of<'a>(&self, _owner: &'a View<Pair>) -> (&'a [u8], &'a [u8]) {
        let (head, field, value) = self.lengths();
        let at = self.address();
        // SAFETY: the bytes lie in the allocation, which lives and stays as it is while the view is borrowed.
        unsafe {
            (
                std::slice::from_raw_parts(at.add(head), field),
                std::slice::from_raw_parts(at.add(head + field), value),
            )
        }
    }

    pub(super) fn set(&mut self, value: &[u8], at: Option<u64>) {
        let (head, field, old) = self.lengths();
        if old != value.len() || at.is_some() != self.expires() {
            *self = Pair::new(self.field(), value, at);
            return;
        }
        // SAFETY: the value's bytes and the third word, if it is the expiry, lie in the allocation, ours alone; `value` is
        // a foreign slice.
        unsafe {
            ptr::copy_nonoverlapping(value.as_ptr(), self.address().add(head + field), old);
            if let Some(at) = at {
                self.address().cast::<u64>().add(2).write(at);
            }
        }
    }

    /// The field expires then, or no longer.
    pub(super) fn set_expire(&mut self, at: Option<u64>) {
        match at {
            // SAFETY: the third word is the expiry, and the allocation ours alone.
            Some(at) if self.expires() => unsafe { self.address().cast::<u64>().add(2).write(at) },
            _ => *self = Pair::new(self.field(), self.value(), at),
        }
    }

    fn size(&self) -> usize {
        let (head, field, value) = self.lengths();
        head + field + value
    }

    pub(super) fn mem_bytes(&self) -> usize {
        size_class(pair_layout(self.size()).size())
    }
}

fn pair_layout(size: usize) -> Layout {
    Layout::from_size_align(size.max(1).next_multiple_of(8), 8).expect("sizes are far below isize::MAX")
}

impl Clone for Pair {
    fn clone(&self) -> Self {
        Pair::new(self.field(), self.value(), self.expire_ms())
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, freed once.
        unsafe { dealloc(self.address(), pair_layout(self.size())) };
    }
}

impl Slot for Pair {
    fn hash(&self, seed: u64) -> u64 {
        table::hash(seed, self.field())
    }

    fn matches(&self, key: &[u8]) -> bool {
        self.field() == key
    }

    fn prefetch(&self) {
        table::prefetch(self.address());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_all_lengths() {
        for (f, v) in
            [(0, 0), (1, 0), (0, 1), (254, 254), (255, 0), (255, 1), (3, 255), (70_000, 5), (5, 70_000)]
        {
            let (field, value) = (vec![b'f'; f], vec![b'v'; v]);
            let mut pair = Pair::new(&field, &value, None).clone();
            let check = |pair: &Pair, value: &[u8], at| {
                assert_eq!((pair.field(), pair.value(), pair.expire_ms()), (&*field, value, at));
            };
            check(&pair, &value, None);
            pair.set(b"other", None);
            check(&pair, b"other", None);
            pair.set(b"again", Some(1 << 46));
            check(&pair.clone(), b"again", Some(1 << 46));
            pair.set_expire(Some(3));
            check(&pair, b"again", Some(3));
            pair.set(b"same.", Some(4));
            check(&pair, b"same.", Some(4));
            assert!(pair.lives(3) && !pair.lives(4));
            pair.set_expire(None);
            check(&pair, b"same.", None);
            check(&Pair::new(&field, &value, Some(7)), &value, Some(7));
        }
        assert_eq!(Pair::new(&[b'f'; 16], &[b'v'; 16], None).mem_bytes(), 32);
    }
}
