//! `Cell`: one key with its value in one allocation.
//!
//! ```text
//! | header 16 B | expiry 8 B + slot 4 B, only with a TTL | the same of its fields, only with one | key | body |
//! ```
//! The body is the value itself while that is small (string bytes, an `i64`, a listpack, an intset) and a pointer to
//! it otherwise. The allocation is always exactly the size class of what it holds, so no capacity is stored: growing
//! within the class is free, crossing it reallocates. The expiry is opaque here; the keyspace gives it meaning.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::any::Any;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use super::blob::Blob;
use crate::base::alloc::size_class;

/// What users call the type of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Type {
    String,
    List,
    Set,
    ZSet,
    Hash,
    Stream,
}

impl Type {
    /// The word that TYPE answers.
    pub fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::List => "list",
            Type::Set => "set",
            Type::ZSet => "zset",
            Type::Hash => "hash",
            Type::Stream => "stream",
        }
    }
}

/// Type and encoding of a cell's body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// String bytes in the cell.
    StrRaw,
    /// An `i64` in the cell.
    StrInt,
    /// An `Arc<Vec<u8>>`, so that GET need not copy it.
    StrBig,
    /// A listpack in the cell.
    ListPacked,
    ListDeque,
    /// An intset in the cell.
    SetInts,
    SetPacked,
    SetTable,
    HashPacked,
    /// A listpack in the cell, of triples: a hash some of whose fields have, or had, a TTL.
    HashPackedTtl,
    HashTable,
    ZSetPacked,
    ZSetTree,
    Stream,
}

impl Kind {
    pub fn ty(self) -> Type {
        match self {
            Kind::StrRaw | Kind::StrInt | Kind::StrBig => Type::String,
            Kind::ListPacked | Kind::ListDeque => Type::List,
            Kind::SetInts | Kind::SetPacked | Kind::SetTable => Type::Set,
            Kind::HashPacked | Kind::HashPackedTtl | Kind::HashTable => Type::Hash,
            Kind::ZSetPacked | Kind::ZSetTree => Type::ZSet,
            Kind::Stream => Type::Stream,
        }
    }

    /// Whether the body is a `Box<dyn Large>`.
    pub fn is_large(self) -> bool {
        matches!(self, Kind::ListDeque | Kind::SetTable | Kind::HashTable | Kind::ZSetTree | Kind::Stream)
    }
}

/// A collection too large for the cell. `Clone` is a pin: cheap, and isolated from later writes.
pub trait Large: Any + Send + Sync {
    /// Heap bytes held, this struct included.
    fn mem_bytes(&self) -> usize;
    /// Allocations that dropping it frees, roughly: decides whether it is dropped off the hot path.
    fn free_effort(&self) -> usize;
    /// A pin of it as a value of its own.
    fn boxed_clone(&self) -> Box<dyn Large>;
    /// Frees a part of what former pins left behind, of about `leaves` leaves; true when nothing is left to do.
    fn settle(&mut self, leaves: usize) -> bool {
        _ = leaves;
        true
    }
}

/// Strings up to this many bytes live in the cell, longer ones behind an `Arc`.
pub const STRING_INLINE_BYTES_MAX: usize = 4096;

#[repr(C)]
struct Header {
    key_len: u32,
    body_len: u32,
    /// Access clock: LRU seconds or LFU minutes and counter; 24 bits used.
    access: AtomicU32,
    kind: Kind,
    flags: u8,
    /// Of two eras, that of the last change: the keyspace's snapshots give it meaning.
    era: AtomicU8,
    _spare: u8,
}

const HEADER: usize = size_of::<Header>();
const EXPIRY: usize = 12;
const HAS_EXPIRY: u8 = 1;
const MUTATED: u8 = 2;
/// A hash has a field with a TTL: when the soonest of them expires, and the cell's slot, follow its own.
const HAS_FIELD_EXPIRY: u8 = 4;

/// An owning pointer to a key and its value.
pub struct Cell(NonNull<Header>);

