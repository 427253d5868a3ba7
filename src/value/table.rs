//! The hash table of the keyspace and of large hashes, sets and sorted sets: a persistent hash trie with fat leaves.
//!
//! The top 48 bits of an entry's hash (after the bits that chose its shard) are its *position*. A small table is one
//! leaf: up to 127 buckets of one cache line, seven entries each, found by linear probing from a *home* that grows with
//! the position. A leaf grows by being rebuilt one allocator size class larger; a full one becomes an inner node, whose
//! 16 children are chosen by the position's next four bits. So no step moves more than one leaf's entries, and:
//!
//! - *SCAN.* Homes follow positions at every size, so a cursor is a position and a step emits the range up to the next
//!   home bucket's start. Ranges never overlap, whatever grew or shrank in between: what is there throughout is
//!   returned exactly once.
//! - *Pinning.* Nodes are counted. A pin is one more owner of the root; while it lives, a writer copies the nodes that
//!   it touches and that have another owner, but of a leaf only the slots: the entries are lent, and copied as they are
//!   changed. Without a living pin, and once all loans are settled, it looks at no count at all.
//! - *Random.* Owners know how many entries are below, so a walk by rank and a draw within the leaf are uniform.
//!
//! Invariants: a node's count is exact; a bucket's overflow byte is the number of entries that were pushed past it, 255
//! meaning "or more", so a probe may end where it is 0; an entry is at or after its home, with wrap-around in the leaf.
//!
//! A hot path: no logging, no allocation but a growing leaf's. The methods of [`Slot`] must not panic: memory stays
//! sound if they do, but entries may leak and counts go wrong.
#![allow(unsafe_code)]
mod node;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use node::{DEPTH_MAX, FAN_OUT, LEAF_BUCKETS, Mask, Node, SLOTS, fit, limit};
use rapidhash::v3::{RapidSecrets, rapidhash_v3_micro_inline};

/// Bits of a position.
pub const POSITION_BITS: u32 = 48;
/// One past the last position: what a scan returns at the end.
pub const POSITION_END: u64 = 1 << POSITION_BITS;
/// An inner node with fewer entries becomes a leaf: a quarter of what a leaf holds before it splits.
const FOLD_BELOW: usize = LEAF_BUCKETS * SLOTS * 7 / 8 / 4;
/// How far ahead a rebuild asks for the entries whose keys it will hash.
const PREFETCH_AHEAD: usize = 12;

/// What a table stores: eight bytes, most often an owning pointer to the entry.
pub trait Slot: Clone + Send + Sync {
    /// [`hash`] of the entry's key.
    fn hash(&self, seed: u64) -> u64;
    /// Whether `key` is the entry's key.
    fn matches(&self, key: &[u8]) -> bool;
    /// Asks for the memory that `hash` and `matches` will read; see [`prefetch`].
    fn prefetch(&self) {}
}

/// The seeded hash of keys and members. Its secrets follow from the seed: with known ones, colliding keys could be made
/// without knowing the seed.
#[inline]
pub fn hash(seed: u64, key: &[u8]) -> u64 {
    Hasher::new(seed).hash(key)
}

/// [`hash`] with its secrets made once.
pub struct Hasher(RapidSecrets);

impl Hasher {
    #[inline]
    pub fn new(seed: u64) -> Self {
        let mixed = (seed ^ 0x6c62_272e_07bb_0142).wrapping_mul(0xd6e8_feb8_6659_fd93);
        let mixed = mixed ^ mixed >> 32;
        let secrets = RapidSecrets {
            seed: mixed,
            secrets: [
                mixed.rotate_left(11) ^ 0x9e37_79b9_7f4a_7c15,
                mixed.rotate_left(19) ^ 0xc2b2_ae3d_27d4_eb4f,
                mixed.rotate_left(29) ^ 0x1656_67b1_9e37_79f9,
                mixed.rotate_left(37) ^ 0x85eb_ca77_c2b2_ae63,
                mixed.rotate_left(43) ^ 0x27d4_eb2f_1656_67c5,
                mixed.rotate_left(53) ^ 0xff51_afd7_ed55_8ccd,
                mixed.rotate_left(59) ^ 0xc4ce_b9fe_1a85_ec53,
            ],
        };
        Hasher(secrets)
    }

    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        rapidhash_v3_micro_inline::<true, true>(key, &self.0)
    }
}

/// Whether two keys are the same. Short ones, as most are, without a call.
#[inline]
pub fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() || a.len() > 16 {
        return a == b;
    }
    // The first and the last eight may overlap.
    match (a.first_chunk::<8>(), a.last_chunk::<8>(), b.first_chunk::<8>(), b.last_chunk::<8>()) {
        (Some(a), Some(a_end), Some(b), Some(b_end)) => a == b && a_end == b_end,
        _ => a == b,
    }
}

