//! The sorted set type: (member, score) pairs in order in a listpack while they are few and short; beyond that a table
//! of members by name and a tree of them in order.
//!
//! A large set's member is one allocation: score, count of owners, length, bytes. The *table* owns it; the tree holds
//! bare [`Handle`]s. That is sound because
//! - every handle in a tree is of a member that the table beside it owns: members enter the table before the tree and
//!   leave the tree before the table, and a pin or copy takes both;
//! - a table that copies a leaf (because a pin shares it) only counts one owner more, so the member stays where it is
//!   for as long as any table has it;
//! - a score is written in place only when the table's slot is the member's only owner; else the member is replaced in
//!   both.
//!
//! Order: score, then bytes. NaN never enters. A sorted set that has become large stays so until it is replaced.
#![allow(unsafe_code)]
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cmp::Ordering as Order;
use std::collections::HashSet;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use super::btree::{self, BTree, Bound};
use super::cell::{Cell, Kind, Large};
use super::listpack::{self, Elem, Listpack, Pos};
use super::table::{self, Pinned, Slot, Table, View};
use crate::base::alloc::size_class;
use crate::base::limits::Limits;
use crate::base::num::{parse_f64, write_f64};
use crate::base::rng::Rng;

/// Scores from `min` to `max`, either of them perhaps excluded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    pub min: f64,
    pub max: f64,
    pub min_excluded: bool,
    pub max_excluded: bool,
}

impl ScoreRange {
    fn is_above_min(&self, score: f64) -> bool {
        if self.min_excluded { score > self.min } else { score >= self.min }
    }

    fn is_below_max(&self, score: f64) -> bool {
        if self.max_excluded { score < self.max } else { score <= self.max }
    }
}

/// One end of a range of members.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LexEnd<'a> {
    /// Before all members.
    Min,
    /// After all members.
    Max,
    Included(&'a [u8]),
    Excluded(&'a [u8]),
}

/// Members from `min` to `max`, where all scores are equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LexRange<'a> {
    pub min: LexEnd<'a>,
    pub max: LexEnd<'a>,
}

impl LexRange<'_> {
    fn is_above_min(&self, member: &[u8]) -> bool {
        match self.min {
            LexEnd::Min => true,
            LexEnd::Max => false,
            LexEnd::Included(min) => member >= min,
            LexEnd::Excluded(min) => member > min,
        }
    }

    fn is_below_max(&self, member: &[u8]) -> bool {
        match self.max {
            LexEnd::Min => false,
            LexEnd::Max => true,
            LexEnd::Included(max) => member <= max,
            LexEnd::Excluded(max) => member < max,
        }
    }
}

/// A sorted set to read, whatever its encoding.
#[derive(Clone, Copy)]
pub enum ZSetRef<'a> {
    Packed(Listpack<'a>),
    Large { table: &'a View<Member>, tree: &'a BTree<Handle> },
}

impl<'a> ZSetRef<'a> {
    /// Of a cell that holds a sorted set; panics on another type.
    pub fn of(cell: &'a Cell) -> Self {
        match cell.kind() {
            Kind::ZSetPacked => ZSetRef::Packed(Listpack::new(cell.body())),
            _ => cell.large::<ZSetTree>().view(),
        }
    }

    pub fn len(self) -> usize {
        match self {
            ZSetRef::Packed(pack) => pack.len() / 2,
            ZSetRef::Large { tree, .. } => tree.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub fn contains(self, member: &[u8]) -> bool {
        self.score(member).is_some()
    }

    pub fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            ZSetRef::Packed(pack) => pack.find_pair(member).map(|(_, score)| score_of(pack.get(score))),
            ZSetRef::Large { table, .. } => table.get(member).map(Member::score),
        }
    }

    /// The 0-based rank from the lowest score, and the score.
    pub fn rank(self, member: &[u8]) -> Option<(usize, f64)> {
        match self {
            ZSetRef::Packed(pack) => {
                let at = pack.pairs().position(|(m, _)| m.eq_bytes(member))?;
                Some((at, self.score(member)?))
            }
            ZSetRef::Large { tree, .. } => {
                let score = self.score(member)?;
                Some((tree.rank(score, member)?, score))
            }
        }
    }