// SAFETY: a cell owns its allocation and what the body points to, all of which is Send + Sync.
unsafe impl Send for Cell {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Cell {}

impl Cell {
    /// A cell whose body is `body` itself. `kind` must be one of the packed kinds or `StrRaw`.
    pub fn packed(key: &[u8], kind: Kind, body: &[u8]) -> Cell {
        assert!(!kind.is_large() && kind != Kind::StrBig);
        Self::with_body(key, kind, body)
    }

    /// A string cell with the best encoding for `value`: an integer, in the cell, or shared.
    pub fn string(key: &[u8], value: &[u8]) -> Cell {
        if value.len() <= 20
            && let Some(n) = crate::base::num::parse_i64(value)
        {
            return Self::int(key, n);
        }
        Self::raw_string(key, value)
    }

    /// A string cell whose bytes are kept as they are.
    pub fn raw_string(key: &[u8], value: &[u8]) -> Cell {
        if value.len() <= STRING_INLINE_BYTES_MAX {
            Self::with_body(key, Kind::StrRaw, value)
        } else {
            Self::big_string(key, Arc::new(value.to_vec()))
        }
    }

    pub fn int(key: &[u8], n: i64) -> Cell {
        Self::with_body(key, Kind::StrInt, &n.to_le_bytes())
    }

    pub fn big_string(key: &[u8], value: Arc<Vec<u8>>) -> Cell {
        let raw = Arc::into_raw(value) as usize;
        Self::with_body(key, Kind::StrBig, &raw.to_le_bytes())
    }

    pub fn new_large(key: &[u8], kind: Kind, value: Box<dyn Large>) -> Cell {
        assert!(kind.is_large());
        Self::with_body(key, kind, &large_to_bytes(value))
    }

    fn with_body(key: &[u8], kind: Kind, body: &[u8]) -> Cell {
        let key_len = u32::try_from(key.len()).expect("keys are bounded by proto-max-bulk-len");
        let body_len = u32::try_from(body.len()).expect("packed bodies are bounded");
        let size = size_class(HEADER + key.len() + body.len());
        let layout = layout(size);
        // SAFETY: the layout is not empty; the header and both slices fit into `size` by construction.
        unsafe {
            let raw = alloc(layout);
            let Some(p) = NonNull::new(raw.cast::<Header>()) else { handle_alloc_error(layout) };
            p.write(Header {
                key_len,
                body_len,
                access: AtomicU32::new(0),
                kind,
                flags: 0,
                era: AtomicU8::new(0),
                _spare: 0,
            });
            let bytes = raw.add(HEADER);
            ptr::copy_nonoverlapping(key.as_ptr(), bytes, key.len());
            ptr::copy_nonoverlapping(body.as_ptr(), bytes.add(key.len()), body.len());
            Cell(p)
        }
    }

    fn head(&self) -> &Header {
        // SAFETY: the pointer is valid and owned as long as the cell lives.
        unsafe { self.0.as_ref() }
    }

    fn head_mut(&mut self) -> &mut Header {
        // SAFETY: as above, and borrowed mutably.
        unsafe { self.0.as_mut() }
    }

    fn key_offset(&self) -> usize {
        key_offset(self.head().flags)
    }

    fn body_offset(&self) -> usize {
        self.key_offset() + self.head().key_len as usize
    }

    fn used(&self) -> usize {
        self.body_offset() + self.head().body_len as usize
    }

    fn base(&self) -> *mut u8 {
        self.0.as_ptr().cast()
    }

    pub fn key(&self) -> &[u8] {
        // SAFETY: the key's bytes lie in the allocation.
        unsafe {
            std::slice::from_raw_parts(self.base().add(self.key_offset()), self.head().key_len as usize)
        }
    }

    pub fn kind(&self) -> Kind {
        self.head().kind
    }

    pub fn ty(&self) -> Type {
        self.kind().ty()
    }

    /// The body's bytes; meaningful for the packed kinds and `StrRaw`.
    pub fn body(&self) -> &[u8] {
        // SAFETY: the body's bytes lie in the allocation.
        unsafe {
            std::slice::from_raw_parts(self.base().add(self.body_offset()), self.head().body_len as usize)
        }
    }