/// Asks the processor to bring a cache line near; any address will do.
#[inline(always)]
pub fn prefetch<T: ?Sized>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint and never faults.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a prefetch is a hint and never faults.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address.cast::<u8>(), options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

/// A position's bits, at the top of the word.
#[inline]
fn place(hash: u64, skip_bits: u32) -> u64 {
    (hash << skip_bits) & !(u64::MAX >> POSITION_BITS)
}

/// The byte kept beside an entry; from the hash's low end, far from the bits that choose the bucket.
#[inline]
fn tag(hash: u64) -> u8 {
    (hash as u8).max(1)
}

/// The reading half of a table, which [`Table`] and [`Pinned`] share. Owns one reference to the root. What a look-up
/// reads comes first.
#[repr(C)]
pub struct View<T: Slot> {
    root: Node,
    skip_bits: u32,
    seed: u64,
    items: PhantomData<T>,
}

// SAFETY: a view owns its share of nodes that nobody changes while another owner exists; counts are atomic, and what
// other threads may then read, clone and drop is Send and Sync.
unsafe impl<T: Slot> Send for View<T> {}
// SAFETY: as above; all methods on &View only read.
unsafe impl<T: Slot> Sync for View<T> {}

impl<T: Slot> Drop for View<T> {
    fn drop(&mut self) {
        // SAFETY: the root is ours and not used again.
        unsafe { self.root.release::<T>() };
    }
}

