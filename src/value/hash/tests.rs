//! Hashes against maps, with and without TTLs.
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

use crate::value::cell::Large;

fn content(hash: HashRef<'_>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let all: BTreeMap<_, _> = hash.iter().map(|(f, v)| (f.to_vec(), v.to_vec())).collect();
    assert_eq!(all.len(), hash.len());
    all
}

fn number(elem: Elem<'_>) -> usize {
    crate::base::num::parse_i64(&elem.to_vec()).expect("a number") as usize
}

/// The project's target for a field of 16 bytes with a value of 16, everything included, is 64.5 bytes.
#[test]
fn memory_a_field() {
    let mut table = HashTable::new(7);
    for i in 0..20_000 {
        table.set(format!("field:{i:010}").as_bytes(), format!("value:{i:010}").as_bytes());
    }
    let each = table.mem_bytes() as f64 / 20_000.0;
    assert!((32.0..52.0).contains(&each), "{each}");
    let mut cell = new_cell(b"user:0001000");
    for i in 0..5 {
        set(&mut cell, format!("f{i}").as_bytes(), b"value:1", &Limits::new(), 7);
    }
    assert!(cell.mem_bytes() <= 112, "{}", cell.mem_bytes());
}

#[test]
fn converts_at_the_limits() {
    let limits = Limits::new();
    limits.hash_max_listpack_entries.set(128);
    let mut cell = new_cell(b"k");
    for i in 0..128 {
        assert!(set(&mut cell, format!("f{i}").as_bytes(), b"1", &limits, 7));
    }
    assert_eq!(cell.kind(), Kind::HashPacked);
    assert!(!set(&mut cell, b"f0", b"2", &limits, 7));
    assert_eq!(cell.kind(), Kind::HashPacked);
    set(&mut cell, b"f128", b"1", &limits, 7);
    assert_eq!((cell.kind(), HashRef::of(&cell).len()), (Kind::HashTable, 129));
    let mut cell = new_cell(b"k");
    set(&mut cell, b"f", &[b'x'; 64], &limits, 7);
    assert_eq!(cell.kind(), Kind::HashPacked);
    set(&mut cell, b"f", &[b'x'; 65], &limits, 7);
    assert_eq!(cell.kind(), Kind::HashTable);
}

#[test]
fn a_copy_and_its_original_part_at_the_first_write() {
    let mut cell = new_cell(b"k");
    for i in 0..1000 {
        set(&mut cell, format!("f{i}").as_bytes(), b"1", &Limits::new(), 7);
    }
    let mut copy = cell.copied(b"c");
    let pin = HashPin::of(&copy, 0).expect("it is a table");
    set(&mut copy, b"f1", b"2", &Limits::new(), 7);
    remove(&mut cell, b"f2");
    assert_eq!(HashRef::of(&cell).len(), 999);
    assert!(HashRef::of(&cell).get(b"f1").is_some_and(|v| v.eq_bytes(b"1")));
    assert!(HashRef::of(&copy).get(b"f1").is_some_and(|v| v.eq_bytes(b"2")));
    assert!(HashRef::of(&copy).contains(b"f2") && pin.get().contains(b"f2"));
    drop(cell);
    assert!(pin.get().get(b"f1").is_some_and(|v| v.eq_bytes(b"1")));
    assert_eq!(content(pin.get()).len(), 1000);
}