    /// The integer of a `StrInt` cell.
    pub fn as_int(&self) -> Option<i64> {
        (self.kind() == Kind::StrInt)
            .then(|| i64::from_le_bytes(self.body().try_into().expect("an int body has 8 bytes")))
    }

    fn big_ptr(&self) -> *const Vec<u8> {
        debug_assert!(self.kind() == Kind::StrBig);
        // SAFETY: the body of a StrBig holds the pointer that `Arc::into_raw` gave, unaligned.
        unsafe { self.base().add(self.body_offset()).cast::<*const Vec<u8>>().read_unaligned() }
    }

    /// The bytes of a `StrBig` cell.
    pub fn big(&self) -> Option<&Vec<u8>> {
        // SAFETY: the cell holds one strong count, so the vector lives as long as this borrow.
        (self.kind() == Kind::StrBig).then(|| unsafe { &*self.big_ptr() })
    }

    /// A share in the bytes of a `StrBig` cell.
    pub fn big_shared(&self) -> Option<Arc<Vec<u8>>> {
        (self.kind() == Kind::StrBig).then(|| {
            let p = self.big_ptr();
            // SAFETY: `p` came from `Arc::into_raw` and is alive; the new count belongs to the returned `Arc`.
            unsafe {
                Arc::increment_strong_count(p);
                Arc::from_raw(p)
            }
        })
    }

    /// The bytes of a `StrBig` cell for writing: copied first when a reader still shares them.
    pub fn big_mut(&mut self) -> Option<&mut Vec<u8>> {
        if self.kind() != Kind::StrBig {
            return None;
        }
        let off = self.body_offset();
        // SAFETY: the cell owns one strong count. It is taken out, made unique, and put back before anyone can see
        // the body; the returned borrow is of the vector inside the `Arc`, which stays where it is.
        unsafe {
            let mut arc = Arc::from_raw(self.big_ptr());
            let v: *mut Vec<u8> = Arc::make_mut(&mut arc);
            self.base().add(off).cast::<*const Vec<u8>>().write_unaligned(Arc::into_raw(arc));
            Some(&mut *v)
        }
    }

    fn large_ptr(&self) -> *mut dyn Large {
        debug_assert!(self.kind().is_large());
        // SAFETY: the body of a large kind holds the fat pointer that `Box::into_raw` gave, unaligned.
        unsafe { self.base().add(self.body_offset()).cast::<*mut dyn Large>().read_unaligned() }
    }

    /// The large value, whatever its type.
    pub fn as_large(&self) -> Option<&dyn Large> {
        // SAFETY: the cell owns the box for as long as it has a large kind.
        self.kind().is_large().then(|| unsafe { &*self.large_ptr() })
    }

    /// The large value for writing, whatever its type.
    pub fn as_large_mut(&mut self) -> Option<&mut dyn Large> {
        // SAFETY: as in `as_large`, and the cell is borrowed mutably.
        self.kind().is_large().then(|| unsafe { &mut *self.large_ptr() })
    }

    /// The large value. Panics when the cell holds something else: the caller has matched on `kind()`.
    pub fn large<T: Large>(&self) -> &T {
        let v: &dyn Any = self.as_large().expect("the kind is large");
        v.downcast_ref().expect("the kind tells the type")
    }

    /// The large value for writing; see `large`.
    pub fn large_mut<T: Large>(&mut self) -> &mut T {
        assert!(self.kind().is_large());
        // SAFETY: as in `as_large`, and the cell is borrowed mutably.
        let v: &mut dyn Any = unsafe { &mut *self.large_ptr() };
        v.downcast_mut().expect("the kind tells the type")
    }

    /// Takes the place of the value with a packed body; the old value is dropped.
    pub fn set_packed(&mut self, kind: Kind, body: &[u8]) {
        assert!(!kind.is_large() && kind != Kind::StrBig);
        self.replace_body(kind, body);
    }

    pub fn set_large(&mut self, kind: Kind, value: Box<dyn Large>) {
        assert!(kind.is_large());
        self.replace_body(kind, &large_to_bytes(value));
    }