impl<T: Slot> View<T> {
    #[inline]
    pub fn len(&self) -> usize {
        self.root.len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The hash that this table expects for `key`.
    #[inline]
    pub fn hash_of(&self, key: &[u8]) -> u64 {
        hash(self.seed, key)
    }

    pub fn get(&self, key: &[u8]) -> Option<&T> {
        self.get_hashed(self.hash_of(key), key)
    }

    #[inline]
    pub fn get_hashed(&self, hash: u64, key: &[u8]) -> Option<&T> {
        let (leaf, place) = self.leaf(hash);
        // SAFETY: a node of this view is of T and lives as long as it; the slot that `find` gives is occupied.
        unsafe {
            let (bucket, slot) = leaf.find::<T>(place, tag(hash), key)?;
            Some(leaf.bucket::<T>(bucket).item(slot))
        }
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How many top bits of the hashes are the same for all entries.
    pub fn prefix_bits(&self) -> u32 {
        self.skip_bits
    }

    /// Asks for the bucket where a `get_hashed` of the same hash will look.
    #[inline]
    pub fn prefetch_hashed(&self, hash: u64) {
        let (leaf, place) = self.leaf(hash);
        prefetch(leaf.bucket_address(Node::home(place, leaf.buckets())));
    }

    /// Asks for the entries that the tags of the home bucket let through, the step after [`View::prefetch_hashed`].
    #[inline]
    pub fn prefetch_entry_hashed(&self, hash: u64) {
        let (leaf, place) = self.leaf(hash);
        if !leaf.is_empty_node() {
            // SAFETY: a leaf of T of this view; home is below its number of buckets; a tag is never 0.
            unsafe {
                let bucket = leaf.bucket::<T>(Node::home(place, leaf.buckets()));
                bucket.matching(tag(hash)).for_each(|slot| bucket.item(slot).prefetch());
            }
        }
    }

    /// The leaf or nothing at a hash, and the place's bits below it.
    #[inline]
    fn leaf(&self, hash: u64) -> (Node, u64) {
        let mut node = self.root;
        let mut place = place(hash, self.skip_bits);
        while node.is_inner() {
            // SAFETY: alive as long as the view.
            node = unsafe { node.children() }[(place >> 60) as usize];
            place <<= 4;
        }
        (node, place)
    }

    /// Every entry once, in bucket order, which is nearly the order of hashes.
    pub fn iter(&self) -> Iter<'_, T> {
        let mut iter = Iter {
            path: [(Node::EMPTY, 0); DEPTH_MAX],
            depth: 0,
            leaf: Node::EMPTY,
            bucket: 0,
            slots: Mask::NONE,
            left: self.len(),
            items: PhantomData,
        };
        iter.enter(self.root);
        iter
    }

    /// One step of SCAN: emits at least `count` entries from `cursor` on, unless the end comes first, and returns the
    /// cursor to go on from, 0 at the end. Cursors are below 2^48; what is above starts nowhere and ends at once.
    pub fn scan(&self, cursor: u64, count: usize, emit: &mut impl FnMut(&T)) -> u64 {
        let mut position = cursor;
        let mut emitted = 0;
        while position < POSITION_END {
            position = self.scan_bucket(position, &mut |item| {
                emitted += 1;
                emit(item);
            });
            if emitted >= count {
                break;
            }
        }
        if position >= POSITION_END { 0 } else { position }
    }

    /// Emits the entries whose position is in `position..next`, where `next` is the start of the next home bucket or
    /// [`POSITION_END`], and returns `next`.
    pub fn scan_bucket(&self, position: u64, emit: &mut impl FnMut(&T)) -> u64 {
        if position >= POSITION_END {
            return POSITION_END;
        }
        let mut node = self.root;
        let mut place = position << (64 - POSITION_BITS);
        let mut span_bits = POSITION_BITS;
        while node.is_inner() {
            // SAFETY: alive as long as the view.
            node = unsafe { node.children() }[(place >> 60) as usize];
            place <<= 4;
            span_bits -= 4;
        }
        let start = position >> span_bits << span_bits;
        if node.is_empty_node() {
            return start + (1 << span_bits);
        }
        let buckets = node.buckets();
        let home = Node::home(place, buckets);
        // The first position of the next home: the least x with x * buckets >= (home + 1) << span_bits.
        let next = start + (((home as u128 + 1) << span_bits).div_ceil(buckets as u128)) as u64;
        let mut at = home;
        for _ in 0..buckets {
            // SAFETY: a leaf of T of this view, and `at` is below its number of buckets.
            let bucket = unsafe { node.bucket::<T>(at) };
            // SAFETY: occupied.
            bucket.occupied().for_each(|slot| unsafe { bucket.item(slot) }.prefetch());
            for slot in bucket.occupied() {
                // SAFETY: occupied.
                let item = unsafe { bucket.item(slot) };
                let of_item = self::place(item.hash(self.seed), self.skip_bits) >> (64 - POSITION_BITS);
                if (position..next).contains(&of_item) {
                    emit(item);
                }
            }
            if bucket.overflow() == 0 {
                break;
            }
            at = if at + 1 == buckets { 0 } else { at + 1 };
        }
        next
    }

    /// An entry, each equally likely. `below(n)` draws a number in `0..n`.
    pub fn random(&self, below: &mut impl FnMut(u64) -> u64) -> Option<&T> {
        if self.is_empty() {
            return None;
        }
        let mut rank = below(self.len() as u64) as usize;
        let mut node = self.root;
        while node.is_inner() {
            // SAFETY: alive as long as the view.
            node = *unsafe { node.children() }.iter().find(|child| {
                let inside = rank < child.len();
                rank -= if inside { 0 } else { child.len() };
                inside
            })?;
        }
        let buckets = node.buckets();
        // A slot is taken at least every seventh time, most often at least every third.
        for _ in 0..64 {
            let draw = below((buckets * SLOTS) as u64) as usize;
            let (bucket, slot) = (draw / SLOTS % buckets, draw % SLOTS);
            // SAFETY: a leaf of T of this view; the bucket exists and the slot is occupied.
            unsafe {
                let bucket = node.bucket::<T>(bucket);
                if bucket.tag(slot) != 0 {
                    return Some(bucket.item(slot));
                }
            }
        }
        // No luck (or a broken generator): the rank is uniform too, it only takes a walk through the leaf.
        for at in 0..buckets {
            // SAFETY: as above.
            let bucket = unsafe { node.bucket::<T>(at) };
            let mut slots = bucket.occupied();
            if rank < slots.len() {
                // SAFETY: occupied.
                return slots.nth(rank).map(|slot| unsafe { bucket.item(slot) });
            }
            rank -= slots.len();
        }
        None
    }
}

impl<'a, T: Slot> IntoIterator for &'a View<T> {
    type Item = &'a T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// Iterates over a [`View`].
pub struct Iter<'a, T: Slot> {
    /// Inner nodes above the leaf, and which child comes next.
    path: [(Node, usize); DEPTH_MAX],
    depth: usize,
    leaf: Node,
    bucket: usize,
    slots: Mask,
    left: usize,
    items: PhantomData<&'a T>,
}

// SAFETY: borrows a View, which is Sync.
unsafe impl<T: Slot> Send for Iter<'_, T> {}

impl<T: Slot> Iter<'_, T> {
    fn enter(&mut self, node: Node) {
        if node.is_inner() {
            self.path[self.depth] = (node, 0);
            self.depth += 1;
        } else if !node.is_empty_node() {
            crate::base::priority::pass();
            self.leaf = node;
            self.enter_bucket(0);
        }
    }

