//! The order of a large sorted set: a B+tree of (score, member) with subtree counts, in place of Redis's skiplist.
//!
//! Order is Redis's: score first (-0.0 equals 0.0, NaN never enters), then the member's bytes. Ranks, counts and ranges
//! are O(log n) by the counts kept in inner nodes; member bytes are touched only where scores tie.
//!
//! Invariants:
//! - All leaves are at one depth; no node but the root is ever empty.
//! - `keys[i]` of an inner node is the first item below child `i`, exactly (so no handle outlives its item's removal),
//!   and `counts[i]` the number of items below it.
//! - A node is changed only through `Arc::make_mut`: whoever holds a pin (a clone of the root) sees it unchanged, and a
//!   writer copies just the nodes on its path.
//!
//! Space: a full leaf first evens out with its neighbours, and only when the whole neighbourhood is nearly full does
//! it become one leaf more (5 to 6), which keeps leaves about 88 % full under random inserts where halving gives 69 %.
//! Inserts at either end leave full leaves behind them.
#![allow(unsafe_code)]
use std::cmp::Ordering;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut, Range};
use triomphe::Arc;

use smallvec::SmallVec;

/// A cheap handle of a member's bytes, shared with the sorted set's table.
pub trait Member: Clone {
    fn bytes(&self) -> &[u8];
}