    /// Takes the place of the value with a string in its best encoding.
    pub fn set_string(&mut self, value: &[u8]) {
        if value.len() <= 20
            && let Some(n) = crate::base::num::parse_i64(value)
        {
            self.set_int(n);
        } else {
            self.set_raw_string(value);
        }
    }

    pub fn set_raw_string(&mut self, value: &[u8]) {
        if value.len() <= STRING_INLINE_BYTES_MAX {
            self.replace_body(Kind::StrRaw, value);
        } else {
            self.set_big(Arc::new(value.to_vec()));
        }
    }

    pub fn set_big(&mut self, value: Arc<Vec<u8>>) {
        self.replace_body(Kind::StrBig, &(Arc::into_raw(value) as usize).to_le_bytes());
    }

    pub fn set_int(&mut self, n: i64) {
        self.replace_body(Kind::StrInt, &n.to_le_bytes());
    }

    fn replace_body(&mut self, kind: Kind, body: &[u8]) {
        // Fast for overwriting a string by one of the same length; the common SET.
        if self.kind().is_large() || self.kind() == Kind::StrBig {
            self.drop_body();
        }
        self.head_mut().kind = kind;
        self.head_mut().flags &= !MUTATED;
        if self.head().flags & HAS_FIELD_EXPIRY != 0 && kind.ty() != Type::Hash {
            self.set_field_expiry(None);
        }
        let len = self.head().body_len as usize;
        if len == body.len() {
            let at = self.body_offset();
            // SAFETY: the body region is `len` bytes; `body` is a foreign slice, as `&mut self` excludes aliasing.
            unsafe { ptr::copy_nonoverlapping(body.as_ptr(), self.base().add(at), len) };
        } else {
            CellBlob(self).splice(0, len, body);
        }
    }

    /// Takes a large value out, leaving an empty string: for whoever frees it elsewhere or stores it anew.
    pub fn take_large(&mut self) -> Option<Box<dyn Large>> {
        if !self.kind().is_large() {
            return None;
        }
        let p = self.large_ptr();
        self.head_mut().kind = Kind::StrRaw;
        self.set_field_expiry(None);
        CellBlob(self).splice(0, size_of::<*mut dyn Large>(), &[]);
        // SAFETY: the box was owned by the body, which no longer claims it.
        Some(unsafe { Box::from_raw(p) })
    }

    /// Frees what the body points to; leaves an empty raw body.
    fn drop_body(&mut self) {
        let kind = self.kind();
        if kind.is_large() {
            let p = self.large_ptr();
            self.head_mut().kind = Kind::StrRaw;
            // SAFETY: the box was owned by the body, which no longer claims it.
            drop(unsafe { Box::from_raw(p) });
        } else if kind == Kind::StrBig {
            let p = self.big_ptr();
            self.head_mut().kind = Kind::StrRaw;
            // SAFETY: one strong count was owned by the body, which no longer claims it.
            drop(unsafe { Arc::from_raw(p) });
        }
    }

    /// The packed body, editable in place.
    pub fn blob(&mut self) -> CellBlob<'_> {
        assert!(!self.kind().is_large() && self.kind() != Kind::StrBig);
        CellBlob(self)
    }

    pub fn set_kind(&mut self, kind: Kind) {
        debug_assert!(!kind.is_large() && !self.kind().is_large());
        self.head_mut().kind = kind;
    }

    /// A string that was changed in place: OBJECT ENCODING calls it `raw` whatever its length.
    pub fn is_mutated(&self) -> bool {
        self.head().flags & MUTATED != 0
    }

    pub fn set_mutated(&mut self) {
        self.head_mut().flags |= MUTATED;
    }

    #[inline]
    pub fn era(&self) -> u8 {
        self.head().era.load(Ordering::Relaxed)
    }

    /// Through a shared borrow, for whoever holds the shard and walks its table.
    #[inline]
    pub fn set_era(&self, era: u8) {
        self.head().era.store(era, Ordering::Relaxed);
    }

    /// The access clock, 24 bits; the keyspace gives it meaning.
    pub fn access(&self) -> u32 {
        self.head().access.load(Ordering::Relaxed)
    }