    /// Also asks for the next bucket's entries, as they will be read soon.
    fn enter_bucket(&mut self, at: usize) {
        self.bucket = at;
        // SAFETY: a leaf of T of the borrowed view; both buckets exist; the slots are occupied.
        unsafe {
            self.slots = self.leaf.bucket::<T>(at).occupied();
            if at + 1 < self.leaf.buckets() {
                let next = self.leaf.bucket::<T>(at + 1);
                next.occupied().for_each(|slot| next.item(slot).prefetch());
            }
        }
    }
}

impl<'a, T: Slot> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            if let Some(slot) = self.slots.next() {
                self.left = self.left.saturating_sub(1);
                // SAFETY: a leaf of T of the borrowed view, whose bucket exists and slot is occupied.
                return Some(unsafe { self.leaf.bucket::<T>(self.bucket).item(slot) });
            }
            if self.bucket + 1 < self.leaf.buckets() {
                self.enter_bucket(self.bucket + 1);
                continue;
            }
            self.leaf = Node::EMPTY;
            let (node, child) = self.path.get_mut(self.depth.checked_sub(1)?)?;
            if *child == FAN_OUT {
                self.depth -= 1;
                continue;
            }
            // SAFETY: an inner node of the borrowed view.
            let next = unsafe { node.children() }[*child];
            *child += 1;
            self.enter(next);
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T: Slot> ExactSizeIterator for Iter<'_, T> {}

/// Tells a table that some of its nodes may have other owners: all of its pins hold this token, and it does.
struct Pins(AtomicPtr<()>);

impl Pins {
    /// The token, for a new pin.
    fn add(&self) -> Arc<()> {
        let mut token = self.0.load(Ordering::Acquire);
        if token.is_null() {
            let fresh = Arc::into_raw(Arc::new(())).cast_mut();
            match self.0.compare_exchange(ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => token = fresh,
                Err(earlier) => {
                    // SAFETY: `fresh` came from into_raw and nobody saw it.
                    drop(unsafe { Arc::from_raw(fresh) });
                    token = earlier;
                }
            }
        }
        // SAFETY: the token came from into_raw, and the table keeps one count of it while it is stored here.
        unsafe {
            Arc::increment_strong_count(token);
            Arc::from_raw(token)
        }
    }

    /// Whether there was a pin since the last [`Pins::forget`].
    #[inline]
    fn existed(&mut self) -> bool {
        !self.0.get_mut().is_null()
    }

    /// Whether a pin lives. When none does, nodes have no owner but the table's tree, and what pins read is over.
    fn exist(&mut self) -> bool {
        let token = *self.0.get_mut();
        // SAFETY: the count that the table keeps, which ManuallyDrop leaves to it.
        !token.is_null() && Arc::get_mut(&mut ManuallyDrop::new(unsafe { Arc::from_raw(token) })).is_none()
    }

    /// No pin lives, nor what it left.
    fn forget(&mut self) {
        *self = Pins(AtomicPtr::new(ptr::null_mut()));
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let token = *self.0.get_mut();
        if !token.is_null() {
            // SAFETY: the count that the table keeps.
            drop(unsafe { Arc::from_raw(token) });
        }
    }
}

/// A table's content at one moment. Cheap to take and to clone, for any thread; reads like the table.
pub struct Pinned<T: Slot> {
    // Fields are dropped in order: nodes before the token that vouches for them.
    view: View<T>,
    token: Arc<()>,
}

impl<T: Slot> Clone for Pinned<T> {
    fn clone(&self) -> Self {
        let View { root, seed, skip_bits, .. } = &self.view;
        let view = View { root: root.share(), seed: *seed, skip_bits: *skip_bits, items: PhantomData };
        Pinned { view, token: self.token.clone() }
    }
}

impl<T: Slot> Deref for Pinned<T> {
    type Target = View<T>;

    fn deref(&self) -> &View<T> {
        &self.view
    }
}

impl<T: Slot> Pinned<T> {
    /// For giving the pin up in pieces.
    pub fn into_drainer(mut self) -> Drainer<T> {
        let root = std::mem::replace(&mut self.view.root, Node::EMPTY);
        Drainer { rest: vec![root], token: Some(self.token.clone()), items: PhantomData }
    }
}

/// Frees a table or a pin in pieces; dropping it frees the rest.
pub struct Drainer<T: Slot> {
    rest: Vec<Node>,
    token: Option<Arc<()>>,
    items: PhantomData<T>,
}

// SAFETY: owns references to nodes as a View does.
unsafe impl<T: Slot> Send for Drainer<T> {}
// SAFETY: has no method on &Drainer.
unsafe impl<T: Slot> Sync for Drainer<T> {}