/// Where a range starts or ends: the border lies before or after the items named.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound<'a> {
    /// Before the first item of all.
    First,
    /// After the last item of all.
    Last,
    /// Before every item with this score.
    BeforeScore(f64),
    /// After every item with this score.
    AfterScore(f64),
    /// Before this item, present or not.
    BeforeItem(f64, &'a [u8]),
    /// After this item, present or not.
    AfterItem(f64, &'a [u8]),
    /// Before this member, where all scores are equal (ZRANGEBYLEX).
    BeforeMember(&'a [u8]),
    /// After this member, where all scores are equal.
    AfterMember(&'a [u8]),
}

impl Bound<'_> {
    /// How many of these sorted items lie before the border.
    #[inline]
    fn search<M: Member>(&self, items: &[Item<M>]) -> usize {
        match *self {
            Bound::First => 0,
            Bound::Last => items.len(),
            Bound::BeforeScore(score) => count_while(items, |s| s < score),
            Bound::AfterScore(score) => count_while(items, |s| s <= score),
            Bound::BeforeItem(score, member) => tie(items, score, |m| m.bytes() < member),
            Bound::AfterItem(score, member) => tie(items, score, |m| m.bytes() <= member),
            Bound::BeforeMember(member) => items.partition_point(|(_, m)| m.bytes() < member),
            Bound::AfterMember(member) => items.partition_point(|(_, m)| m.bytes() <= member),
        }
    }
}

/// How many items have a lower score, or the same one and a member that is `before`.
#[inline]
fn tie<M>(items: &[Item<M>], score: f64, before: impl Fn(&M) -> bool) -> usize {
    let start = count_while(items, |s| s < score);
    match items.get(start) {
        Some((s, _)) if *s == score => {
            let ties = items[start..].partition_point(|(s, _)| *s == score);
            start + items[start..start + ties].partition_point(|(_, m)| before(m))
        }
        _ => start,
    }
}

/// A partition point by score alone. In three rounds of independent loads, as a node is seldom in the cache and halving
/// it would wait for memory at each step.
#[inline]
fn count_while<M>(items: &[Item<M>], before: impl Fn(f64) -> bool) -> usize {
    let mut start = 0;
    let mut items = items;
    for stride in [16, 4] {
        let n =
            items.chunks_exact(stride).map(|chunk| usize::from(before(chunk[stride - 1].0))).sum::<usize>()
                * stride;
        start += n;
        items = &items[n..items.len().min(n + stride)];
    }
    start + items.iter().map(|(s, _)| usize::from(before(*s))).sum::<usize>()
}

type Item<M> = (f64, M);

/// Items a leaf: with the reference counts and the length it fills a 1,024-byte allocation class. Twice that saves
/// half a byte an item and costs a third more a look-up.
const LEAF: usize = 62;
/// Children an inner node: fills a 2,048-byte class.
const FANOUT: usize = 62;
/// How many neighbours share their room before a node is added.
const WINDOW: usize = 5;

/// See the module. `Clone` is O(1) and is what [`BTree::pin`] does.
#[derive(Clone)]
pub struct BTree<M: Member> {
    root: Root<M>,
    len: usize,
    leaves: usize,
    inners: usize,
}

#[derive(Clone)]
enum Root<M: Member> {
    Empty,
    Leaf(Arc<Leaf<M>>),
    Inner(Arc<Inner<M>>),
}

impl<M: Member> Default for BTree<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Member> BTree<M> {
    pub const fn new() -> Self {
        BTree { root: Root::Empty, len: 0, leaves: 0, inners: 0 }
    }

    /// Builds from items already in order, with full nodes.
    pub fn from_sorted(items: impl IntoIterator<Item = (f64, M)>) -> Self {
        let mut tree = Self::new();
        let mut leaves: Vec<Arc<Leaf<M>>> = Vec::new();
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            let mut leaf = Slots::new();
            for item in items.by_ref().take(LEAF) {
                leaf.push(item);
            }
            tree.len += leaf.len();
            leaves.push(Arc::new(leaf));
        }
        tree.leaves = leaves.len();
        if leaves.len() <= 1 {
            tree.root = leaves.pop().map_or(Root::Empty, Root::Leaf);
            return tree;
        }
        let mut level = Inner::gather(leaves, Kids::Leaves);
        tree.inners = level.len();
        while level.len() > 1 {
            level = Inner::gather(level, Kids::Inners);
            tree.inners += level.len();
        }
        tree.root = level.pop().map_or(Root::Empty, Root::Inner);
        tree
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The tree as it is now, whatever happens to `self` later. O(1).
    pub fn pin(&self) -> Self {
        self.clone()
    }

    /// Bytes allocated for nodes; what the members take is their table's account.
    pub fn mem_bytes(&self) -> usize {
        // With the two reference counts, rounded up as allocators do.
        let allocated = |size: usize| (size + 2 * size_of::<usize>()).next_multiple_of(128);
        self.leaves * allocated(size_of::<Leaf<M>>()) + self.inners * allocated(size_of::<Inner<M>>())
    }

    /// Adds an item that the caller knows to be absent.
    pub fn insert(&mut self, score: f64, member: M) {
        debug_assert!(!score.is_nan());
        let item = (score, member);
        self.len += 1;
        match &mut self.root {
            Root::Empty => {
                let mut leaf = Slots::new();
                leaf.push(item);
                self.root = Root::Leaf(Arc::new(leaf));
                self.leaves = 1;
                return;
            }
            Root::Leaf(leaf) if leaf.len() < LEAF => {
                let leaf = Arc::make_mut(leaf);
                leaf.insert(position(leaf, &item), item);
                return;
            }
            Root::Leaf(leaf) => {
                let mut kids = Slots::new();
                kids.push(leaf.clone());
                self.grow(Kids::Leaves(kids));
            }
            Root::Inner(inner) if inner.len() == FANOUT => {
                let mut kids = Slots::new();
                kids.push(inner.clone());
                self.grow(Kids::Inners(kids));
            }
            Root::Inner(_) => {}
        }
        if let Root::Inner(root) = &mut self.root {
            let mut added = (0, 0);
            Arc::make_mut(root).insert(item, Edge { front: true, back: true }, &mut added);
            self.leaves += added.0;
            self.inners += added.1;
        }
    }

    /// Puts a root above the only node of `kids`.
    fn grow(&mut self, kids: Kids<M>) {
        let (first, total) = kids.summary(0);
        let mut root = Inner { keys: Slots::new(), counts: Slots::new(), kids };
        root.keys.push(first);
        root.counts.push(total);
        self.root = Root::Inner(Arc::new(root));
        self.inners += 1;
    }

    pub fn remove(&mut self, score: f64, member: &[u8]) -> Option<M> {
        let rank = self.rank(score, member)?;
        self.remove_at(rank).map(|(_, m)| m)
    }

    /// Removes the item of that rank.
    pub fn remove_at(&mut self, rank: usize) -> Option<(f64, M)> {
        if rank >= self.len {
            return None;
        }
        self.len -= 1;
        let item = match &mut self.root {
            Root::Empty => return None,
            Root::Leaf(leaf) => Arc::make_mut(leaf).remove(rank),
            Root::Inner(root) => {
                let mut gone = (0, 0);
                let item = Arc::make_mut(root).remove(rank, &mut gone);
                self.leaves -= gone.0;
                self.inners -= gone.1;
                item
            }
        };
        self.shrink_root();
        Some(item)
    }

    pub fn pop_first(&mut self) -> Option<(f64, M)> {
        self.remove_at(0)
    }

    pub fn pop_last(&mut self) -> Option<(f64, M)> {
        self.remove_at(self.len.checked_sub(1)?)
    }

    /// Removes ranks `start..end` and hands each item over, in order. Subtrees inside the range go whole.
    pub fn remove_range_by_rank(&mut self, start: usize, end: usize, gone: &mut dyn FnMut(f64, M)) {
        let end = end.min(self.len);
        if start >= end {
            return;
        }
        let all = end - start == self.len;
        self.len -= end - start;
        match &mut self.root {
            _ if all => {
                match std::mem::replace(&mut self.root, Root::Empty) {
                    Root::Empty => {}
                    Root::Leaf(leaf) => Arc::unwrap_or_clone(leaf).consume(gone, &mut (0, 0)),
                    Root::Inner(inner) => Arc::unwrap_or_clone(inner).consume(gone, &mut (0, 0)),
                }
                (self.leaves, self.inners) = (0, 0);
            }
            Root::Empty => {}
            Root::Leaf(leaf) => Arc::make_mut(leaf).remove_range(start, end, |(s, m)| gone(s, m)),
            Root::Inner(root) => {
                let mut nodes = (0, 0);
                Arc::make_mut(root).remove_range(start, end, gone, &mut nodes);
                self.leaves -= nodes.0;
                self.inners -= nodes.1;
            }
        }
        self.shrink_root();
    }

    /// Drops root levels that have become pointless.
    fn shrink_root(&mut self) {
        if self.len == 0 {
            *self = Self::new();
            return;
        }
        while let Root::Inner(root) = &self.root {
            if root.len() > 1 {
                return;
            }
            let only = match &root.kids {
                Kids::Leaves(kids) => Root::Leaf(kids[0].clone()),
                Kids::Inners(kids) => Root::Inner(kids[0].clone()),
            };
            self.root = only;
            self.inners -= 1;
        }
    }

    /// Gives `member` a new score; false when it is not there under the old one. Where the item keeps its place,
    /// only its score is written.
    pub fn update_score(&mut self, old: f64, member: &[u8], new: f64) -> bool {
        debug_assert!(!new.is_nan());
        let Some(rank) = self.rank(old, member) else { return false };
        let before = |item: Option<&Item<M>>, side| {
            item.is_none_or(|(s, m)| {
                s.partial_cmp(&new) == Some(side) || (*s == new && m.bytes().cmp(member) == side)
            })
        };
        let stays = {
            let (mut left, mut right) = (self.cursor(rank), self.cursor(rank));
            right.next();
            before(left.prev(), Ordering::Less) && before(right.next(), Ordering::Greater)
        };
        if stays {
            match &mut self.root {
                Root::Empty => {}
                Root::Leaf(leaf) => Arc::make_mut(leaf)[rank].0 = new,
                Root::Inner(root) => Arc::make_mut(root).set_score(rank, new),
            }
        } else if let Some((_, m)) = self.remove_at(rank) {
            self.insert(new, m);
        }
        true
    }

    /// The 0-based rank of an item.
    pub fn rank(&self, score: f64, member: &[u8]) -> Option<usize> {
        // Scores alone settle most steps down; the border after the item leads to the leaf that would hold it.
        let bound = Bound::AfterItem(score, member);
        let (mut rank, leaf) = self.descend(&bound)?;
        let at = bound.search(leaf).checked_sub(1)?;
        rank += at;
        let (s, m) = &leaf[at];
        (*s == score && m.bytes() == member).then_some(rank)
    }

    pub fn by_rank(&self, rank: usize) -> Option<(f64, &M)> {
        self.cursor(rank).next().map(|(s, m)| (*s, m))
    }

    pub fn first(&self) -> Option<(f64, &M)> {
        self.by_rank(0)
    }

    pub fn last(&self) -> Option<(f64, &M)> {
        self.by_rank(self.len.checked_sub(1)?)
    }

    /// How many items lie before the border: with two borders, ZCOUNT and ZLEXCOUNT, or the ranks that a range spans.
    pub fn rank_of(&self, bound: Bound) -> usize {
        match bound {
            Bound::First => 0,
            Bound::Last => self.len,
            _ => self.descend(&bound).map_or(0, |(rank, leaf)| rank + bound.search(leaf)),
        }
    }

    /// How many items have a lower score (or an equal one, if `inclusive`).
    pub fn count_less(&self, score: f64, inclusive: bool) -> usize {
        self.rank_of(if inclusive { Bound::AfterScore(score) } else { Bound::BeforeScore(score) })
    }

    /// The leaf that the border falls in, or ends, and the rank of its first item.
    #[inline]
    fn descend(&self, bound: &Bound) -> Option<(usize, &[Item<M>])> {
        let mut inner = match &self.root {
            Root::Empty => return None,
            Root::Leaf(leaf) => return Some((0, leaf)),
            Root::Inner(inner) => inner,
        };
        let mut rank = 0;
        loop {
            let i = bound.search(&inner.keys).saturating_sub(1);
            rank += inner.counts[..i].iter().sum::<usize>();
            match &inner.kids {
                Kids::Leaves(kids) => return Some((rank, &kids[i])),
                Kids::Inners(kids) => inner = &kids[i],
            }
        }
    }

    /// All items in order; `.rev()` walks backward.
    pub fn iter(&self) -> Iter<'_, M> {
        self.range(0..self.len)
    }

    pub fn iter_rev(&self) -> std::iter::Rev<Iter<'_, M>> {
        self.iter().rev()
    }

    /// The items of these ranks (clipped to what is there); either end costs O(log n) when first used.
    pub fn range(&self, ranks: Range<usize>) -> Iter<'_, M> {
        let end = ranks.end.min(self.len);
        Iter { tree: self, start: ranks.start.min(end), end, front: None, back: None }
    }

    /// The items between two borders.
    pub fn range_between(&self, from: Bound, to: Bound) -> Iter<'_, M> {
        self.range(self.rank_of(from)..self.rank_of(to))
    }

    /// The items after a border; those before it are `range(0..rank_of(bound)).rev()`.
    pub fn range_from(&self, from: Bound) -> Iter<'_, M> {
        self.range(self.rank_of(from)..self.len)
    }

    /// A cursor before the item of that rank.
    fn cursor(&self, rank: usize) -> Cursor<'_, M> {
        let mut path = SmallVec::new();
        let mut pos = rank;
        let mut inner = match &self.root {
            Root::Empty => return Cursor { path, leaf: &[], pos: 0 },
            Root::Leaf(leaf) => return Cursor { path, leaf, pos },
            Root::Inner(inner) => inner,
        };
        loop {
            let (i, rest) = inner.child_at(pos);
            pos = rest;
            path.push((&**inner, i));
            match &inner.kids {
                Kids::Leaves(kids) => return Cursor { path, leaf: &kids[i], pos },
                Kids::Inners(kids) => inner = &kids[i],
            }
        }
    }
}

