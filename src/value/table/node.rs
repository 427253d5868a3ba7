//! The table's memory: leaves of cache-line buckets, inner nodes of 16 children, and their reference counts.
//!
//! A [`Node`] is a counted reference that its owner stores by value: pointer, number of entries below, number of
//! buckets. So a lookup reads no header, and a walk by rank reads no child. The header, which only sharing and freeing
//! look at, sits in the 16 bytes before what the pointer points at.
//!
//! A writer that meets a leaf with another owner copies its buckets alone, not the entries: those are lent. The copy has a
//! [`Loan`], which keeps the lender alive and says which slots are the lender's still. An entry is copied when it is to be
//! changed; when nobody else reads the lender any more, what is left of it is taken over, see [`Node::settle`].
//!
//! A leaf asks its allocator for 64 * (buckets + 1) bytes at alignment 16 and finds the cache-line boundary itself:
//! an aligned allocation makes some allocators add the alignment to the size, which would miss the size class that the
//! number of buckets was chosen to fill.
#![allow(unsafe_code)]
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Slot;

/// Slots of a bucket.
pub(super) const SLOTS: usize = 7;
/// Most buckets of a leaf that can still become an inner node.
pub(super) const LEAF_BUCKETS: usize = 127;
/// Children of an inner node.
pub(super) const FAN_OUT: usize = 16;
/// Lenders may borrow themselves, up to so many in a row: pins that overlap without end must not make a chain without
/// end. Beyond, entries are copied.
const LOANS_MAX: usize = 4;
/// Depth at which the 48 bits of a position are used up: a leaf there grows without limit.
pub(super) const DEPTH_MAX: usize = 12;

const BUCKET_BITS: u32 = 24;
const INNER: usize = (1 << BUCKET_BITS) - 1;
const HEADER: usize = size_of::<Header>();
const INNER_BYTES: usize = HEADER + FAN_OUT * size_of::<Node>();
const EACH: u64 = 0x0101_0101_0101_0101;
const LOW_BITS: u64 = 0x7f7f_7f7f_7f7f_7f7f;
const SLOT_HIGH_BITS: u64 = 0x0080_8080_8080_8080;

const _: () = assert!(size_of::<usize>() == 8 && HEADER == 16 && size_of::<Node>() == 16);

/// Most entries that a leaf of `buckets` holds: seven eighths, or all of a single bucket.
#[inline]
pub(super) fn limit(buckets: usize) -> usize {
    let slots = buckets * SLOTS;
    slots - slots / 8
}

/// Fewest buckets for `entries` that fill an allocator's size class (steps of 64 up to 512 bytes, then four a doubling).
/// From 1 KB on only two a doubling: entries spread evenly, so all leaves of a table grow at about the same time, and the
/// allocator keeps the places of those that have grown until all of a slab have; in the classes between slabs are long.
pub(super) fn fit(entries: usize) -> usize {
    let mut buckets = (entries / SLOTS).max(1);
    while limit(buckets) < entries {
        buckets += 1 + (entries - limit(buckets)) / SLOTS;
    }
    let bytes = (buckets + 1) * size_of::<Bucket<u64>>();
    let doubling = 1usize << (bytes - 1).ilog2();
    let step = if doubling < 1024 { (doubling >> 2).max(64) } else { doubling >> 1 };
    bytes.next_multiple_of(step) / 64 - 1
}

/// Seven entries and what a probe needs to know of them, in one cache line.
#[repr(C, align(64))]
pub(super) struct Bucket<T> {
    slots: [MaybeUninit<T>; SLOTS],
    /// Byte i: slot i's tag, 0 when it is free. Byte 7: how many entries were pushed past this bucket; 255 is sticky.
    tags: u64,
}

/// Slot numbers of a bucket.
#[derive(Clone, Copy)]
pub(super) struct Mask(u64);

impl Mask {
    pub(super) const NONE: Mask = Mask(0);

    pub(super) fn len(self) -> usize {
        self.0.count_ones() as usize
    }
}