impl<T: Slot> Drainer<T> {
    /// Frees about `budget` entries, at most one leaf more; true when nothing is left.
    pub fn drop_step(&mut self, budget: usize) -> bool {
        let mut done = 0;
        while done <= budget {
            let Some(node) = self.rest.pop() else {
                self.token = None;
                return true;
            };
            done += if node.is_inner() { FAN_OUT } else { node.len() + 1 };
            // SAFETY: the list owns its nodes.
            unsafe { node.release_step::<T>(&mut self.rest) };
        }
        self.rest.is_empty()
    }
}

impl<T: Slot> Drop for Drainer<T> {
    fn drop(&mut self) {
        while !self.drop_step(usize::MAX - 1) {}
    }
}

/// The table. Reading is [`View`]'s. Methods named `_hashed` take the key's [`hash`] under the table's seed.
#[repr(C)]
pub struct Table<T: Slot> {
    view: View<T>,
    bytes: usize,
    /// Entries that `reserve` announced and that did not all come yet; 0: none.
    expected: usize,
    pins: Pins,
    /// Leaves before this position borrow nothing, unless a pin lives.
    settled: u64,
}

impl<T: Slot> Deref for Table<T> {
    type Target = View<T>;

    #[inline]
    fn deref(&self) -> &View<T> {
        &self.view
    }
}

impl<T: Slot> Table<T> {
    const EIGHT_BYTES: () = assert!(size_of::<T>() == 8 && align_of::<T>() <= 8);

    /// An empty table, which has allocated nothing.
    pub fn new(seed: u64) -> Self {
        Self::with_prefix_bits(seed, 0)
    }

    /// A table of entries whose hashes all have the same top `skip_bits` (at most 16), as those of one shard.
    pub fn with_prefix_bits(seed: u64, skip_bits: u32) -> Self {
        let () = Self::EIGHT_BYTES;
        assert!(skip_bits <= 64 - POSITION_BITS);
        let view = View { root: Node::EMPTY, seed, skip_bits, items: PhantomData };
        let pins = Pins(AtomicPtr::new(ptr::null_mut()));
        Table { view, bytes: 0, expected: 0, pins, settled: POSITION_END }
    }

    /// A table for about `entries`; see [`Table::reserve`].
    pub fn with_capacity(seed: u64, entries: usize) -> Self {
        let mut table = Self::new(seed);
        table.reserve(entries);
        table
    }

    /// Announces that the table will have about `entries` in all, before a bulk load: leaves are then made in their
    /// final size as the entries come. Allocates nothing itself; the first removal withdraws it.
    pub fn reserve(&mut self, entries: usize) {
        self.expected = if entries > self.len() { entries } else { 0 };
    }

    /// Bytes of the table's own nodes, its entries' memory not included.
    pub fn mem_bytes(&self) -> usize {
        self.bytes
    }

    /// The content as it is now, for readers that take long. O(1).
    pub fn pin(&self) -> Pinned<T> {
        // Token first: no writer can be between the two, as writers have the table to themselves.
        let token = self.pins.add();
        let View { root, seed, skip_bits, .. } = &self.view;
        let view = View { root: root.share(), seed: *seed, skip_bits: *skip_bits, items: PhantomData };
        Pinned { view, token }
    }

    /// Whether nodes may have other owners, or leaves entries that are not theirs. Each writer asks once, and settles one
    /// more leaf's loan when the pins are gone.
    #[inline]
    fn shares(&mut self) -> bool {
        self.pins.existed() && self.shares_still()
    }

    #[cold]
    fn shares_still(&mut self) -> bool {
        if self.pins.exist() {
            self.settled = 0;
            return true;
        }
        !self.settle(1)
    }

    /// Frees what former pins left behind, of about `leaves` more leaves; true when nothing is left, or a pin lives.
    pub fn settle(&mut self, leaves: usize) -> bool {
        if !self.pins.existed() || self.pins.exist() {
            return true;
        }
        for _ in 0..leaves {
            if self.settled >= POSITION_END {
                self.pins.forget();
                return true;
            }
            let (mut node, mut span_bits) = (&mut self.view.root, POSITION_BITS);
            let mut place = self.settled << (64 - POSITION_BITS);
            while node.is_inner() {
                // SAFETY: alive, and without pins not shared.
                node = &mut unsafe { node.children_mut() }[(place >> 60) as usize];
                place <<= 4;
                span_bits -= 4;
            }
            if node.borrows() {
                // SAFETY: a leaf of T, ours alone without pins.
                unsafe { node.settle::<T>() };
            }
            self.settled = ((self.settled >> span_bits) + 1) << span_bits;
        }
        false
    }

    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut T> {
        self.get_mut_hashed(self.hash_of(key), key)
    }

