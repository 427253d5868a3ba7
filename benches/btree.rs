//! The sorted set's tree at a million items: what inserts, look-ups and ranges cost.
use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tidewater::value::btree::{BTree, Bound, Member};

const N: u64 = 1_000_000;

/// Member bytes of its own, as the keyspace's handles have.
#[derive(Clone)]
struct Name(std::sync::Arc<[u8; 16]>);

impl Member for Name {
    fn bytes(&self) -> &[u8] {
        &*self.0
    }
}

fn name(n: u64) -> Name {
    let mut bytes = *b"member:000000000";
    bytes[8..].copy_from_slice(&mix(n).to_be_bytes());
    Name(std::sync::Arc::new(bytes))
}

/// A bijection of 64-bit numbers that looks random.
fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

fn score(n: u64, ties: bool) -> f64 {
    if ties { 0.0 } else { (mix(n) >> 11) as f64 }
}

fn million(ties: bool) -> BTree<Name> {
    let mut tree = BTree::new();
    for n in 1..=N {
        tree.insert(score(n, ties), name(n));
    }
    tree
}

fn bench(c: &mut Criterion) {
    for ties in [false, true] {
        let kind = if ties { "equal scores" } else { "distinct scores" };
        let mut tree = million(ties);
        println!("{kind}: {:.2} bytes an item", tree.mem_bytes() as f64 / tree.len() as f64);
        let mut group = c.benchmark_group(kind);
        let mut n = 0;
        let mut next = move || {
            n += 1;
            mix(!n) % N + 1
        };
        group.bench_function("rank", |b| {
            b.iter_batched(
                || {
                    let n = next();
                    (score(n, ties), name(n))
                },
                |(s, m)| black_box(tree.rank(s, m.bytes())),
                BatchSize::SmallInput,
            );
        });
        group.bench_function("by_rank", |b| {
            b.iter(|| black_box(tree.by_rank((next() - 1) as usize)).is_some())
        });
        group.bench_function("count_less", |b| {
            b.iter(|| black_box(tree.count_less(score(next(), ties), true)))
        });
        group.bench_function("range of 100", |b| {
            b.iter(|| {
                let from = tree.rank_of(Bound::BeforeScore(score(next(), false)));
                tree.range(from..from + 100).map(|(s, _)| s).sum::<f64>()
            });
        });
        let mut fresh = N;
        group.bench_function("insert and remove", |b| {
            b.iter_batched(
                || {
                    fresh += 1;
                    (score(fresh, ties), name(fresh))
                },
                |(s, m)| {
                    tree.insert(s, m.clone());
                    tree.remove(s, m.bytes())
                },
                BatchSize::PerIteration,
            );
        });
        let pin = tree.pin();
        group.bench_function("update_score while pinned", |b| {
            b.iter(|| {
                let rank = (next() - 1) as usize;
                let (s, m) = tree.by_rank(rank).map(|(s, m)| (s, m.clone())).expect("in range");
                tree.update_score(s, m.bytes(), s)
            });
        });
        drop(pin);
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