/// A border between two items of a tree.
struct Cursor<'a, M: Member> {
    path: SmallVec<[(&'a Inner<M>, usize); 5]>,
    leaf: &'a [Item<M>],
    pos: usize,
}

impl<'a, M: Member> Cursor<'a, M> {
    #[inline]
    fn next(&mut self) -> Option<&'a Item<M>> {
        if self.pos >= self.leaf.len() && !self.step(true) {
            return None;
        }
        self.pos += 1;
        self.leaf.get(self.pos - 1)
    }

    #[inline]
    fn prev(&mut self) -> Option<&'a Item<M>> {
        if self.pos == 0 && !self.step(false) {
            return None;
        }
        self.pos -= 1;
        self.leaf.get(self.pos)
    }

    /// Moves to the start of the next leaf or to the end of the previous one.
    #[cold]
    fn step(&mut self, forward: bool) -> bool {
        crate::base::priority::pass();
        let turn =
            self.path.iter().rposition(|(inner, i)| if forward { i + 1 < inner.len() } else { *i > 0 });
        let Some(turn) = turn else { return false };
        self.path.truncate(turn + 1);
        let (mut inner, i) = self.path[turn];
        let mut i = if forward { i + 1 } else { i - 1 };
        self.path[turn].1 = i;
        loop {
            match &inner.kids {
                Kids::Leaves(kids) => {
                    self.leaf = &kids[i];
                    self.pos = if forward { 0 } else { self.leaf.len() };
                    return true;
                }
                Kids::Inners(kids) => inner = &kids[i],
            }
            i = if forward { 0 } else { inner.len() - 1 };
            self.path.push((inner, i));
        }
    }
}

/// Items in order, from both ends.
pub struct Iter<'a, M: Member> {
    tree: &'a BTree<M>,
    start: usize,
    end: usize,
    front: Option<Cursor<'a, M>>,
    back: Option<Cursor<'a, M>>,
}

impl<'a, M: Member> Iterator for Iter<'a, M> {
    type Item = (f64, &'a M);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.start >= self.end {
            return None;
        }
        let (tree, start) = (self.tree, self.start);
        self.start += 1;
        self.front.get_or_insert_with(|| tree.cursor(start)).next().map(|(s, m)| (*s, m))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.start, Some(self.end - self.start))
    }
}

impl<M: Member> DoubleEndedIterator for Iter<'_, M> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.start >= self.end {
            return None;
        }
        let (tree, end) = (self.tree, self.end);
        self.end -= 1;
        self.back.get_or_insert_with(|| tree.cursor(end)).prev().map(|(s, m)| (*s, m))
    }
}

impl<M: Member> ExactSizeIterator for Iter<'_, M> {}

/// Where `item`, absent, belongs among sorted items.
#[inline]
fn position<M: Member>(items: &[Item<M>], item: &Item<M>) -> usize {
    Bound::BeforeItem(item.0, item.1.bytes()).search(items)
}

type Leaf<M> = Slots<Item<M>, LEAF>;