    /// Through a shared borrow, so that readers can note their access.
    pub fn set_access(&self, access: u32) {
        self.head().access.store(access, Ordering::Relaxed);
    }

    /// The expiry slot: (Unix milliseconds, place in the expiry heap).
    pub fn expiry(&self) -> Option<(u64, u32)> {
        self.slot::<false>()
    }

    pub fn expire_ms(&self) -> Option<u64> {
        self.expiry().map(|(ms, _)| ms)
    }

    /// Sets, changes or clears the expiry slot. May move the cell.
    pub fn set_expiry(&mut self, expiry: Option<(u64, u32)>) {
        self.set_slot::<false>(expiry);
    }

    /// As `expiry`, of the field of a hash that expires first.
    pub fn field_expiry(&self) -> Option<(u64, u32)> {
        self.slot::<true>()
    }

    pub fn field_expire_ms(&self) -> Option<u64> {
        self.field_expiry().map(|(ms, _)| ms)
    }

    pub fn set_field_expiry(&mut self, expiry: Option<(u64, u32)>) {
        self.set_slot::<true>(expiry);
    }

    /// Sets or clears the time and leaves the place in the heap.
    pub fn set_field_expire_ms(&mut self, at: Option<u64>) {
        let was = self.field_expiry();
        if was.map(|(ms, _)| ms) != at {
            self.set_field_expiry(at.map(|ms| (ms, was.map_or(0, |(_, slot)| slot))));
        }
    }

    /// The expiry slot of the key, or of its fields.
    #[inline]
    pub fn slot<const OF_FIELDS: bool>(&self) -> Option<(u64, u32)> {
        let flags = self.head().flags;
        if flags & slot_flag::<OF_FIELDS>() == 0 {
            return None;
        }
        // SAFETY: the flag says that 12 bytes of expiry are there.
        unsafe {
            let p = self.base().add(slot_offset::<OF_FIELDS>(flags));
            Some((p.cast::<u64>().read_unaligned(), p.add(8).cast::<u32>().read_unaligned()))
        }
    }

    /// See `slot`. May move the cell.
    pub fn set_slot<const OF_FIELDS: bool>(&mut self, expiry: Option<(u64, u32)>) {
        let flag = slot_flag::<OF_FIELDS>();
        let has = self.head().flags & flag != 0;
        let at = slot_offset::<OF_FIELDS>(self.head().flags);
        match (has, expiry) {
            (false, Some(_)) => {
                let used = self.used();
                self.resize(used, used + EXPIRY);
                // SAFETY: the allocation now holds EXPIRY bytes more than are used.
                unsafe {
                    let p = self.base().add(at);
                    ptr::copy(p, p.add(EXPIRY), used - at);
                }
                self.head_mut().flags |= flag;
            }
            (true, None) => {
                let used = self.used();
                // SAFETY: both ranges lie within the used bytes.
                unsafe {
                    let p = self.base().add(at);
                    ptr::copy(p.add(EXPIRY), p, used - at - EXPIRY);
                }
                self.head_mut().flags &= !flag;
                self.resize(used, used - EXPIRY);
            }
            _ => {}
        }
        if let Some((ms, slot)) = expiry {
            // SAFETY: the flag is set, so the slot exists.
            unsafe {
                let p = self.base().add(at);
                p.cast::<u64>().write_unaligned(ms);
                p.add(8).cast::<u32>().write_unaligned(slot);
            }
        }
    }

    /// Whether the key, or a field of it, has a TTL.
    #[inline]
    pub fn is_volatile(&self) -> bool {
        self.head().flags & (HAS_EXPIRY | HAS_FIELD_EXPIRY) != 0
    }

    /// Changes the place in the expiry heap only.
    pub fn set_expire_slot<const OF_FIELDS: bool>(&mut self, slot: u32) {
        if let Some((ms, _)) = self.slot::<OF_FIELDS>() {
            self.set_slot::<OF_FIELDS>(Some((ms, slot)));
        }
    }