    /// The pairs in order.
    pub fn iter(self) -> Iter<'a> {
        self.range(0..self.len())
    }

    /// The pairs of these ranks in order, from either end; clipped to what is there.
    pub fn range(self, ranks: Range<usize>) -> Iter<'a> {
        match self {
            ZSetRef::Packed(pack) => {
                let end = ranks.end.min(self.len());
                let start = ranks.start.min(end);
                let mut pairs = pack.pairs();
                if start > 0 {
                    pairs.nth(start - 1);
                }
                if end < self.len() {
                    pairs.nth_back(self.len() - end - 1);
                }
                Iter::Packed(pairs)
            }
            ZSetRef::Large { tree, .. } => Iter::Large(tree.range(ranks)),
        }
    }

    /// The ranks of the members with these scores.
    pub fn ranks_by_score(self, range: &ScoreRange) -> Range<usize> {
        let ScoreRange { min, max, min_excluded, max_excluded } = *range;
        if min > max || (min == max && (min_excluded || max_excluded)) {
            return 0..0;
        }
        match self {
            ZSetRef::Packed(pack) => ranks_where(
                pack.pairs().map(|(_, score)| score_of(score)),
                |score| range.is_above_min(*score),
                |score| range.is_below_max(*score),
            ),
            ZSetRef::Large { tree, .. } => {
                let from = if min_excluded { Bound::AfterScore(min) } else { Bound::BeforeScore(min) };
                let to = if max_excluded { Bound::BeforeScore(max) } else { Bound::AfterScore(max) };
                let start = tree.rank_of(from);
                start..tree.rank_of(to).max(start)
            }
        }
    }

    /// The ranks of these members, given that all scores are equal.
    pub fn ranks_by_lex(self, range: &LexRange<'_>) -> Range<usize> {
        match self {
            ZSetRef::Packed(pack) => ranks_where(
                pack.pairs().map(|(member, _)| member),
                |m| range.is_above_min(m.to_cow(&mut [0; listpack::INT_TEXT_MAX])),
                |m| range.is_below_max(m.to_cow(&mut [0; listpack::INT_TEXT_MAX])),
            ),
            ZSetRef::Large { tree, .. } => {
                let from = match range.min {
                    LexEnd::Min => Bound::First,
                    LexEnd::Max => Bound::Last,
                    LexEnd::Included(member) => Bound::BeforeMember(member),
                    LexEnd::Excluded(member) => Bound::AfterMember(member),
                };
                let to = match range.max {
                    LexEnd::Min => Bound::First,
                    LexEnd::Max => Bound::Last,
                    LexEnd::Included(member) => Bound::AfterMember(member),
                    LexEnd::Excluded(member) => Bound::BeforeMember(member),
                };
                let start = tree.rank_of(from);
                start..tree.rank_of(to).max(start)
            }
        }
    }

    /// One step of ZSCAN: emits at least `count` pairs, unless the end comes first; returns the next cursor, 0 at the
    /// end. A listpack is emitted whole, as in Redis.
    pub fn scan(self, cursor: u64, count: usize, emit: &mut impl FnMut(Elem<'_>, f64)) -> u64 {
        match self {
            ZSetRef::Packed(_) => {
                self.iter().for_each(|(member, score)| emit(member, score));
                0
            }
            ZSetRef::Large { table, .. } => {
                table.scan(cursor, count, &mut |m| emit(Elem::Str(m.bytes()), m.score()))
            }
        }
    }

    /// A pair, each equally likely.
    pub fn random(self, rng: &mut Rng) -> Option<(Elem<'a>, f64)> {
        let rank = rng.below(self.len().max(1) as u64) as usize;
        match self {
            ZSetRef::Packed(_) => self.range(rank..rank + 1).next(),
            ZSetRef::Large { table, .. } => {
                table.random(&mut |n| rng.below(n)).map(|m| (Elem::Str(m.bytes()), m.score()))
            }
        }
    }

    /// `count` distinct pairs, every choice equally likely; all of them when there are no more.
    pub fn sample(self, count: usize, rng: &mut Rng, emit: &mut impl FnMut(Elem<'a>, f64)) {
        let len = self.len();
        if let ZSetRef::Large { table, .. } = self
            && count < len / 3
        {
            let mut seen = HashSet::with_capacity(count);
            while seen.len() < count {
                let Some(member) = table.random(&mut |n| rng.below(n)) else { return };
                if seen.insert(ptr::from_ref(member)) {
                    emit(Elem::Str(member.bytes()), member.score());
                }
            }
            return;
        }
        let mut wanted = count.min(len);
        for (seen, (member, score)) in self.iter().enumerate() {
            if wanted == 0 {
                return;
            }
            if rng.below((len - seen) as u64) < wanted as u64 {
                wanted -= 1;
                emit(member, score);
            }
        }
    }
}

/// From the first that is `above` on, while they are `below`.
fn ranks_where<T>(
    items: impl Iterator<Item = T>,
    above: impl Fn(&T) -> bool,
    below: impl Fn(&T) -> bool,
) -> Range<usize> {
    let mut start = 0;
    let mut end = 0;
    for (i, item) in items.enumerate() {
        if i == end && start == end && !above(&item) {
            (start, end) = (i + 1, i + 1);
        } else if below(&item) {
            end = i + 1;
        } else {
            break;
        }
    }
    start..end
}

/// See [`ZSetRef::range`].
#[expect(clippy::large_enum_variant, reason = "lives on the stack of one loop")]
pub enum Iter<'a> {
    Packed(listpack::Pairs<'a>),
    Large(btree::Iter<'a, Handle>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Elem<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Iter::Packed(pairs) => pairs.next().map(|(member, score)| (member, score_of(score))),
            Iter::Large(items) => items.next().map(|(score, m)| (Elem::Str(btree::Member::bytes(m)), score)),
        }
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Iter::Packed(pairs) => pairs.next_back().map(|(member, score)| (member, score_of(score))),
            Iter::Large(items) => {
                items.next_back().map(|(score, m)| (Elem::Str(btree::Member::bytes(m)), score))
            }
        }
    }
}