#[derive(Clone)]
struct Inner<M: Member> {
    keys: Slots<Item<M>, FANOUT>,
    counts: Slots<usize, FANOUT>,
    kids: Kids<M>,
}

#[derive(Clone)]
enum Kids<M: Member> {
    Leaves(Slots<Arc<Leaf<M>>, FANOUT>),
    Inners(Slots<Arc<Inner<M>>, FANOUT>),
}

/// Whether every step so far took the first or the last child.
#[derive(Clone, Copy)]
struct Edge {
    front: bool,
    back: bool,
}

/// Removes a range of ranks, neither none nor all, from a node.
type Partly<M, K> = fn(&mut K, usize, usize, &mut dyn FnMut(f64, M), &mut Nodes);

/// How many leaves and inner nodes came or went.
type Nodes = (usize, usize);

impl<M: Member> Kids<M> {
    fn summary(&self, i: usize) -> (Item<M>, usize) {
        match self {
            Kids::Leaves(kids) => (kids[i].first_item().clone(), kids[i].total()),
            Kids::Inners(kids) => (kids[i].first_item().clone(), kids[i].total()),
        }
    }
}

/// What leaves and inner nodes have in common: a run of slots that can move to a neighbour.
trait Node<M: Member>: Clone {
    const CAP: usize;
    fn slots(&self) -> usize;
    /// An empty node of the same kind.
    fn fresh(&self) -> Self;
    fn first_item(&self) -> &Item<M>;
    /// Items below.
    fn total(&self) -> usize;
    /// Moves the last `n` slots to the front of the right neighbour.
    fn give_right(&mut self, right: &mut Self, n: usize);
    /// Takes the first `n` slots of the right neighbour.
    fn take_left(&mut self, right: &mut Self, n: usize);
    /// Hands over all items.
    fn consume(self, gone: &mut dyn FnMut(f64, M), nodes: &mut Nodes);
    /// The counter of this kind in a pair.
    fn tally(nodes: &mut Nodes) -> &mut usize;
}

impl<M: Member> Node<M> for Leaf<M> {
    const CAP: usize = LEAF;

    fn slots(&self) -> usize {
        self.len()
    }

    fn fresh(&self) -> Self {
        Slots::new()
    }

    fn first_item(&self) -> &Item<M> {
        &self[0]
    }

    fn total(&self) -> usize {
        self.len()
    }

    fn give_right(&mut self, right: &mut Self, n: usize) {
        Slots::give_right(self, right, n);
    }

    fn take_left(&mut self, right: &mut Self, n: usize) {
        Slots::take_left(self, right, n);
    }

    fn consume(mut self, gone: &mut dyn FnMut(f64, M), nodes: &mut Nodes) {
        nodes.0 += 1;
        let len = self.len();
        self.remove_range(0, len, |(s, m)| gone(s, m));
    }

    fn tally(nodes: &mut Nodes) -> &mut usize {
        &mut nodes.0
    }
}

impl<M: Member> Node<M> for Inner<M> {
    const CAP: usize = FANOUT;

    fn slots(&self) -> usize {
        self.len()
    }

    fn fresh(&self) -> Self {
        let kids = match self.kids {
            Kids::Leaves(_) => Kids::Leaves(Slots::new()),
            Kids::Inners(_) => Kids::Inners(Slots::new()),
        };
        Inner { keys: Slots::new(), counts: Slots::new(), kids }
    }

    fn first_item(&self) -> &Item<M> {
        &self.keys[0]
    }

    fn total(&self) -> usize {
        self.counts.iter().sum()
    }

    fn give_right(&mut self, right: &mut Self, n: usize) {
        self.keys.give_right(&mut right.keys, n);
        self.counts.give_right(&mut right.counts, n);
        match (&mut self.kids, &mut right.kids) {
            (Kids::Leaves(l), Kids::Leaves(r)) => l.give_right(r, n),
            (Kids::Inners(l), Kids::Inners(r)) => l.give_right(r, n),
            _ => unreachable!("neighbours are of one depth"),
        }
    }

    fn take_left(&mut self, right: &mut Self, n: usize) {
        self.keys.take_left(&mut right.keys, n);
        self.counts.take_left(&mut right.counts, n);
        match (&mut self.kids, &mut right.kids) {
            (Kids::Leaves(l), Kids::Leaves(r)) => l.take_left(r, n),
            (Kids::Inners(l), Kids::Inners(r)) => l.take_left(r, n),
            _ => unreachable!("neighbours are of one depth"),
        }
    }

    fn consume(mut self, gone: &mut dyn FnMut(f64, M), nodes: &mut Nodes) {
        nodes.1 += 1;
        let len = self.len();
        match &mut self.kids {
            Kids::Leaves(kids) => kids.remove_range(0, len, |k| Arc::unwrap_or_clone(k).consume(gone, nodes)),
            Kids::Inners(kids) => kids.remove_range(0, len, |k| Arc::unwrap_or_clone(k).consume(gone, nodes)),
        }
    }

    fn tally(nodes: &mut Nodes) -> &mut usize {
        &mut nodes.1
    }
}

/// Children of one kind with the arrays kept beside them.
struct Row<'a, M: Member, K: Node<M>> {
    keys: &'a mut Slots<Item<M>, FANOUT>,
    counts: &'a mut Slots<usize, FANOUT>,
    kids: &'a mut Slots<Arc<K>, FANOUT>,
}