impl Iterator for Mask {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let at = self.0.trailing_zeros() as usize >> 3;
        self.0 &= self.0 - 1;
        Some(at)
    }
}

impl<T> Bucket<T> {
    /// Slots that hold `tag` (0: the free ones). Exact in each byte.
    #[inline]
    pub(super) fn matching(&self, tag: u8) -> Mask {
        let differing = self.tags ^ (EACH * u64::from(tag));
        Mask(!(((differing & LOW_BITS) + LOW_BITS) | differing) & SLOT_HIGH_BITS)
    }

    #[inline]
    pub(super) fn occupied(&self) -> Mask {
        Mask((((self.tags & LOW_BITS) + LOW_BITS) | self.tags) & SLOT_HIGH_BITS)
    }

    #[inline]
    pub(super) fn overflow(&self) -> u64 {
        self.tags >> 56
    }

    #[inline]
    fn overflowed(&mut self) {
        if self.overflow() < 255 {
            self.tags += 1 << 56;
        }
    }

    #[inline]
    fn overflow_removed(&mut self) {
        if (1..255).contains(&self.overflow()) {
            self.tags -= 1 << 56;
        }
    }

    #[inline]
    pub(super) fn tag(&self, slot: usize) -> u8 {
        (self.tags >> (slot * 8)) as u8
    }

    /// # Safety
    /// `slot` is occupied.
    #[inline]
    pub(super) unsafe fn item(&self, slot: usize) -> &T {
        // SAFETY: an occupied slot is initialised.
        unsafe { self.slots.get_unchecked(slot).assume_init_ref() }
    }

    /// Puts `item` into the lowest free slot, which must exist.
    #[inline]
    fn put(&mut self, slot: usize, tag: u8, item: T) -> *mut T {
        self.tags |= u64::from(tag) << (slot * 8);
        self.slots[slot].write(item)
    }

    /// # Safety
    /// `slot` is occupied.
    unsafe fn take(&mut self, slot: usize) -> T {
        self.tags &= !(0xff << (slot * 8));
        // SAFETY: the slot was occupied and is free now, so the value is moved out once.
        unsafe { self.slots[slot].assume_init_read() }
    }
}

#[repr(C)]
struct Header {
    references: AtomicUsize,
    /// Its lowest bits are the distance from the allocation's start to what the node points at, above which a leaf may
    /// have the address of a loan.
    tail: *mut Loan,
}

/// What a loan's address leaves free; a distance is 16 to 64.
const OFFSET: usize = align_of::<Loan>() - 1;

/// Entries of a leaf that another one owns, in the same slots.
#[repr(align(128))]
struct Loan {
    /// A counted reference; nobody changes it while this is not the only one.
    lender: Node,
    /// By number of bucket * 7 + slot: this slot's entry, if there is one, is the lender's.
    slots: [u64; LOAN_WORDS],
}

const LOAN_WORDS: usize = (LEAF_BUCKETS * SLOTS).div_ceil(64);
const _: () = assert!(size_of::<Loan>() == 128);

impl Loan {
    fn has(&self, bucket: usize, slot: usize) -> bool {
        let at = bucket * SLOTS + slot;
        self.slots[at / 64] >> (at % 64) & 1 != 0
    }

    fn end(&mut self, bucket: usize, slot: usize) {
        let at = bucket * SLOTS + slot;
        self.slots[at / 64] &= !(1 << (at % 64));
    }
}

/// An owned, counted reference to a leaf, an inner node or nothing. Copies of the struct are not counted: who copies
/// it decides which copy is the owner.
#[derive(Clone, Copy)]
pub(super) struct Node {
    ptr: *mut u8,
    /// Entries below, then 24 bits: buckets, [`INNER`], or 0 for no node.
    info: u64,
}

impl Node {
    pub(super) const EMPTY: Node = Node { ptr: ptr::null_mut(), info: 0 };

    #[inline]
    pub(super) fn len(&self) -> usize {
        (self.info >> BUCKET_BITS) as usize
    }

    #[inline]
    pub(super) fn set_len(&mut self, len: usize) {
        self.info = (len as u64) << BUCKET_BITS | self.info & INNER as u64;
    }