/// A sorted set as it was at one moment, for readers that let the keyspace go on meanwhile.
pub enum ZSetPin {
    Packed(Box<[u8]>),
    Large { table: Pinned<Member>, tree: BTree<Handle> },
}

impl ZSetPin {
    /// Of a cell that holds a sorted set.
    pub fn of(cell: &Cell) -> Self {
        match cell.kind() {
            Kind::ZSetPacked => ZSetPin::Packed(cell.body().into()),
            _ => {
                let large = cell.large::<ZSetTree>();
                ZSetPin::Large { table: large.table.pin(), tree: large.tree.pin() }
            }
        }
    }

    pub fn get(&self) -> ZSetRef<'_> {
        match self {
            ZSetPin::Packed(body) => ZSetRef::Packed(Listpack::new(body)),
            ZSetPin::Large { table, tree } => ZSetRef::Large { table, tree },
        }
    }
}

/// A listpack's score: an integer, or the text of a double.
fn score_of(elem: Elem<'_>) -> f64 {
    match elem {
        Elem::Int(v) => v as f64,
        // Dumps from elsewhere may hold what is no number; it must not be NaN.
        Elem::Str(text) => parse_f64(text).unwrap_or(0.0),
    }
}

/// How a score stands in a listpack.
fn score_text(score: f64) -> Vec<u8> {
    let mut text = Vec::with_capacity(24);
    // As Redis: what an integer holds exactly is one, also -0.
    if score.abs() < (i64::MAX / 2) as f64 && score == score.trunc() {
        crate::base::num::write_i64(&mut text, score as i64);
    } else {
        write_f64(&mut text, score);
    }
    text
}

/// The order of sorted sets.
pub fn compare(a: (f64, &[u8]), b: (f64, &[u8])) -> Order {
    a.0.partial_cmp(&b.0).unwrap_or(Order::Equal).then_with(|| a.1.cmp(b.1))
}

/// An empty sorted set that suits `expected` members, the first of which is `first`.
pub fn create(key: &[u8], first: &[u8], expected: usize, limits: &Limits, seed: u64) -> Cell {
    if expected <= limits.zset_max_listpack_entries.get()
        && first.len() <= limits.zset_max_listpack_value.get()
    {
        Cell::packed(key, Kind::ZSetPacked, listpack::empty())
    } else {
        let mut large = ZSetTree::new(seed);
        large.table.reserve(expected);
        Cell::new_large(key, Kind::ZSetTree, Box::new(large))
    }
}

/// A sorted set of what `items` holds, which is in order and without duplicates, in the encoding that suits it.
pub fn from_sorted(key: &[u8], items: &[(f64, impl AsRef<[u8]>)], limits: &Limits, seed: u64) -> Cell {
    if fits_listpack(items, limits) {
        let mut pack = listpack::empty().to_vec();
        for (score, member) in items {
            listpack::insert_pair(&mut pack, None, member.as_ref(), &score_text(*score));
        }
        return Cell::packed(key, Kind::ZSetPacked, &pack);
    }
    let large = ZSetTree::from_sorted(items.iter().map(|(score, m)| (*score, m.as_ref())), items.len(), seed);
    Cell::new_large(key, Kind::ZSetTree, Box::new(large))
}

/// A sorted set of these pairs in any order, in the encoding that suits it; `None` when a member comes twice.
pub fn from_unsorted(key: &[u8], items: &mut [(f64, &[u8])], limits: &Limits, seed: u64) -> Option<Cell> {
    items.sort_by(|a, b| compare(*a, *b));
    if !fits_listpack(items, limits) {
        let sorted = items.iter().map(|(score, m)| (*score, *m));
        let (large, distinct) = ZSetTree::build(sorted, items.len(), seed, true);
        return distinct.then(|| Cell::new_large(key, Kind::ZSetTree, Box::new(large)));
    }
    let mut seen = HashSet::with_capacity(items.len());
    let distinct = items.iter().all(|(_, member)| seen.insert(*member));
    distinct.then(|| from_sorted(key, items, limits, seed))
}