    /// The entry, to be changed in place or exchanged for one of an equal key.
    pub fn get_mut_hashed(&mut self, hash: u64, key: &[u8]) -> Option<&mut T> {
        let shared = self.shares();
        if shared && self.get_hashed(hash, key).is_none() {
            return None; // before anything is copied for nothing
        }
        let (leaf, place) = self.leaf_mut(hash, shared);
        // SAFETY: a leaf of T, ours alone by now; `find` gives occupied slots.
        unsafe {
            let at = leaf.find::<T>(place, tag(hash), key)?;
            if shared {
                leaf.own::<T>(at);
            }
            Some(leaf.item_mut(at))
        }
    }

    /// The leaf or nothing at a hash, with all nodes down to it unshared.
    #[inline]
    fn leaf_mut(&mut self, hash: u64, shared: bool) -> (&mut Node, u64) {
        let mut place = place(hash, self.view.skip_bits);
        let mut node = &mut self.view.root;
        loop {
            if shared {
                // SAFETY: the table's nodes are of T.
                unsafe { node.unshare::<T>() };
            }
            if !node.is_inner() {
                return (node, place);
            }
            // SAFETY: alive, and not shared by now.
            node = &mut unsafe { node.children_mut() }[(place >> 60) as usize];
            place <<= 4;
        }
    }

    /// Adds an entry, or replaces the one with the same key, which it returns.
    pub fn insert_hashed(&mut self, hash: u64, key: &[u8], item: T) -> Option<T> {
        if let Some(found) = self.get_mut_hashed(hash, key) {
            return Some(std::mem::replace(found, item));
        }
        self.insert_new_hashed(hash, item);
        None
    }

    pub fn insert(&mut self, key: &[u8], item: T) -> Option<T> {
        self.insert_hashed(self.hash_of(key), key, item)
    }

    /// The entry of `key`, made by `make` if there was none; true when it was made.
    pub fn find_or_insert_with(&mut self, hash: u64, key: &[u8], make: impl FnOnce() -> T) -> (&mut T, bool) {
        let shared = self.shares();
        if !shared || self.get_hashed(hash, key).is_some() {
            let (leaf, place) = self.leaf_mut(hash, shared);
            // SAFETY: a leaf of T, ours alone by now; `find` gives occupied slots.
            let found = unsafe { leaf.find::<T>(place, tag(hash), key) }.map(|at| unsafe {
                if shared {
                    leaf.own::<T>(at);
                }
                ptr::from_mut(leaf.item_mut(at))
            });
            if let Some(item) = found {
                // SAFETY: from the borrow of the table that ends with the one returned.
                return (unsafe { &mut *item }, false);
            }
        }
        (self.insert_new_hashed(hash, make()), true)
    }

    /// Adds an entry whose key is not in the table (not checked: with it twice, either may be found).
    pub fn insert_new_hashed(&mut self, hash: u64, item: T) -> &mut T {
        let shared = self.shares();
        let expected = std::mem::take(&mut self.expected);
        let mut writer = Writer::new(&self.view, shared, expected);
        let mut place = place(hash, self.view.skip_bits);
        let mut node = &mut self.view.root;
        let len = node.len() + 1;
        let mut depth = 0;
        loop {
            if node.is_inner() {
                if shared {
                    // SAFETY: the table's nodes are of T.
                    unsafe { node.unshare::<T>() };
                }
                node.set_len(node.len() + 1);
                // SAFETY: alive, and not shared by now.
                node = &mut unsafe { node.children_mut() }[(place >> 60) as usize];
                place <<= 4;
                depth += 1;
            } else if node.len() < limit(node.buckets()) {
                break;
            } else {
                writer.grow(node, depth);
            }
        }
        if shared {
            // SAFETY: the table's nodes are of T.
            unsafe { node.unshare::<T>() };
        }
        self.bytes = self.bytes.wrapping_add_signed(writer.bytes);
        self.expected = if expected > len { expected } else { 0 };
        // SAFETY: a leaf of T below its limit and ours alone; the result is borrowed from the table.
        unsafe {
            let item = node.put(place, tag(hash), item);
            if shared {
                node.claim(item);
            }
            &mut *item
        }
    }

    pub fn remove(&mut self, key: &[u8]) -> Option<T> {
        self.remove_hashed(self.hash_of(key), key)
    }