impl<M: Member, K: Node<M>> Row<'_, M, K> {
    /// Makes room in child `i`, which is full, or beside it; there is room for one child more.
    /// Returns how many children were added.
    fn make_room(&mut self, i: usize, edge: Edge) -> usize {
        if edge.back || edge.front {
            // An ordered load: leave the node (all but) full and go on in a new one.
            let n = if edge.back { 1 } else { K::CAP - 1 };
            self.add(i);
            if let [left, right] = &mut self.kids[i..i + 2] {
                Arc::make_mut(left).give_right(Arc::make_mut(right), n);
            }
            self.refresh(i..i + 2);
            return 1;
        }
        let width = WINDOW.min(self.kids.len());
        let start = i.saturating_sub(width / 2).min(self.kids.len() - width);
        let used: usize = self.kids[start..start + width].iter().map(|k| k.slots()).sum();
        if used + width * (K::CAP / 16).max(1) <= width * K::CAP {
            self.spread(start..start + width);
            return 0;
        }
        self.add(i);
        self.spread(start..start + width + 1);
        1
    }

    /// Puts an empty child after child `i`; its key and count are to be refreshed.
    fn add(&mut self, i: usize) {
        self.kids.insert(i + 1, Arc::new(self.kids[i].fresh()));
        self.keys.insert(i + 1, self.keys[i].clone());
        self.counts.insert(i + 1, 0);
    }

    /// Evens out the children of a range.
    fn spread(&mut self, range: Range<usize>) {
        let kids = &mut self.kids[range.clone()];
        let total: usize = kids.iter().map(|k| k.slots()).sum();
        let width = kids.len();
        let target = |i: usize| total * i / width;
        loop {
            // What must cross each border, rightward; a move is limited by what its source holds and its target's
            // room, so it may take a second round, and each round makes progress.
            let mut flows: SmallVec<[isize; WINDOW + 1]> = SmallVec::new();
            let mut sum = 0;
            for (i, kid) in kids.iter().enumerate().take(width - 1) {
                sum += kid.slots();
                flows.push(sum as isize - target(i + 1) as isize);
            }
            if flows.iter().all(|&f| f == 0) {
                break;
            }
            for i in (0..width - 1).rev() {
                if let (Ok(flow @ 1..), [left, right]) = (usize::try_from(flows[i]), &mut kids[i..i + 2]) {
                    let n = flow.min(left.slots()).min(K::CAP - right.slots());
                    Arc::make_mut(left).give_right(Arc::make_mut(right), n);
                }
            }
            for i in 0..width - 1 {
                if let (Ok(flow @ 1..), [left, right]) = (usize::try_from(-flows[i]), &mut kids[i..i + 2]) {
                    let n = flow.min(right.slots()).min(K::CAP - left.slots());
                    Arc::make_mut(left).take_left(Arc::make_mut(right), n);
                }
            }
        }
        self.refresh(range);
    }

    fn refresh(&mut self, range: Range<usize>) {
        for i in range {
            self.keys[i] = self.kids[i].first_item().clone();
            self.counts[i] = self.kids[i].total();
        }
    }

    /// After slots of child `i` went: merges it with a neighbour or borrows from one if it is below 40 %, removes it
    /// if it is empty. Returns whether a child went.
    fn mend(&mut self, i: usize) -> bool {
        let slots = self.kids[i].slots();
        if slots == 0 {
            self.kids.remove(i);
            self.keys.remove(i);
            self.counts.remove(i);
            return true;
        }
        if slots * 5 >= K::CAP * 2 || self.kids.len() == 1 {
            return false;
        }
        let size = |j: usize| self.kids.get(j).map_or(usize::MAX, |k| k.slots());
        let left = if i > 0 && size(i - 1) <= size(i + 1) { i - 1 } else { i };
        if size(left) + size(left + 1) > K::CAP {
            self.spread(left..left + 2);
            return false;
        }
        let mut right = self.kids.remove(left + 1);
        let n = right.slots();
        Arc::make_mut(&mut self.kids[left]).take_left(Arc::make_mut(&mut right), n);
        self.keys.remove(left + 1);
        self.counts.remove(left + 1);
        self.refresh(left..left + 1);
        true
    }

    /// Removes ranks `start..end` below these children.
    fn remove_range(
        &mut self,
        start: usize,
        end: usize,
        gone: &mut dyn FnMut(f64, M),
        nodes: &mut Nodes,
        partly: Partly<M, K>,
    ) {
        let mut touched: SmallVec<[usize; 2]> = SmallVec::new();
        let (mut whole, mut last) = (0..0, None);
        let mut base = 0;
        for i in 0..self.kids.len() {
            let count = self.counts[i];
            let (from, to) = (start.saturating_sub(base).min(count), end.saturating_sub(base).min(count));
            base += count;
            if from == to {
                continue;
            }
            if to - from == count {
                whole = if whole.is_empty() { i..i + 1 } else { whole.start..i + 1 };
            } else if from > 0 || touched.is_empty() && whole.is_empty() {
                partly(Arc::make_mut(&mut self.kids[i]), from, to, gone, nodes);
                self.refresh(i..i + 1);
                touched.push(i);
            } else {
                last = Some((i, to));
            }
        }
        // Items leave in order: those of whole children before those of the last, partly covered one.
        self.kids.remove_range(whole.start, whole.end, |kid| Arc::unwrap_or_clone(kid).consume(gone, nodes));
        self.keys.remove_range(whole.start, whole.end, drop);
        self.counts.remove_range(whole.start, whole.end, drop);
        if let Some((i, to)) = last {
            let i = i - whole.len();
            partly(Arc::make_mut(&mut self.kids[i]), 0, to, gone, nodes);
            self.refresh(i..i + 1);
            touched.push(i);
        }
        // Right one first, so that the left one's place holds.
        while let Some(i) = touched.pop() {
            if self.mend(i) {
                *K::tally(nodes) += 1;
            }
        }
    }
}

impl<M: Member> Inner<M> {
    fn len(&self) -> usize {
        self.keys.len()
    }

    /// Full parents of these nodes.
    fn gather<K: Node<M>>(nodes: Vec<Arc<K>>, wrap: fn(Slots<Arc<K>, FANOUT>) -> Kids<M>) -> Vec<Arc<Self>> {
        let mut parents = Vec::with_capacity(nodes.len() / FANOUT + 1);
        let mut nodes = nodes.into_iter().peekable();
        while nodes.peek().is_some() {
            let (mut keys, mut counts, mut kids) = (Slots::new(), Slots::new(), Slots::new());
            for node in nodes.by_ref().take(FANOUT) {
                keys.push(node.first_item().clone());
                counts.push(node.total());
                kids.push(node);
            }
            parents.push(Arc::new(Inner { keys, counts, kids: wrap(kids) }));
        }
        parents
    }

    /// The child that holds this rank, and the rank in it; past the end, the last child and its length or more.
    #[inline]
    fn child_at(&self, mut rank: usize) -> (usize, usize) {
        let last = self.len() - 1;
        for (i, &count) in self.counts[..last].iter().enumerate() {
            if rank < count {
                return (i, rank);
            }
            rank -= count;
        }
        (last, rank)
    }