fn fits_listpack(items: &[(f64, impl AsRef<[u8]>)], limits: &Limits) -> bool {
    let value_max = limits.zset_max_listpack_value.get();
    let bytes: usize = items.iter().map(|(_, m)| m.as_ref().len() + 32).sum();
    items.len() <= limits.zset_max_listpack_entries.get()
        && items.iter().all(|(_, m)| m.as_ref().len() <= value_max)
        && listpack::has_room(bytes, 0)
}

/// Announces that up to `more` members are about to be added.
pub fn expect(cell: &mut Cell, more: usize, limits: &Limits, seed: u64) {
    if cell.kind() == Kind::ZSetPacked && more > limits.zset_max_listpack_entries.get() {
        to_tree(cell, more, seed);
    }
}

/// What [`update`] is asked to do.
#[derive(Clone, Copy, Default, Debug)]
pub struct Update {
    /// Only add.
    pub nx: bool,
    /// Only change.
    pub xx: bool,
    /// Change only to a greater score.
    pub gt: bool,
    /// Change only to a lower score.
    pub lt: bool,
    /// The score is added to the old one.
    pub incr: bool,
}

/// What became of it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Updated {
    /// The conditions did not allow it.
    Nothing,
    Added(f64),
    Changed(f64),
    /// It already had that score.
    Same(f64),
    /// The sum of the scores would be none.
    NotANumber,
}

impl Update {
    /// The new score of a member that has one, or why it keeps the old.
    fn apply(self, old: f64, score: f64) -> Result<f64, Updated> {
        if self.nx {
            return Err(Updated::Nothing);
        }
        let new = if self.incr { old + score } else { score };
        if new.is_nan() {
            return Err(Updated::NotANumber);
        }
        if (self.lt && new >= old) || (self.gt && new <= old) {
            return Err(Updated::Nothing);
        }
        if new == old { Err(Updated::Same(new)) } else { Ok(new) }
    }
}

/// Adds a member or gives it another score. `score` is no NaN. May change the encoding.
pub fn update(
    cell: &mut Cell,
    member: &[u8],
    score: f64,
    how: Update,
    limits: &Limits,
    seed: u64,
) -> Updated {
    if cell.kind() == Kind::ZSetPacked {
        let pack = Listpack::new(cell.body());
        if let Some((at, score_at)) = pack.find_pair(member) {
            let new = match how.apply(score_of(pack.get(score_at)), score) {
                Ok(new) => new,
                Err(why) => return why,
            };
            move_packed(cell, at, score_at, member, new);
            return Updated::Changed(new);
        }
        if how.xx {
            return Updated::Nothing;
        }
        if pack.len() / 2 < limits.zset_max_listpack_entries.get()
            && member.len() <= limits.zset_max_listpack_value.get()
            && listpack::has_room(pack.bytes_len(), member.len() + 64)
        {
            insert_packed(cell, member, score);
            return Updated::Added(score);
        }
        to_tree(cell, 0, seed);
    }
    cell.large_mut::<ZSetTree>().update(member, score, how)
}

/// Puts a pair in its place.
fn insert_packed(cell: &mut Cell, member: &[u8], score: f64) {
    let pack = Listpack::new(cell.body());
    let mut before = None;
    let mut at = pack.first();
    // Ascending scores are common: look at the last pair first.
    let last = pack.last().and_then(|last| Some((pack.prev(last)?, last)));
    if let Some((m, s)) = last
        && is_before(&pack, m, s, score, member)
    {
        at = None;
    }
    while let Some(m) = at {
        let Some(s) = pack.next(m) else { break };
        if !is_before(&pack, m, s, score, member) {
            before = Some(m);
            break;
        }
        at = pack.next(s);
    }
    listpack::insert_pair(&mut cell.blob(), before, member, &score_text(score));
}

/// Whether the pair at `m` and `s` comes before this one.
fn is_before(pack: &Listpack<'_>, m: Pos, s: Pos, score: f64, member: &[u8]) -> bool {
    let other = score_of(pack.get(s));
    other < score || (other == score && pack.get(m).cmp_bytes(member) == Order::Less)
}

/// Changes the score of the pair at `at` and `score_at`: in place where the neighbours allow it.
fn move_packed(cell: &mut Cell, at: Pos, score_at: Pos, member: &[u8], score: f64) {
    let pack = Listpack::new(cell.body());
    let after_left = pack.prev(at).and_then(|s| Some((pack.prev(s)?, s)));
    let right = pack.next(score_at).and_then(|m| Some((m, pack.next(m)?)));
    if after_left.is_none_or(|(m, s)| is_before(&pack, m, s, score, member))
        && right.is_none_or(|(m, s)| !is_before(&pack, m, s, score, member))
    {
        listpack::replace(&mut cell.blob(), score_at, &score_text(score));
    } else {
        listpack::remove_range(&mut cell.blob(), at, 2);
        insert_packed(cell, member, score);
    }
}