    #[inline]
    pub(super) fn is_inner(&self) -> bool {
        self.info & INNER as u64 == INNER as u64
    }

    #[inline]
    pub(super) fn is_empty_node(&self) -> bool {
        self.info & INNER as u64 == 0
    }

    /// Buckets of a leaf, 0 of no node; not for inner nodes.
    #[inline]
    pub(super) fn buckets(&self) -> usize {
        debug_assert!(!self.is_inner());
        (self.info & INNER as u64) as usize
    }

    /// Bytes of this node's own allocation.
    pub(super) fn bytes(&self) -> usize {
        match self.is_inner() {
            true => INNER_BYTES,
            false if self.is_empty_node() => 0,
            false => (self.buckets() + 1) * 64,
        }
    }

    /// The bucket where a leaf of `buckets` looks first. `place` is the position's bits below this leaf, at the top;
    /// the result grows with it.
    #[inline]
    pub(super) fn home(place: u64, buckets: usize) -> usize {
        ((u128::from(place) * buckets as u128) >> 64) as usize
    }

    fn allocate(bytes: usize, align: usize) -> *mut u8 {
        let layout = Layout::from_size_align(bytes, 16).expect("a node's size is small");
        // SAFETY: the size is not zero.
        let base = unsafe { alloc(layout) };
        if base.is_null() {
            handle_alloc_error(layout);
        }
        let offset = (base.addr() + HEADER).next_multiple_of(align) - base.addr();
        // SAFETY: offset is 16 to `align`, and callers reserve `align` bytes before what they store; base is aligned
        // to 16, so the header before the result is too.
        unsafe {
            let ptr = base.add(offset);
            let tail = ptr::without_provenance_mut(offset);
            ptr.sub(HEADER).cast::<Header>().write(Header { references: AtomicUsize::new(1), tail });
            ptr
        }
    }

    pub(super) fn new_leaf(buckets: usize) -> Node {
        assert!(0 < buckets && buckets < INNER, "too many entries of one hash");
        let ptr = Node::allocate((buckets + 1) * 64, 64);
        for bucket in 0..buckets {
            // SAFETY: within the allocation; only the tags of a bucket must be initialised.
            unsafe { (&raw mut (*ptr.cast::<Bucket<u64>>().add(bucket)).tags).write(0) };
        }
        Node { ptr, info: buckets as u64 }
    }

    pub(super) fn new_inner(children: [Node; FAN_OUT]) -> Node {
        let len: usize = children.iter().map(Node::len).sum();
        let ptr = Node::allocate(INNER_BYTES, 16);
        // SAFETY: the allocation has room for the children after its header.
        unsafe { ptr.cast::<[Node; FAN_OUT]>().write(children) };
        Node { ptr, info: (len as u64) << BUCKET_BITS | INNER as u64 }
    }

    fn header(&self) -> &Header {
        debug_assert!(!self.is_empty_node());
        // SAFETY: every node but EMPTY has a header before it, alive as long as the reference.
        unsafe { &*self.ptr.sub(HEADER).cast::<Header>() }
    }

    /// The leaf's loan, for readers.
    ///
    /// # Safety
    /// `self` is a leaf that is alive for `'a`, and nobody changes it meanwhile.
    unsafe fn loan<'a>(&self) -> Option<&'a Loan> {
        let loan = self.header().tail.map_addr(|at| at & !OFFSET);
        // SAFETY: null, or from Box::into_raw, and given up only by who has the leaf alone.
        unsafe { loan.as_ref() }
    }

    /// # Safety
    /// `self` is a leaf that is alive for `'a` and not shared, and the result is the only way to its loan.
    unsafe fn loan_mut<'a>(&mut self) -> Option<&'a mut Loan> {
        let loan = self.header().tail.map_addr(|at| at & !OFFSET);
        // SAFETY: null, or from Box::into_raw, and ours as the leaf is.
        unsafe { loan.as_mut() }
    }