#[test]
fn samples_are_different_and_uniform() {
    for pairs in [20, 500] {
        let mut cell = new_cell(b"k");
        for i in 0..pairs {
            set(&mut cell, format!("{i}").as_bytes(), b"1", &Limits::new(), 7);
        }
        let hash = HashRef::of(&cell);
        let mut rng = crate::base::rng::Rng::from_seed(3);
        let mut counts = vec![0; pairs];
        for n in [1, 5, pairs / 2, pairs - 1, pairs, pairs + 3] {
            let mut got = HashSet::new();
            hash.sample(n, &mut rng, |f, _| assert!(got.insert(f.to_vec())));
            assert_eq!(got.len(), n.min(pairs));
        }
        for _ in 0..pairs * 20 {
            hash.sample(2, &mut rng, |f, _| counts[number(f)] += 1);
            counts[number(hash.random(&mut rng).expect("not empty").0)] += 1;
        }
        assert!(counts.iter().all(|c| (25..110).contains(c)), "{counts:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn agrees_with_a_map(
        steps in prop::collection::vec((0..60u32, prop_oneof![Just(0usize), 1..40usize, 60..70usize, 250..260usize], 0..5u32), 1..200),
        entries_max in 1..40usize,
    ) {
        let limits = Limits::new();
        limits.hash_max_listpack_entries.set(entries_max);
        let mut cell = new_cell(b"key");
        let mut model = BTreeMap::new();
        let mut pins = Vec::new();
        for (field, len, what) in steps {
            let field = if field % 2 == 0 { field.to_string() } else { format!("field:{field}") }.into_bytes();
            match what {
                0 => prop_assert_eq!(remove(&mut cell, &field), model.remove(&field).is_some()),
                1 => pins.extend(HashPin::of(&cell, 0).map(|pin| (pin, model.clone()))),
                _ => {
                    let value = if len < 10 { len.to_string().into_bytes() } else { vec![b'v'; len] };
                    let created = set(&mut cell, &field, &value, &limits, 7);
                    prop_assert_eq!(created, model.insert(field.clone(), value).is_none());
                }
            }
            let hash = HashRef::of(&cell);
            prop_assert_eq!(hash.get(&field).map(|v| v.to_vec()), model.get(&field).cloned());
            prop_assert_eq!(hash.contains(&field), model.contains_key(&field));
        }
        prop_assert_eq!(&content(HashRef::of(&cell)), &model);
        let (mut cursor, mut scanned) = (0, BTreeMap::new());
        loop {
            cursor = HashRef::of(&cell).scan(cursor, 5, &mut |f, v| {
                scanned.insert(f.to_vec(), v.to_vec());
            });
            if cursor == 0 { break; }
        }
        prop_assert_eq!(&scanned, &model);
        if cell.kind() == Kind::HashTable {
            prop_assert_eq!(cell.large::<HashTable>().recount(), (true, 0));
        }
        for (pin, then) in pins {
            prop_assert_eq!(content(pin.get()), then);
        }
    }
}

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

fn content_with_ttl(hash: HashRef<'_>) -> Model {
    let all: Model = hash.iter_with_ttl().map(|(f, v, at)| (f.to_vec(), (v.to_vec(), at))).collect();
    assert_eq!(all.len(), hash.len());
    let pairs = content(hash);
    assert!(all.iter().all(|(f, (v, _))| pairs.get(f) == Some(v)) && pairs.len() == all.len());
    all
}

fn living(model: &Model, horizon: u64) -> Model {
    let lives = |at: Option<u64>| at.is_none_or(|at| at > horizon);
    model.iter().filter(|(_, (_, at))| lives(*at)).map(|(f, v)| (f.clone(), v.clone())).collect()
}

/// What holds of a cell whose content is the model.
fn check(cell: &Cell, model: &Model, horizon: u64) {
    assert_eq!(cell.field_expire_ms(), model.values().filter_map(|(_, at)| *at).min());
    assert_eq!(content_with_ttl(HashRef::of(cell)), *model);
    let hash = HashRef::at(cell, horizon);
    let living = living(model, horizon);
    assert_eq!(content_with_ttl(hash), living);
    for field in model.keys() {
        let found = hash.get_with_ttl(field).map(|(v, at)| (v.to_vec(), at));
        assert_eq!(found, living.get(field).cloned());
        assert_eq!(hash.contains(field), found.is_some());
    }
    let mut scanned = Vec::new();
    let mut cursor = 0;
    loop {
        cursor = hash.scan(cursor, 10, &mut |f, _| scanned.push(f.to_vec()));
        if cursor == 0 {
            break;
        }
    }
    scanned.sort();
    assert_eq!(scanned, living.keys().cloned().collect::<Vec<_>>());
    let mut rng = crate::base::rng::Rng::from_seed(horizon);
    let mut sampled = HashSet::new();
    hash.sample(5, &mut rng, |f, _| assert!(living.contains_key(&f.to_vec()) && sampled.insert(f.to_vec())));
    assert_eq!(sampled.len(), living.len().min(5));
    assert_eq!(
        hash.random(&mut rng).map(|(f, _)| living.contains_key(&f.to_vec())),
        (!living.is_empty()).then_some(true)
    );
    let mut drawn = 0;
    hash.draw(5, &mut rng, |f, _| {
        drawn += 1;
        living.contains_key(&f.to_vec())
    });
    assert_eq!(drawn, if living.is_empty() { 0 } else { 5 });
    if cell.kind() == Kind::HashPackedTtl {
        let reread = triples_cell(b"k", cell.body()).expect("triples in order");
        assert_eq!((reread.body(), reread.field_expire_ms()), (cell.body(), cell.field_expire_ms()));
    }
    if cell.kind() == Kind::HashTable {
        let ttls = model.values().filter(|(_, at)| at.is_some()).count();
        assert_eq!(cell.large::<HashTable>().recount(), (true, ttls));
    }
}

#[test]
fn a_first_ttl_makes_triples_and_the_limits_a_table() {
    let limits = Limits::new();
    limits.hash_max_listpack_entries.set(3);
    let mut cell = new_cell(b"k");
    set(&mut cell, b"b", b"2", &limits, 7);
    set(&mut cell, b"a", b"1", &limits, 7);
    set_expire(&mut cell, b"a", None, 7);
    assert_eq!(cell.kind(), Kind::HashPacked);
    set_expire(&mut cell, b"a", Some(500), 7);
    assert_eq!((cell.kind(), cell.field_expire_ms()), (Kind::HashPackedTtl, Some(500)));
    put(&mut cell, b"c", b"3", FieldTtl::At(400), &limits, 7);
    let texts: Vec<_> =
        Listpack::new(cell.body()).iter().map(|e| String::from_utf8(e.to_vec()).unwrap()).collect();
    assert_eq!(texts, ["c", "3", "400", "a", "1", "500", "b", "2", "0"]);
    set_expire(&mut cell, b"a", None, 7);
    set_expire(&mut cell, b"c", None, 7);
    assert_eq!((cell.kind(), cell.field_expire_ms()), (Kind::HashPackedTtl, None));
    put(&mut cell, b"d", b"4", FieldTtl::At(300), &limits, 7);
    assert_eq!((cell.kind(), cell.field_expire_ms()), (Kind::HashTable, Some(300)));
    assert_eq!(expire(&mut cell, 299, 9, &mut |_| panic!("none is due")), Expired::Some(0));
    let mut gone = Vec::new();
    assert_eq!(expire(&mut cell, 300, 9, &mut |f| gone.push(f.to_vec())), Expired::Some(1));
    assert_eq!((gone, cell.field_expire_ms()), (vec![b"d".to_vec()], None));
    for field in [b"a", b"b", b"c"] {
        set_expire(&mut cell, field, Some(1000), 7);
    }
    assert_eq!(expire(&mut cell, 1000, 1, &mut |_| panic!("the key goes")), Expired::All);
    assert!(HashRef::at(&cell, 1000).is_empty() && HashRef::at(&cell, 999).len() == 3);
}

#[test]
fn triples_from_outside_are_looked_at() {
    let triples = |texts: &[&str]| {
        let mut bytes = listpack::empty().to_vec();
        texts.iter().for_each(|t| listpack::push_back(&mut bytes, t.as_bytes()));
        triples_cell(b"k", &bytes).map(|cell| cell.field_expire_ms())
    };
    assert_eq!(triples(&["a", "1", "5", "b", "2", "5", "c", "3", "0", "d", "4", "0"]), Some(Some(5)));
    assert_eq!(triples(&["a", "1", "0"]), Some(None));
    for bad in [
        &["a", "1"][..],
        &["a", "1", "x"],
        &["a", "1", "-1"],
        &["a", "1", "281474976710655"],
        &["a", "1", "6", "b", "2", "5"],
        &["a", "1", "0", "b", "2", "5"],
    ] {
        assert_eq!(triples(bad), None, "{bad:?}");
    }
}

/// A cell's bytes for these hashes are what they were before fields could expire; a TTL costs what it says.
#[test]
fn a_hash_without_ttls_pays_nothing() {
    let mut cells = 0;
    for i in 0..10_000 {
        let mut cell = new_cell(format!("user:{i:07}").as_bytes());
        for f in 0..5 {
            set(&mut cell, format!("f{f}").as_bytes(), b"value:1", &Limits::new(), 7);
        }
        cells += cell.mem_bytes();
        assert_eq!(cell.mem_bytes(), crate::base::alloc::size_class(16 + 12 + cell.body().len()));
    }
    assert_eq!(cells, 10_000 * 112);
    let fill = |ttl: FieldTtl| {
        let mut table = HashTable::new(7);
        for i in 0..20_000 {
            table.put(format!("field:{i:010}").as_bytes(), format!("value:{i:010}").as_bytes(), ttl);
        }
        table
    };
    let (plain, mut ttls) = (fill(FieldTtl::None), fill(FieldTtl::At(1 << 40)));
    let more = (ttls.mem_bytes() - plain.mem_bytes()) as f64 / 20_000.0;
    assert!((40.0..70.0).contains(&more), "{more}");
    for i in 0..20_000 {
        ttls.set_expire(format!("field:{i:010}").as_bytes(), None);
    }
    assert_eq!(ttls.mem_bytes(), plain.mem_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn ttls_agree_with_a_map(
        steps in prop::collection::vec((0..8u32, 0..30u32, 1..60u64, 0..70usize), 1..150),
        entries_max in prop_oneof![Just(0usize), 3..40usize],
    ) {
        let limits = Limits::new();
        limits.hash_max_listpack_entries.set(entries_max);
        let mut cell = new_cell(b"key");
        let (mut model, mut now) = (Model::new(), 100);
        let mut pins = Vec::new();
        let mut copies = Vec::new();
        for (what, field, after, len) in steps {
            let field = if field % 2 == 0 { field.to_string() } else { format!("field:{field}") }.into_bytes();
            let value = if len < 10 { len.to_string().into_bytes() } else { vec![b'v'; len] };
            let known = model.get(&field).cloned();
            match what {
                0..=2 => {
                    let ttl = [FieldTtl::None, FieldTtl::Keep, FieldTtl::At(now + after)][what as usize];
                    let created = put(&mut cell, &field, &value, ttl, &limits, 7);
                    prop_assert_eq!(created, known.is_none());
                    model.insert(field, (value, ttl.after(known.and_then(|(_, at)| at))));
                }
                3 | 4 => {
                    if let Some((value, _)) = known {
                        let at = (what == 3).then_some(now + after);
                        set_expire(&mut cell, &field, at, 7);
                        model.insert(field, (value, at));
                    }
                }
                5 => {
                    prop_assert_eq!(remove(&mut cell, &field), model.remove(&field).is_some());
                }
                6 => {
                    now += after;
                    check(&cell, &model, now);
                    let most = len % 5;
                    let due = model.len() - living(&model, now).len();
                    let mut gone = Vec::new();
                    let expired = expire(&mut cell, now, most, &mut |f| gone.push(f.to_vec()));
                    if due == model.len() {
                        prop_assert_eq!(expired, Expired::All);
                        cell = new_cell(b"key");
                        model.clear();
                    } else {
                        prop_assert_eq!(expired, Expired::Some(due.min(most)));
                        prop_assert_eq!(gone.len(), due.min(most));
                        for field in gone {
                            let was = model.remove(&field).and_then(|(_, at)| at);
                            prop_assert!(was.is_some_and(|at| at <= now));
                        }
                    }
                }
                _ => {
                    pins.extend(HashPin::of(&cell, now).map(|pin| (pin, living(&model, now))));
                    let copy = cell.copied(b"copy");
                    if after % 2 == 0 {
                        copies.push((copy, model.clone()));
                    } else {
                        copies.push((std::mem::replace(&mut cell, copy), model.clone()));
                    }
                }
            }
            check(&cell, &model, now);
        }
        for (pin, then) in pins {
            prop_assert_eq!(content_with_ttl(pin.get()), then);
        }
        for (mut copy, mut then) in copies {
            check(&copy, &then, now);
            put(&mut copy, b"new", b"1", FieldTtl::At(50), &limits, 7);
            then.insert(b"new".to_vec(), (b"1".to_vec(), Some(50)));
            check(&copy, &then, now);
        }
    }
}