/// Removes a member; false when it was not there. The set may be empty afterwards.
pub fn remove(cell: &mut Cell, member: &[u8]) -> bool {
    if cell.kind() == Kind::ZSetPacked {
        let Some((at, _)) = Listpack::new(cell.body()).find_pair(member) else { return false };
        listpack::remove_range(&mut cell.blob(), at, 2);
        return true;
    }
    cell.large_mut::<ZSetTree>().remove(member)
}

/// Removes the members of these ranks and hands each over, in order.
pub fn remove_ranks(cell: &mut Cell, ranks: Range<usize>, gone: &mut dyn FnMut(Elem<'_>, f64)) {
    if cell.kind() != Kind::ZSetPacked {
        return cell.large_mut::<ZSetTree>().remove_ranks(ranks, gone);
    }
    let set = ZSetRef::of(cell);
    let ranks = ranks.start.min(set.len())..ranks.end.min(set.len());
    if ranks.is_empty() {
        return;
    }
    set.range(ranks.clone()).for_each(|(member, score)| gone(member, score));
    if let Some(from) = Listpack::new(cell.body()).seek(2 * ranks.start as i64) {
        listpack::remove_range(&mut cell.blob(), from, 2 * ranks.len());
    }
}

/// Makes it large, with room for `expected` in the table.
pub fn to_tree(cell: &mut Cell, expected: usize, seed: u64) {
    if cell.kind() == Kind::ZSetTree {
        return;
    }
    let set = ZSetRef::of(cell);
    // A dump from elsewhere may lack the order.
    let mut items: Vec<(f64, Vec<u8>)> = set.iter().map(|(member, score)| (score, member.to_vec())).collect();
    items.sort_by(|a, b| compare((a.0, &a.1), (b.0, &b.1)));
    let expected = expected.max(items.len() + 1);
    let large = ZSetTree::from_sorted(items.iter().map(|(s, m)| (*s, m.as_slice())), expected, seed);
    cell.set_large(Kind::ZSetTree, Box::new(large));
}

/// A large sorted set.
pub struct ZSetTree {
    table: Table<Member>,
    tree: BTree<Handle>,
    heap: usize,
}

impl Clone for ZSetTree {
    fn clone(&self) -> Self {
        ZSetTree { table: self.table.clone(), tree: self.tree.pin(), heap: self.heap }
    }
}

impl ZSetTree {
    pub fn new(seed: u64) -> Self {
        ZSetTree { table: Table::new(seed), tree: BTree::new(), heap: 0 }
    }

    /// Of pairs in order, without duplicates; `expected` members in all will come.
    pub fn from_sorted<'m>(items: impl Iterator<Item = (f64, &'m [u8])>, expected: usize, seed: u64) -> Self {
        Self::build(items, expected, seed, false).0
    }

    /// As `from_sorted`; with `check` tells whether all members are distinct. If they are not, the set is only to be
    /// dropped.
    fn build<'m>(
        items: impl Iterator<Item = (f64, &'m [u8])>,
        expected: usize,
        seed: u64,
        check: bool,
    ) -> (Self, bool) {
        let mut set = Self::new(seed);
        set.table.reserve(expected);
        let (table, heap, mut distinct) = (&mut set.table, &mut set.heap, true);
        let tree = BTree::from_sorted(items.map(|(score, bytes)| {
            let member = Member::new(bytes, score);
            let handle = member.handle();
            *heap += member.heap_bytes();
            let hash = table.hash_of(bytes);
            distinct &= !check || table.get_hashed(hash, bytes).is_none();
            table.insert_new_hashed(hash, member);
            (score, handle)
        }));
        set.tree = tree;
        (set, distinct)
    }

    pub fn view(&self) -> ZSetRef<'_> {
        ZSetRef::Large { table: &self.table, tree: &self.tree }
    }

    pub fn update(&mut self, bytes: &[u8], score: f64, how: Update) -> Updated {
        let hash = self.table.hash_of(bytes);
        let Some(old) = self.table.get_hashed(hash, bytes).map(Member::score) else {
            if how.xx {
                return Updated::Nothing;
            }
            let member = Member::new(bytes, score);
            let handle = member.handle();
            self.heap += member.heap_bytes();
            self.table.insert_new_hashed(hash, member);
            self.tree.insert(score, handle);
            return Updated::Added(score);
        };
        let new = match how.apply(old, score) {
            Ok(new) => new,
            Err(why) => return why,
        };
        if let Some(member) = self.table.get_mut_hashed(hash, bytes) {
            if member.try_set_score(new) {
                self.tree.update_score(old, bytes, new);
            } else {
                // Out of the tree before the table lets go of it.
                self.tree.remove(old, bytes);
                let fresh = Member::new(bytes, new);
                self.tree.insert(new, fresh.handle());
                *member = fresh;
            }
        }
        Updated::Changed(new)
    }

    pub fn remove(&mut self, bytes: &[u8]) -> bool {
        let hash = self.table.hash_of(bytes);
        let Some(score) = self.table.get_hashed(hash, bytes).map(Member::score) else { return false };
        self.tree.remove(score, bytes);
        if let Some(gone) = self.table.remove_hashed(hash, bytes) {
            self.heap -= gone.heap_bytes();
        }
        true
    }

    fn remove_ranks(&mut self, ranks: Range<usize>, gone: &mut dyn FnMut(Elem<'_>, f64)) {
        let (table, heap) = (&mut self.table, &mut self.heap);
        if ranks.start == 0 && ranks.end >= table.len() && !table.is_empty() {
            self.tree.iter().for_each(|(score, m)| gone(Elem::Str(btree::Member::bytes(m)), score));
            self.tree = BTree::new();
            table.clear();
            *heap = 0;
            return;
        }
        let mut out = Vec::with_capacity(ranks.len().min(table.len()));
        self.tree.remove_range_by_rank(ranks.start, ranks.end, &mut |_, handle| out.push(handle));
        for handle in out {
            // SAFETY: the tree let go of it, the table has not yet; another owner keeps it alive while it is used as
            // the key of its own removal.
            let member = unsafe { Member::share(handle) };
            gone(Elem::Str(member.bytes()), member.score());
            table.remove(member.bytes());
            *heap -= member.heap_bytes();
        }
    }
}