    /// Exchanges the leaf's loan.
    ///
    /// # Safety
    /// `self` is a leaf that is alive and not shared, or not used again.
    unsafe fn set_loan(&mut self, loan: Option<Box<Loan>>) -> Option<Box<Loan>> {
        let tail = self.header().tail;
        let offset = tail.addr() & OFFSET;
        let new = match loan {
            Some(loan) => Box::into_raw(loan).map_addr(|at| at | offset),
            None => ptr::without_provenance_mut(offset),
        };
        // SAFETY: the header lies before what the node points at; a loan there came from Box::into_raw, and is taken out.
        unsafe {
            (&raw mut (*self.ptr.sub(HEADER).cast::<Header>()).tail).write(new);
            let old = tail.map_addr(|at| at & !OFFSET);
            (!old.is_null()).then(|| Box::from_raw(old))
        }
    }

    /// Whether some of a leaf's entries may be another's.
    pub(super) fn borrows(&self) -> bool {
        !self.is_empty_node() && !self.is_inner() && self.header().tail.addr() > OFFSET
    }

    /// Loans that hang together from a leaf on.
    ///
    /// # Safety
    /// `self` is a leaf that is alive, and nobody changes it meanwhile.
    unsafe fn loans(&self) -> usize {
        let (mut leaf, mut loans) = (*self, 0);
        // SAFETY: a lender lives as long as its loan, and is changed only by who has the borrower alone.
        while let Some(loan) = unsafe { leaf.loan() } {
            (leaf, loans) = (loan.lender, loans + 1);
        }
        loans
    }

    /// Makes an entry the leaf's own, by copying it if it is lent.
    ///
    /// # Safety
    /// `self` is a leaf of `T`, alive and not shared, and the slot is occupied.
    pub(super) unsafe fn own<T: Clone>(&mut self, (bucket, slot): (usize, usize)) {
        // SAFETY: the caller's promise. What the slot held is the lender's, so it is overwritten, not dropped.
        unsafe {
            if let Some(loan) = self.loan_mut()
                && loan.has(bucket, slot)
            {
                let item = self.bucket::<T>(bucket).item(slot).clone();
                self.bucket_mut::<T>(bucket).slots[slot].write(item);
                loan.end(bucket, slot);
            }
        }
    }

    /// Tells the loan, if any, that a new entry, at the address that [`Node::put`] gave, is the leaf's own.
    ///
    /// # Safety
    /// `self` is a leaf of `T`, alive and not shared, and `item` is in it.
    pub(super) unsafe fn claim<T>(&mut self, item: *const T) {
        // SAFETY: the caller's promise.
        if let Some(loan) = unsafe { self.loan_mut() } {
            let at = item.addr() - self.ptr.addr();
            loan.end(at / size_of::<Bucket<T>>(), at % size_of::<Bucket<T>>() / size_of::<T>());
        }
    }

    /// Takes over what is left of a lender that nobody else reads: the entries that are still lent, and frees the others.
    ///
    /// # Safety
    /// `self` is a leaf of `T`, alive and not shared.
    pub(super) unsafe fn settle<T>(&mut self) {
        // SAFETY: the leaf is ours; a lender that is not shared is, too. Each entry of the lender that it owned becomes the
        // borrower's or is dropped, and its memory is freed without dropping any.
        unsafe {
            while let Some(loan) = self.loan_mut() {
                if loan.lender.is_shared() {
                    return;
                }
                let mut lender = loan.lender;
                let above = lender.set_loan(None);
                for at in 0..lender.buckets() {
                    let bucket = lender.bucket::<T>(at);
                    for slot in bucket.occupied() {
                        if above.as_ref().is_some_and(|above| above.has(at, slot)) {
                            // Not the lender's to give. If we had it from there, we have it from above now.
                        } else if loan.has(at, slot) && self.bucket::<T>(at).tag(slot) != 0 {
                            loan.end(at, slot);
                        } else {
                            drop(bucket.slots[slot].assume_init_read());
                        }
                    }
                }
                lender.free();
                match above {
                    Some(above) => loan.lender = above.lender,
                    None => drop(self.set_loan(None)),
                }
            }
        }
    }

