//! Times of the table with 16-byte keys behind a pointer, as the keyspace has them.
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidewater::value::table::{Slot, Table, hash, prefetch};

const SEED: u64 = 0x5eed;

#[derive(Clone)]
struct Entry(Box<[u8; 32]>);

impl Entry {
    fn new(number: u64) -> Entry {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&key(number));
        Entry(Box::new(bytes))
    }
}

impl Slot for Entry {
    fn hash(&self, seed: u64) -> u64 {
        hash(seed, &self.0[..16])
    }

    fn matches(&self, key: &[u8]) -> bool {
        self.0[..16] == *key
    }

    fn prefetch(&self) {
        prefetch(&raw const *self.0);
    }
}

fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let mut rest = number;
    for digit in key[4..].iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    key
}

fn table(entries: u64) -> Table<Entry> {
    let mut table = Table::new(SEED);
    for number in 0..entries {
        table.insert_new_hashed(hash(SEED, &key(number)), Entry::new(number));
    }
    table
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((u128::from(self.0) * u128::from(n)) >> 64) as u64
    }
}

fn reads(c: &mut Criterion) {
    let mut group = c.benchmark_group("table");
    let mut random = Random(SEED);
    for entries in [244, 100_000, 1_000_000] {
        let table = table(entries);
        println!("{entries} entries: {:.2} bytes each", table.mem_bytes() as f64 / entries as f64);
        let keys: Vec<[u8; 16]> = (0..1 << 16).map(|_| key(random.below(entries))).collect();
        let absent: Vec<[u8; 16]> = (0..1 << 16).map(|_| key(entries + random.below(entries))).collect();
        let mut at = 0;
        group.bench_function(BenchmarkId::new("get hit", entries), |b| {
            b.iter(|| {
                at = (at + 1) & 0xffff;
                black_box(table.get(&keys[at]).is_some())
            })
        });
        group.bench_function(BenchmarkId::new("get miss", entries), |b| {
            b.iter(|| {
                at = (at + 1) & 0xffff;
                black_box(table.get(&absent[at]).is_some())
            })
        });
        group.bench_function(BenchmarkId::new("random", entries), |b| {
            b.iter(|| table.random(&mut |n| random.below(n)).map(|entry| entry.0[15]))
        });
        group.throughput(Throughput::Elements(entries));
        group.bench_function(BenchmarkId::new("iterate", entries), |b| {
            b.iter(|| table.iter().map(|entry| u64::from(entry.0[15])).sum::<u64>())
        });
        group.bench_function(BenchmarkId::new("scan", entries), |b| {
            b.iter(|| {
                let (mut cursor, mut sum) = (0, 0);
                loop {
                    cursor = table.scan(cursor, 10, &mut |entry: &Entry| sum += u64::from(entry.0[15]));
                    if cursor == 0 {
                        break sum;
                    }
                }
            })
        });
        group.throughput(Throughput::Elements(1));
    }
}

fn writes(c: &mut Criterion) {
    let mut group = c.benchmark_group("table");
    group.sample_size(10);
    for entries in [244, 100_000, 1_000_000] {
        group.throughput(Throughput::Elements(entries));
        for announced in [false, true] {
            let name = if announced { "insert announced" } else { "insert" };
            group.bench_function(BenchmarkId::new(name, entries), |b| {
                b.iter_batched(
                    || (0..entries).map(Entry::new).collect::<Vec<_>>(),
                    |items| {
                        let mut table =
                            Table::with_capacity(SEED, if announced { entries as usize } else { 0 });
                        for item in items {
                            table.insert_new_hashed(item.hash(SEED), item);
                        }
                        table
                    },
                    BatchSize::PerIteration,
                )
            });
        }
    }
    group.throughput(Throughput::Elements(1));
    let mut table = table(1_000_000);
    let mut number = 0;
    group.bench_function("remove and insert/1000000", |b| {
        b.iter(|| {
            let (old, new) = (key(number), key(number + 1_000_000));
            let mut entry = table.remove(&old).expect("it was inserted a million rounds ago");
            entry.0[..16].copy_from_slice(&new);
            table.insert_new_hashed(hash(SEED, &new), entry);
            number += 1;
        })
    });
    // The longest single insertion while a table grows to two million.
    let mut longest = Duration::ZERO;
    let mut grown = Table::new(SEED);
    for number in 0..2_000_000 {
        let entry = Entry::new(number);
        let hash = entry.hash(SEED);
        let start = Instant::now();
        grown.insert_new_hashed(hash, entry);
        longest = longest.max(start.elapsed());
    }
    println!("longest insertion: {longest:?}");
}

criterion_group!(benches, reads, writes);
criterion_main!(benches);