    pub fn remove_hashed(&mut self, hash: u64, key: &[u8]) -> Option<T> {
        let shared = self.shares();
        if shared && self.get_hashed(hash, key).is_none() {
            return None; // before anything is copied for nothing
        }
        let mut writer = Writer::new(&self.view, shared, 0);
        let mut path = [ptr::null_mut::<Node>(); DEPTH_MAX + 1];
        let mut place = place(hash, self.view.skip_bits);
        let mut node = &raw mut self.view.root;
        let mut depth = 0;
        // SAFETY: nodes of T, reached through the table that we have to ourselves, and unshared before they are
        // changed; `path` points at parents' children, which stay where they are until the rebuild at the end, and
        // that is the last use.
        unsafe {
            loop {
                if shared {
                    (*node).unshare::<T>();
                }
                path[depth] = node;
                if !(*node).is_inner() {
                    break;
                }
                node = &raw mut (*node).children_mut()[(place >> 60) as usize];
                place <<= 4;
                depth += 1;
            }
            let at = (*node).find::<T>(place, tag(hash), key)?;
            if shared {
                (*node).own::<T>(at);
            }
            let item = (*node).take::<T>(place, at);
            self.expected = 0;
            let mut fold = None;
            for (above, inner) in path[..depth].iter().enumerate() {
                (**inner).set_len((**inner).len() - 1);
                if fold.is_none() && (**inner).len() < FOLD_BELOW {
                    fold = Some(above);
                }
            }
            if let Some(above) = fold {
                writer.rebuild_to_fit(&mut *path[above], above);
            } else if is_sparse(&*node) {
                writer.rebuild_to_fit(&mut *node, depth);
            }
            self.bytes = self.bytes.wrapping_add_signed(writer.bytes);
            Some(item)
        }
    }

    /// Keeps the entries for which `keep` says so; it is asked once for each. Leaves that lose nothing are not copied.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.expected = 0;
        let shared = self.shares();
        let mut writer = Writer::new(&self.view, shared, 0);
        writer.retain(&mut self.view.root, 0, &mut keep);
        self.bytes = self.bytes.wrapping_add_signed(writer.bytes);
    }

    /// Removes all entries. For a large table, [`Table::take`] and a [`Drainer`] do it in pieces.
    pub fn clear(&mut self) {
        drop(self.take());
    }

    /// Leaves an empty table with the same seed, and returns one with the content. O(1).
    pub fn take(&mut self) -> Table<T> {
        let empty = Self::with_prefix_bits(self.view.seed, self.view.skip_bits);
        std::mem::replace(self, empty)
    }

    /// For freeing the table in pieces.
    pub fn into_drainer(mut self) -> Drainer<T> {
        let root = std::mem::replace(&mut self.view.root, Node::EMPTY);
        // A copy of this table relies on the token for as long as a node is shared.
        let token = (!self.pins.0.get_mut().is_null()).then(|| self.pins.add());
        Drainer { rest: vec![root], token, items: PhantomData }
    }
}

/// A table of its own with the same content, in O(1): each of the two copies what it changes while both live. They
/// share one token, so either sees the other as a pin.
impl<T: Slot> Clone for Table<T> {
    fn clone(&self) -> Self {
        let token = AtomicPtr::new(Arc::into_raw(self.pins.add()).cast_mut());
        let View { root, seed, skip_bits, .. } = &self.view;
        let view = View { root: root.share(), seed: *seed, skip_bits: *skip_bits, items: PhantomData };
        Table { view, bytes: self.bytes, expected: 0, pins: Pins(token), settled: self.settled }
    }
}

/// Under a third full, and smaller would do.
fn is_sparse(leaf: &Node) -> bool {
    let buckets = leaf.buckets();
    leaf.len() * 3 < buckets * SLOTS && fit(with_slack(leaf.len())) < buckets || leaf.len() == 0
}

fn with_slack(entries: usize) -> usize {
    entries + entries / 8 + 1
}

/// What changes the shape of a table: growing, splitting, shrinking, folding.
struct Writer<T: Slot> {
    seed: u64,
    skip_bits: u32,
    shared: bool,
    expected: usize,
    /// Bytes that the tree gained.
    bytes: isize,
    items: PhantomData<T>,
}

impl<T: Slot> Writer<T> {
    #[inline]
    fn new(view: &View<T>, shared: bool, expected: usize) -> Self {
        let View { seed, skip_bits, .. } = *view;
        Writer { seed, skip_bits, shared, expected, bytes: 0, items: PhantomData }
    }