    /// # Safety
    /// `self` is an inner node that is alive for `'a`.
    #[inline]
    pub(super) unsafe fn children<'a>(&self) -> &'a [Node; FAN_OUT] {
        debug_assert!(self.is_inner());
        // SAFETY: an inner node points at its children.
        unsafe { &*self.ptr.cast() }
    }

    /// # Safety
    /// `self` is an inner node that is alive for `'a` and not shared.
    #[inline]
    pub(super) unsafe fn children_mut<'a>(&mut self) -> &'a mut [Node; FAN_OUT] {
        debug_assert!(self.is_inner());
        // SAFETY: an inner node points at its children, and nobody else reads them.
        unsafe { &mut *self.ptr.cast() }
    }

    /// # Safety
    /// `self` is a leaf of `T` that is alive for `'a`, and `bucket` is below its number of buckets.
    #[inline]
    pub(super) unsafe fn bucket<'a, T>(&self, bucket: usize) -> &'a Bucket<T> {
        debug_assert!(bucket < self.buckets());
        // SAFETY: a leaf points at its buckets.
        unsafe { &*self.ptr.cast::<Bucket<T>>().add(bucket) }
    }

    /// # Safety
    /// As for [`Node::bucket`], and the leaf is not shared.
    #[inline]
    unsafe fn bucket_mut<'a, T>(&mut self, bucket: usize) -> &'a mut Bucket<T> {
        debug_assert!(bucket < self.buckets());
        // SAFETY: a leaf points at its buckets, and nobody else reads them.
        unsafe { &mut *self.ptr.cast::<Bucket<T>>().add(bucket) }
    }

    /// Where bucket `bucket` lies, for a prefetch.
    #[inline]
    pub(super) fn bucket_address(&self, bucket: usize) -> *const u8 {
        self.ptr.wrapping_add(bucket * 64)
    }

    /// The bucket and slot of `key`'s entry in a leaf.
    ///
    /// # Safety
    /// `self` is a living leaf of `T`, or empty.
    #[inline]
    pub(super) unsafe fn find<T: Slot>(&self, place: u64, tag: u8, key: &[u8]) -> Option<(usize, usize)> {
        let buckets = self.buckets();
        let mut at = Node::home(place, buckets);
        for _ in 0..buckets {
            // SAFETY: home is below the number of buckets, and so is `at` after each step.
            let bucket = unsafe { self.bucket::<T>(at) };
            for slot in bucket.matching(tag) {
                // SAFETY: a tag is never 0, so the slot is occupied.
                if unsafe { bucket.item(slot) }.matches(key) {
                    return Some((at, slot));
                }
            }
            if bucket.overflow() == 0 {
                return None;
            }
            at = if at + 1 == buckets { 0 } else { at + 1 };
        }
        None
    }

    /// The entry at a place that [`Node::find`] gave.
    ///
    /// # Safety
    /// `self` is a leaf of `T`, alive for `'a` and not shared, and the slot is occupied and not lent.
    #[inline]
    pub(super) unsafe fn item_mut<'a, T>(&mut self, (bucket, slot): (usize, usize)) -> &'a mut T {
        // SAFETY: the caller's promise.
        unsafe { self.bucket_mut::<T>(bucket).slots[slot].assume_init_mut() }
    }

    /// Adds an entry to a leaf and counts it.
    ///
    /// # Safety
    /// `self` is a living leaf of `T`, not shared, with a free slot.
    #[inline]
    pub(super) unsafe fn put<T>(&mut self, place: u64, tag: u8, item: T) -> *mut T {
        let buckets = self.buckets();
        debug_assert!(self.len() < buckets * SLOTS && tag != 0);
        let mut at = Node::home(place, buckets);
        self.info += 1 << BUCKET_BITS;
        loop {
            // SAFETY: `at` stays below the number of buckets.
            let bucket = unsafe { self.bucket_mut::<T>(at) };
            if let Some(slot) = bucket.matching(0).next() {
                return bucket.put(slot, tag, item);
            }
            bucket.overflowed();
            at = if at + 1 == buckets { 0 } else { at + 1 };
        }
    }