    fn insert(&mut self, item: Item<M>, edge: Edge, added: &mut Nodes) {
        let child = |keys: &[Item<M>]| position(keys, &item).saturating_sub(1);
        let mut i = child(&self.keys);
        let edge = Edge { front: edge.front && i == 0, back: edge.back && i + 1 == self.len() };
        let full = match &self.kids {
            Kids::Leaves(kids) if kids[i].len() == LEAF => {
                let at = position(&kids[i], &item);
                Some(Edge { front: edge.front && at == 0, back: edge.back && at == LEAF })
            }
            // One slot is enough for whatever happens below, so that splits never run upward.
            Kids::Inners(kids) if kids[i].len() == FANOUT => Some(edge),
            _ => None,
        };
        if let Some(edge) = full {
            match &mut self.kids {
                Kids::Leaves(kids) => {
                    added.0 +=
                        Row { keys: &mut self.keys, counts: &mut self.counts, kids }.make_room(i, edge);
                }
                Kids::Inners(kids) => {
                    added.1 +=
                        Row { keys: &mut self.keys, counts: &mut self.counts, kids }.make_room(i, edge);
                }
            }
            i = child(&self.keys);
        }
        self.counts[i] += 1;
        if i == 0 && position(&self.keys[..1], &item) == 0 {
            self.keys[0] = item.clone();
        }
        match &mut self.kids {
            Kids::Leaves(kids) => {
                let leaf = Arc::make_mut(&mut kids[i]);
                leaf.insert(position(leaf, &item), item);
            }
            Kids::Inners(kids) => Arc::make_mut(&mut kids[i]).insert(item, edge, added),
        }
    }

    fn remove(&mut self, rank: usize, gone: &mut Nodes) -> Item<M> {
        let (i, rank) = self.child_at(rank);
        self.counts[i] -= 1;
        let item = match &mut self.kids {
            Kids::Leaves(kids) => Arc::make_mut(&mut kids[i]).remove(rank),
            Kids::Inners(kids) => Arc::make_mut(&mut kids[i]).remove(rank, gone),
        };
        if rank == 0 && self.counts[i] > 0 {
            self.keys[i] = self.kids.summary(i).0;
        }
        match &mut self.kids {
            Kids::Leaves(kids) => {
                gone.0 += usize::from(Row { keys: &mut self.keys, counts: &mut self.counts, kids }.mend(i));
            }
            Kids::Inners(kids) => {
                gone.1 += usize::from(Row { keys: &mut self.keys, counts: &mut self.counts, kids }.mend(i));
            }
        }
        item
    }

    fn remove_range(&mut self, start: usize, end: usize, gone: &mut dyn FnMut(f64, M), nodes: &mut Nodes) {
        let Inner { keys, counts, kids } = self;
        match kids {
            Kids::Leaves(kids) => {
                Row { keys, counts, kids }.remove_range(start, end, gone, nodes, |leaf, a, b, f, _| {
                    leaf.remove_range(a, b, |(s, m)| f(s, m));
                })
            }
            Kids::Inners(kids) => {
                Row { keys, counts, kids }.remove_range(start, end, gone, nodes, Inner::remove_range)
            }
        }
    }

    fn set_score(&mut self, rank: usize, score: f64) {
        let (i, rank) = self.child_at(rank);
        if rank == 0 {
            self.keys[i].0 = score;
        }
        match &mut self.kids {
            Kids::Leaves(kids) => Arc::make_mut(&mut kids[i])[rank].0 = score,
            Kids::Inners(kids) => Arc::make_mut(&mut kids[i]).set_score(rank, score),
        }
    }
}

/// A vector of at most `N`, stored in place.
pub(super) struct Slots<T, const N: usize> {
    /// The first `len` slots are initialised.
    len: u16,
    slots: [MaybeUninit<T>; N],
}

impl<T, const N: usize> Slots<T, N> {
    pub(super) const fn new() -> Self {
        assert!(N <= u16::MAX as usize);
        Slots { len: 0, slots: [const { MaybeUninit::uninit() }; N] }
    }

    pub(super) fn push(&mut self, value: T) {
        self.insert(self.len(), value);
    }

    pub(super) fn insert(&mut self, at: usize, value: T) {
        let len = self.len();
        assert!(len < N && at <= len);
        // SAFETY: `at <= len < N`, so both ranges are in the array; the slot left open is written before `len` grows.
        unsafe {
            let p = self.slots.as_mut_ptr().add(at);
            p.copy_to(p.add(1), len - at);
            p.write(MaybeUninit::new(value));
        }
        self.len += 1;
    }

    pub(super) fn remove(&mut self, at: usize) -> T {
        let len = self.len();
        assert!(at < len);
        self.len -= 1;
        // SAFETY: `at < len`: the slot is initialised, it is read once and the slots after it close the gap.
        unsafe {
            let p = self.slots.as_mut_ptr().add(at);
            let value = p.read().assume_init();
            p.copy_from(p.add(1), len - at - 1);
            value
        }
    }

    /// Removes `from..to`, handing over each value.
    pub(super) fn remove_range(&mut self, from: usize, to: usize, mut f: impl FnMut(T)) {
        let len = self.len();
        assert!(from <= to && to <= len);
        // Should `f` panic, what is beyond `from` leaks rather than being dropped twice.
        self.len = from as u16;
        for slot in &self.slots[from..to] {
            // SAFETY: below the old length, hence initialised; no longer owned since `len` is `from`.
            f(unsafe { slot.assume_init_read() });
        }
        // SAFETY: `from <= to <= len <= N`; the tail is moved over slots that were read out above.
        unsafe {
            let p = self.slots.as_mut_ptr();
            p.add(from).copy_from(p.add(to), len - to);
        }
        self.len = (len - (to - from)) as u16;
    }

    /// Moves the last `n` to the front of `right`.
    pub(super) fn give_right(&mut self, right: &mut Self, n: usize) {
        let (l, r) = (self.len(), right.len());
        assert!(n <= l && r + n <= N);
        // SAFETY: the bounds above; the two are distinct; both lengths follow at once, so each value has one owner.
        unsafe {
            let p = right.slots.as_mut_ptr();
            p.copy_to(p.add(n), r);
            p.copy_from_nonoverlapping(self.slots.as_ptr().add(l - n), n);
        }
        self.len = (l - n) as u16;
        right.len = (r + n) as u16;
    }

