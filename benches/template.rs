//! Costs of turning records into commands.
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tidewater::command::table::CommandTable;
use tidewater::kafka::{Definition, Pipeline, Record, Rendered};

struct Fixed<'a>(&'a [u8]);

impl Record for Fixed<'_> {
    fn key(&self) -> Option<&[u8]> {
        Some(b"order-000000001234")
    }

    fn value(&self) -> Option<&[u8]> {
        Some(self.0)
    }

    fn topic(&self) -> &str {
        "orders"
    }

    fn partition(&self) -> i32 {
        3
    }

    fn offset(&self) -> i64 {
        1_234_567
    }

    fn timestamp(&self) -> Option<i64> {
        Some(1_700_000_000_000)
    }

    fn header(&self, _: &str) -> Option<&[u8]> {
        None
    }
}

fn templates(c: &mut Criterion) {
    let flat = br#"{"id":1234,"customer":"c-000042","status":"paid","total":129.95,"currency":"EUR","items":3,"city":"Hamburg","zip":"20095","gift":false,"note":"leave at the door"}"#;
    let raw = [b'x'; 100];
    let cases: [(&str, &[&str], &[u8]); 5] = [
        ("set_raw_100", &["DO", "SET {key} {value}"], &raw),
        ("hset_spread_10", &["DO", "HSET order:{key} {*}"], flat),
        ("zadd_paths_3", &["DO", "ZADD board:{.city} {.total} {.id}"], flat),
        (
            "where_refuses",
            &["WHERE", ".status == 'open' && .total > 100", "DO", "HSET order:{key} {*}"],
            flat,
        ),
        (
            "three_commands",
            &["DO", "HSET order:{key} {*}", "DO", "ZADD board:{.city} {.total} {.id}", "DO", "INCRBY n 1"],
            flat,
        ),
    ];
    let table = CommandTable::new(tidewater::server::all_commands(), &[]);
    for (name, clauses, value) in cases {
        let args = ["bench", "TOPIC", "orders"].iter().chain(clauses).map(|arg| arg.as_bytes());
        let definition = Definition::parse(args).expect("a definition");
        let pipeline = Pipeline::compile(&definition, &table).expect("known commands");
        let mut out = Rendered::new(1 << 20);
        c.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                let verdict = pipeline.render(black_box(&Fixed(value)), &mut out);
                black_box((verdict.expect("a good record"), out.len()))
            });
        });
    }
}

criterion_group!(benches, templates);
criterion_main!(benches);