    /// The same value under another key, without expiry, but with that of its fields; large values are moved, not copied.
    pub fn renamed(mut self, key: &[u8]) -> Cell {
        let kind = self.kind();
        let mut new = Self::with_body(key, kind, self.body());
        // The pointer in the body now belongs to the new cell.
        self.head_mut().kind = Kind::StrRaw;
        new.head_mut().flags = self.head().flags & MUTATED;
        new.set_access(self.access());
        new.set_field_expire_ms(self.field_expire_ms());
        new
    }

    /// A copy under another key; large values are pinned, which isolates them from later writes.
    pub fn copied(&self, key: &[u8]) -> Cell {
        let mut new = match self.kind() {
            Kind::StrBig => Self::big_string(key, self.big_shared().expect("the kind is StrBig")),
            k if k.is_large() => {
                Self::new_large(key, k, self.as_large().expect("the kind is large").boxed_clone())
            }
            k => Self::with_body(key, k, self.body()),
        };
        new.head_mut().flags = self.head().flags & MUTATED;
        new.set_field_expire_ms(self.field_expire_ms());
        new
    }

    /// An identity for the expiry heap: where the cell lives now. Changes when the cell is reallocated.
    pub fn address(&self) -> CellAddress {
        CellAddress(self.0.cast())
    }

    /// Heap bytes of the cell and everything it owns, as the allocator rounds them.
    pub fn mem_bytes(&self) -> usize {
        let own = size_class(self.used());
        match self.kind() {
            // The vector's header, the two counters, and its buffer.
            Kind::StrBig => own + 48 + size_class(self.big().map_or(0, Vec::capacity)),
            k if k.is_large() => own + self.as_large().map_or(0, Large::mem_bytes),
            _ => own,
        }
    }

    /// Whether dropping it takes long enough to be done off the hot path, as Redis's lazyfree effort.
    pub fn free_effort(&self) -> usize {
        match self.big() {
            // A page at a time: what the kernel takes back.
            Some(bytes) => bytes.len() >> 12,
            None => self.as_large().map_or(1, Large::free_effort),
        }
    }

    /// Reallocates when the size class changes.
    fn resize(&mut self, old_used: usize, new_used: usize) {
        let (old, new) = (size_class(old_used), size_class(new_used));
        if old == new {
            return;
        }
        // SAFETY: the cell was allocated with exactly `layout(old)`; `new` is not zero.
        unsafe {
            let raw = realloc(self.base(), layout(old), new);
            let Some(p) = NonNull::new(raw.cast::<Header>()) else { handle_alloc_error(layout(new)) };
            self.0 = p;
        }
    }
}

impl Clone for Cell {
    fn clone(&self) -> Self {
        let mut new = self.copied(self.key());
        new.set_access(self.access());
        new.set_expiry(self.expiry());
        new
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        self.drop_body_keep_len();
        let size = size_class(self.used());
        // SAFETY: allocated with this layout, dropped once.
        unsafe { dealloc(self.base(), layout(size)) };
    }
}

impl Cell {
    fn drop_body_keep_len(&mut self) {
        if self.kind().is_large() || self.kind() == Kind::StrBig {
            self.drop_body();
        }
    }
}

/// Where a cell lives, for the expiry heap: valid until the cell is reallocated or dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CellAddress(NonNull<u8>);

// SAFETY: an address is only dereferenced by the heap's owner, under the lock of the shard that owns the cell.
unsafe impl Send for CellAddress {}
// SAFETY: as above.
unsafe impl Sync for CellAddress {}

impl CellAddress {
    /// The expiry of the cell that lives there, or of its fields.
    ///
    /// # Safety
    /// The cell must still live at this address and have such an expiry; the caller holds its shard.
    #[inline]
    pub unsafe fn expire_ms<const OF_FIELDS: bool>(self) -> u64 {
        // SAFETY: per the contract, the slot is there.
        unsafe { self.slot::<OF_FIELDS>().cast::<u64>().read_unaligned() }
    }

    /// Notes the cell's place in the expiry heap.
    ///
    /// # Safety
    /// As `expire_ms`.
    #[inline]
    pub unsafe fn set_slot<const OF_FIELDS: bool>(self, slot: u32) {
        // SAFETY: per the contract.
        unsafe { self.slot::<OF_FIELDS>().add(8).cast::<u32>().write_unaligned(slot) }
    }