    /// Moves the first `n` of `right` to the end of this one.
    pub(super) fn take_left(&mut self, right: &mut Self, n: usize) {
        let (l, r) = (self.len(), right.len());
        assert!(n <= r && l + n <= N);
        // SAFETY: as in `give_right`.
        unsafe {
            let p = right.slots.as_mut_ptr();
            self.slots.as_mut_ptr().add(l).copy_from_nonoverlapping(p, n);
            p.copy_from(p.add(n), r - n);
        }
        self.len = (l + n) as u16;
        right.len = (r - n) as u16;
    }
}

impl<T, const N: usize> Deref for Slots<T, N> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the first `len` slots are initialised.
        unsafe { std::slice::from_raw_parts(self.slots.as_ptr().cast(), self.len as usize) }
    }
}

impl<T, const N: usize> DerefMut for Slots<T, N> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: the first `len` slots are initialised.
        unsafe { std::slice::from_raw_parts_mut(self.slots.as_mut_ptr().cast(), self.len as usize) }
    }
}

impl<T: Clone, const N: usize> Clone for Slots<T, N> {
    fn clone(&self) -> Self {
        let mut new = Slots::new();
        for value in self.iter() {
            new.slots[new.len as usize].write(value.clone());
            new.len += 1;
        }
        new
    }
}