    /// Takes an entry out of a leaf and uncounts it; `place` is its own.
    ///
    /// # Safety
    /// `self` is a living leaf of `T`, not shared, and the slot is occupied and not lent.
    pub(super) unsafe fn take<T>(&mut self, place: u64, (bucket, slot): (usize, usize)) -> T {
        let buckets = self.buckets();
        let mut at = Node::home(place, buckets);
        while at != bucket {
            // SAFETY: `at` stays below the number of buckets.
            unsafe { self.bucket_mut::<T>(at) }.overflow_removed();
            at = if at + 1 == buckets { 0 } else { at + 1 };
        }
        self.info -= 1 << BUCKET_BITS;
        // SAFETY: the caller's promise.
        unsafe { self.bucket_mut::<T>(bucket).take(slot) }
    }

    /// A second owner of the same node.
    pub(super) fn share(&self) -> Node {
        if !self.is_empty_node() {
            self.header().references.fetch_add(1, Ordering::Relaxed);
        }
        *self
    }

    /// Whether another owner exists. When not, what former owners read is over: their release is acquired.
    #[inline]
    pub(super) fn is_shared(&self) -> bool {
        self.header().references.load(Ordering::Acquire) != 1
    }

    /// Gives up one reference; true when it was the last, so that the caller must free the node.
    fn unreference(&self) -> bool {
        if self.header().references.fetch_sub(1, Ordering::Release) != 1 {
            return false;
        }
        // A fence would do, but ThreadSanitizer knows none.
        self.header().references.load(Ordering::Acquire);
        true
    }

    /// Makes this owner's node its own, by copying it if it is shared. A leaf's entries are lent to the copy: before one is
    /// changed or taken out it must be made [its own](Node::own), and a new one [claimed](Node::claim).
    ///
    /// # Safety
    /// The nodes are of `T`.
    pub(super) unsafe fn unshare<T: Slot>(&mut self) {
        if self.is_empty_node() {
            return;
        }
        if !self.is_shared() {
            if !self.is_inner() {
                // SAFETY: a leaf, ours alone.
                unsafe { self.settle::<T>() };
            }
            return;
        }
        if self.is_inner() {
            // SAFETY: alive, as we own a reference.
            let copy = Node::new_inner(unsafe { self.children() }.each_ref().map(Node::share));
            let old = std::mem::replace(self, copy);
            // SAFETY: the reference that `self` owned until now.
            unsafe { old.release::<T>() };
            return;
        }
        let buckets = self.buckets();
        let mut copy = Node { ptr: Node::allocate((buckets + 1) * 64, 64), info: self.info };
        // SAFETY: both leaves have that many buckets, the new one is ours alone, and nobody changes the other. The entries
        // stay the old leaf's; our reference to it becomes the loan's.
        unsafe {
            ptr::copy_nonoverlapping(self.ptr.cast::<Bucket<T>>(), copy.ptr.cast::<Bucket<T>>(), buckets);
            let lender = *self;
            if buckets <= LEAF_BUCKETS && lender.loans() < LOANS_MAX {
                copy.set_loan(Some(Box::new(Loan { lender, slots: [!0; LOAN_WORDS] })));
                *self = copy;
                return;
            }
            for at in 0..buckets {
                let (from, to) = (lender.bucket::<T>(at), copy.bucket_mut::<T>(at));
                from.occupied().for_each(|slot| _ = to.slots[slot].write(from.item(slot).clone()));
            }
            *self = copy;
            lender.release::<T>();
        }
    }

    /// Gives up the reference and frees what nobody else holds. Recursion is bounded by [`DEPTH_MAX`].
    ///
    /// # Safety
    /// `self` owned a reference and is not used again; the nodes are of `T`.
    pub(super) unsafe fn release<T>(self) {
        if self.is_empty_node() || !self.unreference() {
            return;
        }
        if self.is_inner() {
            // SAFETY: we were the last owner, and each child is released once.
            for child in *unsafe { self.children() } {
                // SAFETY: as above.
                unsafe { child.release::<T>() };
            }
            // SAFETY: as above; nothing in it is used any more.
            unsafe { self.free() };
        } else {
            // SAFETY: we were the last owner.
            unsafe { self.drop_leaf::<T>() };
        }
    }