impl Large for ZSetTree {
    fn mem_bytes(&self) -> usize {
        size_class(size_of::<Self>()) + self.table.mem_bytes() + self.tree.mem_bytes() + self.heap
    }

    fn free_effort(&self) -> usize {
        self.table.len()
    }

    fn boxed_clone(&self) -> Box<dyn Large> {
        Box::new(self.clone())
    }

    fn settle(&mut self, leaves: usize) -> bool {
        self.table.settle(leaves)
    }
}

/// What stands before a member's bytes.
#[repr(C)]
struct Head {
    score: f64,
    owners: AtomicU32,
    len: u32,
}

const HEAD: usize = size_of::<Head>();

/// An owner of a member. `Clone` counts one owner more.
pub struct Member(NonNull<Head>);

// SAFETY: what it points to is changed only through `try_set_score`, by the only owner; the count is atomic.
unsafe impl Send for Member {}
// SAFETY: as above.
unsafe impl Sync for Member {}

impl Member {
    fn new(bytes: &[u8], score: f64) -> Self {
        let len = u32::try_from(bytes.len()).expect("members are bounded by proto-max-bulk-len");
        let layout = Self::layout(bytes.len());
        // SAFETY: the layout is not empty and has room for the head and the bytes.
        unsafe {
            let raw = alloc(layout);
            let Some(head) = NonNull::new(raw.cast::<Head>()) else { handle_alloc_error(layout) };
            head.write(Head { score, owners: AtomicU32::new(1), len });
            ptr::copy_nonoverlapping(bytes.as_ptr(), raw.add(HEAD), bytes.len());
            Member(head)
        }
    }

    fn layout(len: usize) -> Layout {
        Layout::from_size_align(HEAD + len, 8).expect("members are bounded by proto-max-bulk-len")
    }

    /// A further owner.
    ///
    /// # Safety
    /// Some owner of the handle's member lives.
    unsafe fn share(handle: Handle) -> Self {
        // SAFETY: per the contract.
        let owners = unsafe { &handle.0.as_ref().owners };
        assert!(owners.fetch_add(1, Ordering::Relaxed) < u32::MAX / 2, "too many owners of a member");
        Member(handle.0)
    }

    #[inline]
    fn head(&self) -> &Head {
        // SAFETY: alive as long as it has an owner.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    fn handle(&self) -> Handle {
        Handle(self.0)
    }

    #[inline]
    pub fn score(&self) -> f64 {
        self.head().score
    }

    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: that is how `new` laid it out.
        unsafe { bytes_at(self.0) }
    }

    /// Changes the score unless there is another owner.
    fn try_set_score(&mut self, score: f64) -> bool {
        // Acquire: what former owners read is over.
        if self.head().owners.load(Ordering::Acquire) != 1 {
            return false;
        }
        // SAFETY: no other owner, so nobody else reads the head.
        unsafe { self.0.as_mut().score = score };
        true
    }

    /// What the allocator gave for it.
    fn heap_bytes(&self) -> usize {
        size_class(HEAD + self.head().len as usize)
    }
}

/// # Safety
/// The member has an owner, for at least as long as the result is used.
#[inline]
unsafe fn bytes_at<'a>(head: NonNull<Head>) -> &'a [u8] {
    // SAFETY: the bytes follow the head, which tells their number.
    unsafe {
        let len = (*head.as_ptr()).len as usize;
        std::slice::from_raw_parts(head.as_ptr().cast::<u8>().add(HEAD), len)
    }
}