impl<T, const N: usize> Drop for Slots<T, N> {
    fn drop(&mut self) {
        // SAFETY: the first `len` slots are initialised and are not used again.
        unsafe { std::ptr::drop_in_place(&raw mut **self) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Name(Arc<Vec<u8>>);

    impl Member for Name {
        fn bytes(&self) -> &[u8] {
            &self.0
        }
    }

    fn name(n: usize) -> Name {
        Name(Arc::new(format!("m{n:05}").into_bytes()))
    }

    fn order(a: &(f64, Name), b: &(f64, Name)) -> Ordering {
        a.0.partial_cmp(&b.0).unwrap().then_with(|| a.1.0.cmp(&b.1.0))
    }

    /// Checks every invariant of the module's `//!`.
    fn check(tree: &BTree<Name>) {
        fn node(kids: &Kids<Name>, keys: &[Item<Name>], counts: &[usize], nodes: &mut Nodes) -> usize {
            assert!(!keys.is_empty() && keys.len() == counts.len());
            let n = match kids {
                Kids::Leaves(kids) => kids.len(),
                Kids::Inners(kids) => kids.len(),
            };
            assert_eq!(n, keys.len());
            let mut depth = None;
            for i in 0..n {
                let (key, count) = kids.summary(i);
                assert!(
                    Arc::ptr_eq(&key.1.0, &keys[i].1.0)
                        && key.0 == keys[i].0
                        && count == counts[i]
                        && count > 0
                );
                let below = match kids {
                    Kids::Leaves(_) => {
                        nodes.0 += 1;
                        1
                    }
                    Kids::Inners(kids) => {
                        nodes.1 += 1;
                        1 + node(&kids[i].kids, &kids[i].keys, &kids[i].counts, nodes)
                    }
                };
                assert_eq!(*depth.get_or_insert(below), below);
            }
            depth.unwrap()
        }
        let mut nodes = (0, 0);
        match &tree.root {
            Root::Empty => {}
            Root::Leaf(leaf) => {
                nodes.0 = 1;
                assert!(!leaf.is_empty());
            }
            Root::Inner(inner) => {
                nodes.1 = 1;
                assert!(inner.len() > 1);
                assert_eq!(inner.total(), tree.len);
                node(&inner.kids, &inner.keys, &inner.counts, &mut nodes);
            }
        }
        assert_eq!(nodes, (tree.leaves, tree.inners));
        let items: Vec<_> = tree.iter().map(|(s, m)| (s, m.clone())).collect();
        assert_eq!(items.len(), tree.len());
        assert!(items.windows(2).all(|w| order(&w[0], &w[1]) == Ordering::Less));
    }

    fn contents(tree: &BTree<Name>) -> Vec<(f64, Name)> {
        tree.iter().map(|(s, m)| (s, m.clone())).collect()
    }

    /// Compares everything that can be asked with a sorted vector.
    fn same(tree: &BTree<Name>, model: &[(f64, Name)], probe: &(f64, Name)) {
        assert_eq!(contents(tree), model);
        let back: Vec<_> = tree.iter_rev().map(|(s, m)| (s, m.clone())).collect();
        assert!(back.iter().rev().eq(model));
        let (s, m) = (probe.0, probe.1.bytes());
        let found = model.binary_search_by(|i| order(i, probe));
        assert_eq!(tree.rank(s, m), found.ok());
        assert_eq!(tree.rank_of(Bound::BeforeItem(s, m)), found.unwrap_or_else(|at| at));
        assert_eq!(tree.rank_of(Bound::AfterItem(s, m)), found.map_or_else(|at| at, |at| at + 1));
        assert_eq!(tree.count_less(s, false), model.iter().filter(|i| i.0 < s).count());
        assert_eq!(tree.count_less(s, true), model.iter().filter(|i| i.0 <= s).count());
        let from = tree.rank_of(Bound::BeforeScore(s));
        assert!(
            tree.range_from(Bound::BeforeScore(s))
                .map(|(s, m)| (s, m.clone()))
                .eq(model[from..].iter().cloned())
        );
        let at = found.unwrap_or_else(|at| at);
        assert_eq!(tree.by_rank(at).map(|(s, m)| (s, m.clone())), model.get(at).cloned());
        let mut both = tree.range(at / 2..at);
        let (mut front, mut rear) = (Vec::new(), Vec::new());
        while let Some(f) = both.next() {
            front.push(f.1.clone());
            rear.extend(both.next_back().map(|b| b.1.clone()));
        }
        front.extend(rear.into_iter().rev());
        assert!(front.iter().eq(model[at / 2..at].iter().map(|i| &i.1)));
        assert_eq!(tree.first().map(|i| i.1), model.first().map(|i| &i.1));
        assert_eq!(tree.last().map(|i| i.1), model.last().map(|i| &i.1));
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert { at: usize, step: isize, n: usize, scores: usize },
        Remove { at: usize, n: usize },
        RemoveRange { at: usize, n: usize },
        Update { at: usize, score: usize },
        PopEnds(usize),
        Pin,
    }

    fn ops() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (0..20_000usize, prop_oneof![Just(1isize), Just(-1), Just(7919)], 1..1500usize, prop_oneof![Just(1), Just(3), Just(100_000usize)])
                .prop_map(|(at, step, n, scores)| Op::Insert { at, step, n, scores }),
            3 => (0..20_000usize, 1..1000usize).prop_map(|(at, n)| Op::Remove { at, n }),
            1 => (0..20_000usize, 1..3000usize).prop_map(|(at, n)| Op::RemoveRange { at, n }),
            2 => (0..20_000usize, 0..20_000usize).prop_map(|(at, score)| Op::Update { at, score }),
            1 => (0..300usize).prop_map(Op::PopEnds),
            1 => Just(Op::Pin),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn behaves_as_a_sorted_vector(ops in prop::collection::vec(ops(), 1..25)) {
            let mut tree = BTree::new();
            let mut model: Vec<(f64, Name)> = Vec::new();
            let mut pins = Vec::new();
            let mut probe = (0.0, name(0));
            for op in ops {
                match op {
                    Op::Insert { at, step, n, scores } => {
                        for i in 0..n as isize {
                            let k = (at as isize + i * step).rem_euclid(20_000) as usize;
                            probe = ((k % scores) as f64 - 2.0, name(k));
                            if let Err(at) = model.binary_search_by(|i| order(i, &probe)) {
                                model.insert(at, probe.clone());
                                tree.insert(probe.0, probe.1.clone());
                            }
                        }
                    }
                    Op::Remove { at, n } => {
                        for i in 0..n.min(model.len()) {
                            let gone = model.remove((at + i * 7919) % model.len());
                            prop_assert_eq!(tree.remove(gone.0, gone.1.bytes()), Some(gone.1.clone()));
                            prop_assert_eq!(tree.remove(gone.0, gone.1.bytes()), None);
                        }
                    }
                    Op::RemoveRange { at, n } => {
                        let start = at % (model.len() + 1);
                        let end = (start + n).min(model.len());
                        let mut gone = Vec::new();
                        tree.remove_range_by_rank(start, start + n, &mut |s, m| gone.push((s, m)));
                        prop_assert!(model.drain(start..end).eq(gone));
                    }
                    Op::Update { at, score } if !model.is_empty() => {
                        let (old, m) = model.remove(at % model.len());
                        prop_assert!(!tree.update_score(old + 0.5, m.bytes(), 1.0));
                        prop_assert!(tree.update_score(old, m.bytes(), score as f64));
                        prop_assert!(tree.rank(score as f64, m.bytes()).is_some());
                        prop_assert!(tree.update_score(score as f64, m.bytes(), old + 0.25));
                        probe = (old + 0.25, m);
                        let at = model.binary_search_by(|i| order(i, &probe)).unwrap_or_else(|at| at);
                        model.insert(at, probe.clone());
                    }
                    Op::Update { .. } => {}
                    Op::PopEnds(n) => {
                        for _ in 0..n.min(model.len() / 2) {
                            prop_assert_eq!(tree.pop_first(), Some(model.remove(0)));
                            prop_assert_eq!(tree.pop_last(), model.pop());
                        }
                    }
                    Op::Pin => pins.push((tree.pin(), model.clone())),
                }
                check(&tree);
                same(&tree, &model, &probe);
            }
            for (pin, then) in pins {
                check(&pin);
                prop_assert_eq!(contents(&pin), then);
            }
            let built = BTree::from_sorted(model.iter().cloned());
            check(&built);
            same(&built, &model, &probe);
            let all: Vec<Name> = model.into_iter().map(|i| i.1).collect();
            drop((tree, built, probe));
            prop_assert!(all.iter().all(|m| Arc::strong_count(&m.0) == 1), "a handle leaked");
        }
    }

    #[test]
    fn lexicographic_borders() {
        let tree = BTree::from_sorted((0..1000).map(|i| (0.0, name(i * 2))));
        assert_eq!(tree.rank_of(Bound::BeforeMember(b"m00100")), 50);
        assert_eq!(tree.rank_of(Bound::AfterMember(b"m00100")), 51);
        assert_eq!(tree.rank_of(Bound::AfterMember(b"m00101")), 51);
        let some = tree.range_between(Bound::AfterMember(b"m00100"), Bound::BeforeMember(b"m00106"));
        assert!(some.map(|(_, m)| m.clone()).eq([name(102), name(104)]));
        assert_eq!(tree.range_between(Bound::Last, Bound::First).count(), 0);
    }

    #[test]
    fn zero_has_no_sign() {
        let mut tree = BTree::new();
        tree.insert(-0.0, name(2));
        tree.insert(0.0, name(1));
        assert_eq!(tree.rank(0.0, b"m00002"), Some(1));
        assert_eq!(tree.rank(-0.0, b"m00001"), Some(0));
    }

    #[test]
    fn nodes_stay_full() {
        let fill = |keys: &mut dyn Iterator<Item = usize>| {
            let mut tree = BTree::new();
            for k in keys {
                tree.insert(k as f64, Tiny(k as u64));
            }
            (tree.len as f64 / (tree.leaves * LEAF) as f64, tree.mem_bytes() as f64 / tree.len as f64)
        };
        let (ascending, _) = fill(&mut (0..50_000));
        let (descending, _) = fill(&mut (0..50_000).rev());
        let mix = |n: usize| {
            (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
        };
        let (random, bytes) = fill(&mut (1..100_000).map(|n| (mix(n) >> 11) as usize));
        assert!(ascending > 0.98 && descending > 0.98, "{ascending} {descending}");
        assert!(random > 0.85 && bytes < 19.5, "{random} {bytes}");
        assert_eq!(size_of::<Leaf<Tiny>>() + 16, 1016);
        assert_eq!(size_of::<Inner<Tiny>>() + 16, 2032);
    }

    #[derive(Clone)]
    struct Tiny(u64);

    impl Member for Tiny {
        fn bytes(&self) -> &[u8] {
            // Scores differ, so that bytes are never asked for in order.
            if self.0 == u64::MAX { b"max" } else { b"" }
        }
    }
}