    /// The key of the cell that lives there.
    ///
    /// # Safety
    /// As `expire_ms`; the result must not outlive the cell.
    pub unsafe fn key<'a>(self) -> &'a [u8] {
        // SAFETY: per the contract; the header says how long the key is, and what precedes it.
        unsafe {
            let head = self.0.cast::<Header>().as_ref();
            let at = self.0.as_ptr().add(key_offset(head.flags));
            std::slice::from_raw_parts(at, head.key_len as usize)
        }
    }

    /// # Safety
    /// As `expire_ms`.
    #[inline]
    unsafe fn slot<const OF_FIELDS: bool>(self) -> *mut u8 {
        // SAFETY: per the contract, the cell lives and has the slot. The flags matter to that of the fields only.
        unsafe {
            let flags = if OF_FIELDS { self.0.cast::<Header>().as_ref().flags } else { 0 };
            self.0.as_ptr().add(slot_offset::<OF_FIELDS>(flags))
        }
    }
}

const fn slot_flag<const OF_FIELDS: bool>() -> u8 {
    if OF_FIELDS { HAS_FIELD_EXPIRY } else { HAS_EXPIRY }
}

/// Where the slot is, or would be.
#[inline]
fn slot_offset<const OF_FIELDS: bool>(flags: u8) -> usize {
    if OF_FIELDS { HEADER + EXPIRY * usize::from(flags & HAS_EXPIRY) } else { HEADER }
}

#[inline]
fn key_offset(flags: u8) -> usize {
    // Without a branch: the flags are the numbers 1 and 4.
    HEADER + EXPIRY * (usize::from(flags & HAS_EXPIRY) + usize::from(flags & HAS_FIELD_EXPIRY) / 4)
}

/// A cell's packed body as a `Blob`: edits resize the cell.
pub struct CellBlob<'a>(&'a mut Cell);

impl Deref for CellBlob<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.body()
    }
}

impl Blob for CellBlob<'_> {
    fn bytes_mut(&mut self) -> &mut [u8] {
        let (at, len) = (self.0.body_offset(), self.0.head().body_len as usize);
        // SAFETY: the body's bytes lie in the allocation, borrowed mutably through `self`.
        unsafe { std::slice::from_raw_parts_mut(self.0.base().add(at), len) }
    }

    fn splice(&mut self, at: usize, remove: usize, insert: &[u8]) {
        let cell = &mut *self.0;
        let len = cell.head().body_len as usize;
        let tail = at + remove;
        assert!(tail <= len);
        let new_len = len - remove + insert.len();
        let new_len_u32 = u32::try_from(new_len).expect("packed bodies are bounded");
        let (start, used) = (cell.body_offset(), cell.used());
        let new_used = start + new_len;
        if new_used > used {
            cell.resize(used, new_used);
        }
        // SAFETY: the allocation holds max(used, new_used) bytes here; the moved range ends at `used` before and at
        // `new_used` after; `insert` is a foreign slice.
        unsafe {
            let body = cell.base().add(start);
            if remove != insert.len() {
                ptr::copy(body.add(tail), body.add(at + insert.len()), len - tail);
            }
            ptr::copy_nonoverlapping(insert.as_ptr(), body.add(at), insert.len());
        }
        cell.head_mut().body_len = new_len_u32;
        if new_used < used {
            cell.resize(used, new_used);
        }
    }
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, align_of::<Header>().max(8)).expect("sizes are far below isize::MAX")
}

fn large_to_bytes(value: Box<dyn Large>) -> [u8; 16] {
    let p: *mut dyn Large = Box::into_raw(value);
    // SAFETY: a fat pointer is 16 plain bytes; `large_ptr` reads them back as the same type.
    unsafe { std::mem::transmute::<*mut dyn Large, [u8; 16]>(p) }
}

impl super::table::Slot for Cell {
    fn hash(&self, seed: u64) -> u64 {
        super::table::hash(seed, self.key())
    }

