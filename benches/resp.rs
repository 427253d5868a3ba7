//! Costs of the protocol: a request parsed, a reply written.
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidewater::resp::{ParseLimits, Parser, Reply, Status};

fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut reply = Reply::new(false);
    reply.array(args.len());
    args.iter().for_each(|arg| reply.bulk(arg));
    reply.buf
}

/// Parses everything in `buf` and counts the requests.
fn drain(parser: &mut Parser, limits: &ParseLimits, mut buf: &[u8]) -> usize {
    let mut count = 0;
    while let Ok(Status::Complete { consumed }) = parser.next(buf, limits) {
        black_box(parser.args(buf).name());
        buf = &buf[consumed..];
        count += 1;
    }
    count
}

fn requests(c: &mut Criterion) {
    let get = request(&[b"GET", b"key:000000001234"]);
    let set = request(&[b"SET", b"key:000000001234", &[b'x'; 64]]);
    let set_long = request(&[b"SET", b"key:000000001234", &[b'x'; 4096]]);
    let args: Vec<Vec<u8>> = (0..1000).map(|n| format!("member:{n}").into_bytes()).collect();
    let refs: Vec<&[u8]> = args.iter().map(|arg| &arg[..]).collect();
    let cases: [(&str, Vec<u8>, usize); 7] = [
        ("ping", request(&[b"PING"]), 1),
        ("ping_inline", b"PING\r\n".to_vec(), 1),
        ("get", get.clone(), 1),
        ("set_64", set.clone(), 1),
        ("set_4096", set_long, 1),
        ("get_set_pipeline_64", [get, set].concat().repeat(32), 64),
        ("sadd_1000", request(&refs), 1),
    ];
    let mut group = c.benchmark_group("request");
    let limits = ParseLimits::default();
    for (name, bytes, count) in cases {
        let mut parser = Parser::new();
        assert_eq!(drain(&mut parser, &limits, &bytes), count);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(name, |b| b.iter(|| drain(&mut parser, &limits, black_box(&bytes))));
    }
    group.finish();
}

fn replies(c: &mut Criterion) {
    let mut group = c.benchmark_group("reply");
    let mut case = |name: &str, write: &dyn Fn(&mut Reply)| {
        let mut reply = Reply::new(false);
        group.bench_function(name, |b| {
            b.iter(|| {
                // A batch of 64, as a pipeline makes it; divide by 64.
                reply.clear();
                for _ in 0..64 {
                    write(black_box(&mut reply));
                }
                reply.len()
            })
        });
    };
    let shared = Arc::new(vec![b'x'; 64 * 1024]);
    case("ok_x64", &|r| r.ok());
    case("int_small_x64", &|r| r.int(black_box(1)));
    case("int_large_x64", &|r| r.int(black_box(1_234_567_890)));
    case("bulk_16_x64", &|r| r.bulk(black_box(b"0123456789abcdef")));
    case("bulk_1024_x64", &|r| r.bulk(black_box(&[b'x'; 1024])));
    case("bulk_shared_64k_x64", &|r| r.bulk_shared(black_box(&shared)));
    case("double_x64", &|r| r.double(black_box(1234.5678)));
    case("deferred_array_10_x64", &|r| {
        let at = r.defer();
        (0..10).for_each(|n| r.int(black_box(n)));
        r.finish_array(at, 10);
    });
    group.finish();
}

criterion_group!(benches, requests, replies);
criterion_main!(benches);