impl Clone for Member {
    fn clone(&self) -> Self {
        // SAFETY: this owner lives.
        unsafe { Member::share(self.handle()) }
    }
}

impl Drop for Member {
    #[inline]
    fn drop(&mut self) {
        let owners = &self.head().owners;
        // The only owner need not count down: nobody else could count up.
        if owners.load(Ordering::Acquire) != 1 {
            if owners.fetch_sub(1, Ordering::Release) != 1 {
                return;
            }
            // A fence would do, but ThreadSanitizer knows none.
            owners.load(Ordering::Acquire);
        }
        let layout = Self::layout(self.head().len as usize);
        // SAFETY: the last owner; allocated with this layout.
        unsafe { dealloc(self.0.as_ptr().cast(), layout) };
    }
}

impl Slot for Member {
    fn hash(&self, seed: u64) -> u64 {
        table::hash(seed, self.bytes())
    }

    #[inline]
    fn matches(&self, key: &[u8]) -> bool {
        self.bytes() == key
    }

    #[inline]
    fn prefetch(&self) {
        table::prefetch(self.0.as_ptr());
    }
}

/// A member as the tree knows it: owned by the table beside it, see the module.
#[derive(Clone, Copy)]
pub struct Handle(NonNull<Head>);

// SAFETY: reads only the length and the bytes, which never change.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl btree::Member for Handle {
    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: the table beside the tree owns the member for as long as the tree has the handle.
        unsafe { bytes_at(self.0) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::base::rng::Rng;

    const ADD: Update = Update { nx: false, xx: false, gt: false, lt: false, incr: false };

    fn limits(entries: usize) -> Limits {
        let limits = Limits::new();
        limits.zset_max_listpack_entries.set(entries);
        limits
    }

    fn pairs(set: ZSetRef<'_>) -> Vec<(f64, Vec<u8>)> {
        set.iter().map(|(m, s)| (s, m.to_vec())).collect()
    }

    fn in_order(model: &BTreeMap<Vec<u8>, f64>) -> Vec<(f64, Vec<u8>)> {
        let mut all: Vec<_> = model.iter().map(|(m, s)| (*s, m.clone())).collect();
        all.sort_by(|a, b| compare((a.0, &a.1), (b.0, &b.1)));
        all
    }

    #[test]
    fn a_large_set_takes_little_memory() {
        let mut set = ZSetTree::new(3);
        let mut rng = Rng::from_seed(3);
        for i in 0..200_000 {
            set.update(format!("member:{i:09}").as_bytes(), rng.f64(), ADD);
        }
        let bytes = set.mem_bytes() as f64 / 200_000.0;
        assert!(bytes < 67.0, "{bytes}");
        (0..200_000).for_each(|i| assert!(set.remove(format!("member:{i:09}").as_bytes())));
        assert_eq!((set.heap, set.tree.len(), set.table.len()), (0, 0, 0));
    }

    #[test]
    fn encodings_change_where_redis_changes_them() {
        let limits = limits(2);
        let mut cell = create(b"k", b"a", 2, &limits, 7);
        update(&mut cell, b"a", 1.5, ADD, &limits, 7);
        update(&mut cell, b"b", -3.0, ADD, &limits, 7);
        assert_eq!(cell.kind(), Kind::ZSetPacked);
        assert_eq!(pairs(ZSetRef::of(&cell)), [(-3.0, b"b".to_vec()), (1.5, b"a".to_vec())]);
        let mut other = cell.copied(b"k");
        update(&mut cell, b"c", 0.0, ADD, &limits, 7);
        assert_eq!(cell.kind(), Kind::ZSetTree);
        assert_eq!(pairs(ZSetRef::of(&cell))[1], (0.0, b"c".to_vec()));
        remove(&mut other, b"a");
        update(&mut other, &[b'x'; 65], 0.0, ADD, &limits, 7);
        assert_eq!(other.kind(), Kind::ZSetTree);
        assert_eq!(create(b"k", b"a", 3, &limits, 7).kind(), Kind::ZSetTree);
    }

    fn score() -> impl Strategy<Value = f64> {
        prop_oneof![
            6 => (-8..8i32).prop_map(f64::from),
            2 => -1e3..1e3f64,
            1 => prop::sample::select(vec![f64::INFINITY, f64::NEG_INFINITY, 1e300, 5e-324, 0.1, 9e18, -0.0]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn edits_match_a_model(
            ops in prop::collection::vec((0..12u8, 0..150u32, score(), score()), 0..300),
            entries in prop::sample::select(vec![0usize, 5, 1000]),
            options in (any::<bool>(), any::<bool>()),
        ) {
            let limits = limits(entries);
            let mut cell = create(b"k", b"", 1, &limits, 9);
            let mut model: BTreeMap<Vec<u8>, f64> = BTreeMap::new();
            #[expect(clippy::type_complexity, reason = "a pin, a copy, and what both must still hold")]
            let mut pins: Vec<(ZSetPin, Cell, Vec<(f64, Vec<u8>)>)> = Vec::new();
            for (op, m, a, b) in ops {
                let m = if m % 3 == 0 { m.to_string() } else { format!("m{m}") }.into_bytes();
                match op {
                    0..=4 => {
                        let old = model.insert(m.clone(), a);
                        let expected = match old {
                            None => Updated::Added(a),
                            Some(old) if old == a => Updated::Same(a),
                            Some(_) => Updated::Changed(a),
                        };
                        prop_assert_eq!(update(&mut cell, &m, a, ADD, &limits, 9), expected);
                    }
                    5 => {
                        let how = Update { gt: options.0, lt: !options.0, xx: options.1, ..ADD };
                        update(&mut cell, &m, a, how, &limits, 9);
                        match model.get_mut(&m) {
                            Some(old) if (how.gt && a > *old) || (how.lt && a < *old) => *old = a,
                            None if !how.xx => drop(model.insert(m, a)),
                            _ => {}
                        }
                    }
                    6..=7 => prop_assert_eq!(remove(&mut cell, &m), model.remove(&m).is_some()),
                    8 => pins.push((ZSetPin::of(&cell), cell.copied(b"copy"), in_order(&model))),
                    9 => drop(pins.pop()),
                    10 => {
                        let range = ScoreRange { min: a, max: b, min_excluded: options.0, max_excluded: options.1 };
                        let ranks = ZSetRef::of(&cell).ranks_by_score(&range);
                        let all = in_order(&model);
                        let expected: Vec<_> = all.into_iter().filter(|(s, _)| {
                            (if options.0 { *s > a } else { *s >= a }) && (if options.1 { *s < b } else { *s <= b })
                        }).collect();
                        let found: Vec<_> = ZSetRef::of(&cell).range(ranks.clone()).map(|(m, s)| (s, m.to_vec())).collect();
                        prop_assert_eq!(&found, &expected);
                        if ranks.len() < 8 {
                            let mut gone = Vec::new();
                            remove_ranks(&mut cell, ranks, &mut |m, s| gone.push((s, m.to_vec())));
                            prop_assert_eq!(&gone, &expected);
                            gone.iter().for_each(|(_, m)| { let _ = model.remove(m); });
                        }
                    }
                    _ => {
                        let at = in_order(&model).iter().position(|(_, other)| *other == m);
                        prop_assert_eq!(ZSetRef::of(&cell).rank(&m).map(|(rank, _)| rank), at);
                    }
                }
            }
            let all = in_order(&model);
            prop_assert_eq!(&pairs(ZSetRef::of(&cell)), &all);
            let mut back: Vec<_> = ZSetRef::of(&cell).iter().rev().map(|(m, s)| (s, m.to_vec())).collect();
            back.reverse();
            prop_assert_eq!(&back, &all);
            for (m, s) in &model {
                prop_assert_eq!(ZSetRef::of(&cell).score(m), Some(*s));
            }
            for (pin, mut copy, then) in pins {
                prop_assert_eq!(&pairs(pin.get()), &then);
                prop_assert_eq!(&pairs(ZSetRef::of(&copy)), &then);
                for (_, m) in &then {
                    update(&mut copy, m, 77.0, ADD, &limits, 9);
                }
                prop_assert!(ZSetRef::of(&copy).iter().all(|(_, s)| s == 77.0));
                prop_assert_eq!(&pairs(pin.get()), &then);
            }
            prop_assert_eq!(&pairs(ZSetRef::of(&cell)), &all);
        }

        #[test]
        fn ranges_by_member_match_a_filter(
            members in prop::collection::btree_set("[a-c]{0,3}", 0..40),
            entries in prop::sample::select(vec![0usize, 1000]),
            ends in (0..4u8, "[a-c]{0,3}", 0..4u8, "[a-c]{0,3}"),
        ) {
            let limits = limits(entries);
            let mut cell = create(b"k", b"", 1, &limits, 9);
            members.iter().for_each(|m| { let _ = update(&mut cell, m.as_bytes(), 0.0, ADD, &limits, 9); });
            fn end(kind: u8, text: &str) -> LexEnd<'_> {
                match kind {
                    0 => LexEnd::Min,
                    1 => LexEnd::Max,
                    2 => LexEnd::Included(text.as_bytes()),
                    _ => LexEnd::Excluded(text.as_bytes()),
                }
            }
            let range = LexRange { min: end(ends.0, &ends.1), max: end(ends.2, &ends.3) };
            let expected: Vec<_> = members.iter().map(|m| m.as_bytes().to_vec())
                .filter(|m| range.is_above_min(m) && range.is_below_max(m)).collect();
            let set = ZSetRef::of(&cell);
            let found: Vec<_> = set.range(set.ranks_by_lex(&range)).map(|(m, _)| m.to_vec()).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