    /// Makes room for one more entry in a full leaf or where there is none, perhaps by making it an inner node.
    #[cold]
    #[inline(never)]
    fn grow(&mut self, node: &mut Node, depth: usize) {
        let len = node.len();
        let share = self.expected >> (4 * depth);
        if node.is_empty_node() && depth < DEPTH_MAX && fit(share) > LEAF_BUCKETS {
            *node = Node::new_inner([Node::EMPTY; FAN_OUT]);
            self.bytes += node.bytes() as isize;
            return;
        }
        // Small leaves grow by a third, larger ones to the next size class. What was announced comes in one step,
        // with two standard deviations of room, so that few leaves are rebuilt again.
        let wanted = if len < 64 { len + len / 3 + 1 } else { len + 1 };
        let announced = (share + 2 * share.isqrt()).min(limit(LEAF_BUCKETS));
        let room = if share > len { wanted.max(announced) } else { wanted };
        if node.is_empty_node() {
            *node = Node::new_leaf(fit(room));
            self.bytes += node.bytes() as isize;
        } else {
            self.rebuild(node, depth, room);
        }
    }

    fn rebuild_to_fit(&mut self, node: &mut Node, depth: usize) {
        self.rebuild(node, depth, with_slack(node.len()));
    }

    /// Replaces what is below by new nodes for the same entries, with room for `room` in all.
    fn rebuild(&mut self, node: &mut Node, depth: usize, room: usize) {
        let mut items = Vec::with_capacity(node.len());
        // SAFETY: a table's nodes are of T.
        self.bytes -= unsafe { node.take_all(self.shared, &mut items) } as isize;
        self.hash_all(&mut items);
        *node = self.build(items, depth, room);
    }

    fn hash_all(&self, items: &mut [(u64, T)]) {
        items.iter().take(PREFETCH_AHEAD).for_each(|(_, item)| item.prefetch());
        for at in 0..items.len() {
            if let Some((_, ahead)) = items.get(at + PREFETCH_AHEAD) {
                ahead.prefetch();
            }
            items[at].0 = items[at].1.hash(self.seed);
        }
    }

    fn build(&mut self, items: Vec<(u64, T)>, depth: usize, room: usize) -> Node {
        let buckets = fit(room.max(items.len()));
        if depth < DEPTH_MAX && buckets > LEAF_BUCKETS {
            let mut parts: [Vec<(u64, T)>; FAN_OUT] =
                std::array::from_fn(|_| Vec::with_capacity(items.len() / FAN_OUT * 5 / 4));
            for (hash, item) in items {
                parts[(place(hash, self.skip_bits) << (4 * depth) >> 60) as usize].push((hash, item));
            }
            let children = parts.map(|part| {
                let room = with_slack(part.len());
                self.build(part, depth + 1, room)
            });
            let inner = Node::new_inner(children);
            self.bytes += inner.bytes() as isize;
            return inner;
        }
        if items.is_empty() {
            return Node::EMPTY;
        }
        let mut leaf = Node::new_leaf(buckets);
        self.bytes += leaf.bytes() as isize;
        for (hash, item) in items {
            // SAFETY: the leaf is new, and `fit` gives at least as many slots as there are items.
            unsafe { leaf.put(place(hash, self.skip_bits) << (4 * depth), tag(hash), item) };
        }
        leaf
    }

    fn retain(&mut self, node: &mut Node, depth: usize, keep: &mut impl FnMut(&T) -> bool) {
        if node.is_inner() {
            if self.shared {
                // SAFETY: the table's nodes are of T.
                unsafe { node.unshare::<T>() };
            }
            // SAFETY: alive, and not shared by now.
            let children = unsafe { node.children_mut() };
            children.iter_mut().for_each(|child| self.retain(child, depth + 1, keep));
            node.set_len(children.iter().map(Node::len).sum());
            if node.len() < FOLD_BELOW {
                self.rebuild_to_fit(node, depth);
            }
            return;
        }
        let mut unwanted = Vec::new();
        for at in 0..node.buckets() {
            // SAFETY: a leaf of T, and `at` is below its number of buckets.
            let bucket = unsafe { node.bucket::<T>(at) };
            for slot in bucket.occupied() {
                // SAFETY: occupied.
                if !keep(unsafe { bucket.item(slot) }) {
                    unwanted.push((at, slot));
                }
            }
        }
        if unwanted.is_empty() {
            return;
        }
        if self.shared {
            // SAFETY: the table's nodes are of T.
            unsafe { node.unshare::<T>() };
        }
        for (at, slot) in unwanted {
            // SAFETY: the leaf is ours alone, and the slot is still occupied.
            unsafe {
                if self.shared {
                    node.own::<T>((at, slot));
                }
                let hash = node.bucket::<T>(at).item(slot).hash(self.seed);
                drop(node.take::<T>(place(hash, self.skip_bits) << (4 * depth), (at, slot)));
            }
        }
        if is_sparse(node) {
            self.rebuild_to_fit(node, depth);
        }
    }
}