    /// As [`Node::release`], but hands an inner node's children over instead of following them.
    ///
    /// # Safety
    /// As for [`Node::release`].
    pub(super) unsafe fn release_step<T>(self, rest: &mut Vec<Node>) {
        if !self.is_inner() {
            // SAFETY: the caller's promise.
            return unsafe { self.release::<T>() };
        }
        if self.unreference() {
            // SAFETY: we were the last owner; the children's references move to `rest`.
            unsafe {
                rest.extend(self.children().iter().filter(|child| !child.is_empty_node()));
                self.free();
            }
        }
    }

    /// # Safety
    /// The caller was the last owner of a leaf of `T`, which is not used again.
    unsafe fn drop_leaf<T>(mut self) {
        crate::base::priority::pass();
        // SAFETY: the caller's promise; entries that are lent are left to their owner.
        unsafe {
            let loan = self.set_loan(None);
            if std::mem::needs_drop::<T>() {
                for at in 0..self.buckets() {
                    let bucket = self.bucket::<T>(at);
                    for slot in bucket.occupied() {
                        if loan.as_ref().is_none_or(|loan| !loan.has(at, slot)) {
                            drop(bucket.slots[slot].assume_init_read());
                        }
                    }
                }
            }
            self.free();
            if let Some(loan) = loan {
                loan.lender.release::<T>();
            }
        }
    }

    /// # Safety
    /// The caller was the last owner; contents are dropped or moved, and there is no loan.
    unsafe fn free(self) {
        debug_assert!(self.is_inner() || !self.borrows());
        let layout = Layout::from_size_align(self.bytes(), 16).expect("it was allocated so");
        let offset = self.header().tail.addr() & OFFSET;
        // SAFETY: start and layout of the allocation.
        unsafe { dealloc(self.ptr.sub(offset), layout) };
    }

    /// Moves every entry below into `items` (clones those of shared leaves), with hash 0, and leaves EMPTY. Returns
    /// the bytes that this owner no longer holds.
    ///
    /// # Safety
    /// The nodes are of `T`.
    pub(super) unsafe fn take_all<T: Clone>(&mut self, shared: bool, items: &mut Vec<(u64, T)>) -> usize {
        let mut node = std::mem::replace(self, Node::EMPTY);
        if node.is_empty_node() {
            return 0;
        }
        let mut bytes = node.bytes();
        let ours = !(shared && node.is_shared());
        if ours && node.borrows() {
            // SAFETY: a leaf, ours alone.
            unsafe { node.settle::<T>() };
        }
        if node.is_inner() {
            // SAFETY: the node is alive; its children are copied, and either counted again or moved.
            for child in unsafe { node.children() } {
                let mut child = if ours { *child } else { child.share() };
                // SAFETY: the child is of T like its parent.
                bytes += unsafe { child.take_all(shared, items) };
            }
        } else {
            // SAFETY: ours alone.
            let loan = if ours && shared { unsafe { node.set_loan(None) } } else { None };
            for at in 0..node.buckets() {
                // SAFETY: `at` is below the number of buckets.
                let bucket = unsafe { node.bucket::<T>(at) };
                for slot in bucket.occupied() {
                    let moves = ours && loan.as_ref().is_none_or(|loan| !loan.has(at, slot));
                    // SAFETY: occupied; moved out once when the leaf is freed below without dropping its items.
                    let item = unsafe {
                        if moves { bucket.slots[slot].assume_init_read() } else { bucket.item(slot).clone() }
                    };
                    items.push((0, item));
                }
            }
            if let Some(loan) = loan {
                // SAFETY: the loan's reference.
                unsafe { loan.lender.release::<T>() };
            }
        }
        // SAFETY: `node` owned a reference; when it was the only one its contents have been moved out.
        unsafe { if ours { node.free() } else { node.release::<T>() } };
        bytes
    }
}