    #[inline]
    fn matches(&self, key: &[u8]) -> bool {
        super::table::same_bytes(self.key(), key)
    }

    fn prefetch(&self) {
        let start = self.0.as_ptr().cast::<u8>();
        super::table::prefetch(start);
        // Where a small one's key or value may lie.
        super::table::prefetch(start.wrapping_add(HEADER + 31));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_take_their_best_encoding() {
        assert_eq!(Cell::string(b"k", b"12").as_int(), Some(12));
        assert_eq!(Cell::string(b"k", b"012").kind(), Kind::StrRaw);
        let big = vec![b'x'; STRING_INLINE_BYTES_MAX + 1];
        let c = Cell::string(b"k", &big);
        assert_eq!(c.big().unwrap(), &big);
    }

    #[test]
    fn body_edits_keep_key_and_expiry() {
        let mut c = Cell::raw_string(b"key", b"hello");
        c.set_expiry(Some((77, 3)));
        c.blob().splice(5, 0, &[b'!'; 500]);
        assert_eq!((c.key(), c.body().len(), c.expiry()), (&b"key"[..], 505, Some((77, 3))));
        c.blob().splice(1, 503, b"");
        assert_eq!(c.body(), b"h!");
        c.set_expiry(None);
        assert_eq!((c.key(), c.body(), c.expiry()), (&b"key"[..], &b"h!"[..], None));
        c.set_string(&vec![b'y'; 9000]);
        assert_eq!(c.big().unwrap().len(), 9000);
        c.set_string(b"5");
        assert_eq!(c.as_int(), Some(5));
    }

    #[test]
    fn a_shared_string_is_copied_before_it_is_changed() {
        let mut c = Cell::string(b"k", &vec![b'a'; 5000]);
        let share = c.big_shared().unwrap();
        c.big_mut().unwrap()[0] = b'b';
        assert_eq!((share[0], c.big().unwrap()[0]), (b'a', b'b'));
    }

    #[test]
    fn both_expiry_slots_come_and_go() {
        let mut c = Cell::packed(b"key", Kind::HashPacked, b"body");
        for step in 0..200u64 {
            let (key, fields) = (step % 3 > 0, step / 3 % 3 > 0);
            c.set_expiry(key.then_some((step, 1)));
            c.set_field_expiry(fields.then_some((step + 1000, 2)));
            assert_eq!((c.key(), c.body(), c.is_volatile()), (&b"key"[..], &b"body"[..], key || fields));
            assert_eq!(
                (c.expire_ms(), c.field_expire_ms()),
                (key.then_some(step), fields.then_some(step + 1000))
            );
            assert_eq!(c.copied(b"other").field_expire_ms(), fields.then_some(step + 1000));
            assert_eq!(c.clone().renamed(b"other").field_expire_ms(), fields.then_some(step + 1000));
        }
        c.set_field_expiry(Some((7, 0)));
        c.set_string(b"no hash");
        assert_eq!((c.field_expiry(), c.body()), (None, &b"no hash"[..]));
    }

    #[derive(Clone)]
    struct Probe(Arc<()>);

    impl Large for Probe {
        fn mem_bytes(&self) -> usize {
            8
        }
        fn free_effort(&self) -> usize {
            99 * Arc::strong_count(&self.0).min(1)
        }
        fn boxed_clone(&self) -> Box<dyn Large> {
            Box::new(self.clone())
        }
    }

    #[test]
    fn a_large_value_is_dropped_once_however_it_goes() {
        let alive = Arc::new(());
        let cell = || Cell::new_large(b"k", Kind::SetTable, Box::new(Probe(alive.clone())));
        let c = cell();
        let copy = c.copied(b"other");
        assert_eq!(Arc::strong_count(&alive), 3);
        drop(copy);
        let c = c.renamed(b"new");
        assert_eq!((c.key(), Arc::strong_count(&alive)), (&b"new"[..], 2));
        assert_eq!(c.large::<Probe>().free_effort(), 99);
        let mut c = c;
        c.set_string(b"x");
        assert_eq!(Arc::strong_count(&alive), 1);
        drop(cell());
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}
