//! Every type and encoding there and back, by every way through this folder; and what damage does.
use std::io::Read;

use proptest::prelude::*;

use super::commands::payload;
use super::decode::{self, Decoded, Options};
use super::encode::{self, Access};
use super::error::{ErrorKind, RdbError};
use super::input::{Input, Slice};
use super::read::{Batch, Checksum, Entry, Item, Reader};
use super::{old, skim, types};
use crate::base::crc::crc64;
use crate::base::limits::Limits;
use crate::value::cell::{Cell, Kind, Type};
use crate::value::hash::{self, HashRef};
use crate::value::list::{self, ListRef};
use crate::value::listpack::{self, Elem};
use crate::value::set::{self, SetRef};
use crate::value::stream::id::StreamId;
use crate::value::stream::{NodeLimits, Stream};
use crate::value::zset::{self, ZSetRef};

const SEED: u64 = 7;

/// Small, so that few elements reach every encoding.
fn limits() -> Limits {
    let l = Limits::new();
    l.hash_max_listpack_entries.set(8);
    l.hash_max_listpack_value.set(16);
    l.set_max_intset_entries.set(8);
    l.set_max_listpack_entries.set(8);
    l.set_max_listpack_value.set(16);
    l.zset_max_listpack_entries.set(8);
    l.zset_max_listpack_value.set(16);
    l.list_max_listpack_size.set(4);
    l.quicklist_packed_threshold.set(3000);
    l
}

fn options(limits: &Limits, version: u32) -> Options<'_> {
    Options { limits, seed: SEED, version, skip_modules: false }
}

fn text(elem: Elem<'_>) -> Vec<u8> {
    elem.to_vec()
}

/// Kind, expiry and all that is in it; what has no order is sorted.
fn show(cell: &Cell) -> (Kind, Vec<u8>, Option<u64>, Vec<Vec<u8>>) {
    let mut all = Vec::new();
    match cell.ty() {
        Type::String => all.push(match (cell.as_int(), cell.big()) {
            (Some(v), _) => v.to_string().into_bytes(),
            (_, Some(big)) => big.clone(),
            _ => cell.body().to_vec(),
        }),
        Type::List => ListRef::of(cell).walk(0, false, |e| {
            all.push(text(e));
            true
        }),
        Type::Set => {
            all = SetRef::of(cell).iter().map(text).collect();
            all.sort();
        }
        Type::Hash => {
            all = HashRef::of(cell).iter().map(|(f, v)| [text(f), b"=".to_vec(), text(v)].concat()).collect();
            all.sort();
        }
        Type::ZSet => {
            let pair = |(m, s): (Elem<'_>, f64)| [text(m), format!(" {s:?}").into_bytes()].concat();
            all = ZSetRef::of(cell).iter().map(pair).collect();
        }
        Type::Stream => {
            let stream = cell.large::<Stream>();
            let ids = [stream.last_id, stream.first_id, stream.max_deleted_id];
            all.push(format!("{} {} {ids:?}", stream.len(), stream.entries_added).into_bytes());
            all.extend(stream.blocks().map(|(master, block)| [&master.to_bytes()[..], block].concat()));
        }
    }
    (cell.kind(), cell.key().to_vec(), cell.expire_ms(), all)
}

fn decoded(ty: u8, bytes: &[u8], version: u32) -> Result<Cell, RdbError> {
    let limits = limits();
    match decode::whole_value(ty, b"key", bytes, 0, &options(&limits, version))? {
        Decoded::Cell(cell) => Ok(cell),
        Decoded::Empty => Err(RdbError::corrupt(0, "empty")),
        Decoded::Skipped(name) => Err(RdbError::unsupported(0, name)),
    }
}

/// A cell of these texts, in the encoding that the limits give it.
fn cell(what: u8, texts: &[Vec<u8>]) -> Cell {
    let limits = limits();
    let first = texts.first().map_or(&b"x"[..], |t| t);
    match what {
        0 => Cell::string(b"key", first),
        1 => Cell::raw_string(b"key", &texts.concat().repeat(100)),
        2 => {
            let mut cell = list::new_cell(b"key");
            list::prepare(&mut cell, texts.iter().map(Vec::as_slice), &limits);
            texts.iter().for_each(|t| list::push(&mut cell, false, t));
            cell
        }
        3 => {
            let mut cell = set::create_empty(b"key");
            for t in texts {
                set::add(&mut cell, t, &limits, SEED);
            }
            cell
        }
        4 => {
            let mut cell = hash::new_cell(b"key");
            for t in texts {
                hash::set(&mut cell, t, &[t, &b"!"[..]].concat(), &limits, SEED);
            }
            cell
        }
        6 => {
            let mut stream = Stream::new();
            let limits = NodeLimits { max_bytes: 500, max_entries: 5 };
            for (i, t) in texts.iter().enumerate() {
                let id = StreamId::new(i as u64 / 3, i as u64 + 1);
                stream.append(id, [&b"field"[..], t].into_iter(), limits);
                if i % 4 == 1 {
                    stream.delete(id);
                    stream.note_deleted(id);
                }
            }
            stream.into_cell(b"key")
        }
        _ => {
            let mut cell = zset::create(b"key", first, texts.len(), &limits, SEED);
            for (i, t) in texts.iter().enumerate() {
                let score = if i % 3 == 0 { i as f64 } else { 1.5 / i as f64 };
                zset::update(&mut cell, t, score, zset::Update::default(), &limits, SEED);
            }
            cell
        }
    }
}

fn any_text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i64>().prop_map(|v| v.to_string().into_bytes()),
        any::<i8>().prop_map(|v| v.to_string().into_bytes()),
        "[a-c]{0,12}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..60),
        ("[a-z]{3}", 20usize..2000).prop_map(|(s, n)| s.repeat(n).into_bytes()),
    ]
}

/// Reads a few bytes at a time.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = buf.len().min(7).min(self.0.len());
        let (head, rest) = self.0.split_at(n);
        buf[..n].copy_from_slice(head);
        self.0 = rest;
        Ok(n)
    }
}

fn file(cells: &[Cell], compress: bool) -> Vec<u8> {
    let mut out = Vec::new();
    encode::header(&mut out, 10);
    encode::aux(&mut out, b"redis-ver", b"7.2.4");
    encode::aux(&mut out, b"used-mem", b"1000000");
    encode::function(&mut out, b"#!lua name=x\nredis.log('hello hello hello')", &encode::Options::default());
    encode::select_db(&mut out, 3);
    encode::resize_db(&mut out, cells.len() as u64, 1);
    for cell in cells {
        encode::entry(&mut out, cell, Access::Freq(5), &encode::Options { compress });
    }
    encode::end(&mut out);
    let crc = crc64(0, &out);
    encode::checksum(&mut out, crc);
    out
}

fn items(bytes: &[u8]) -> Result<Vec<Item>, RdbError> {
    let mut reader = Reader::new(Trickle(bytes), None, true)?;
    let mut all = Vec::new();
    loop {
        let item = reader.next_item()?;
        let last = matches!(item, Item::End(_));
        all.push(item);
        if last {
            return Ok(all);
        }
    }
}

proptest! {

    #[test]
    fn every_encoding_comes_back(
        what in 0u8..7,
        mut texts in proptest::collection::vec(any_text(), 1..30),
        compress: bool,
        expire in proptest::option::of(1u64..1 << 50),
    ) {
        if what > 2 {
            texts.sort();
            texts.dedup();
        }
        let mut cell = cell(what, &texts);
        cell.set_expiry(expire.map(|ms| (ms, 0)));
        let mut bytes = Vec::new();
        encode::value(&mut bytes, &cell, &encode::Options { compress });
        let ty = encode::type_of(&cell);
        let mut back = decoded(ty, &bytes, 10).unwrap();
        back.set_expiry(expire.map(|ms| (ms, 0)));
        prop_assert_eq!(show(&back), show(&cell));
        prop_assert_eq!(back.mem_bytes() > 0, true);
        // Skimmed, it ends at the same place.
        let mut input = Slice::new(&bytes);
        skim::value(ty, 10, &mut input).unwrap();
        prop_assert_eq!(input.left(), 0);
        // Cut short, it is an error.
        let cut = bytes.len() / 2;
        prop_assert!(decoded(ty, &bytes[..cut], 10).is_err());
        prop_assert!(skim::value(ty, 10, &mut Slice::new(&bytes[..cut])).is_err());
        // Through a file, raw and in place.
        let whole = file(std::slice::from_ref(&cell), compress);
        for raw in [false, true] {
            let mut reader = Reader::new(Trickle(&whole), Some(whole.len() as u64), true).unwrap();
            let limits = limits();
            let options = options(&limits, reader.version());
            let entry = loop {
                if let Item::Entry(entry) = reader.next_item().unwrap() {
                    break entry;
                }
            };
            prop_assert_eq!((entry.ty, entry.freq, entry.idle), (ty, Some(5), None));
            let found = if raw {
                let mut batch = Batch::default();
                reader.take_into(&mut batch, 3).unwrap();
                let (db, entry, key, value) = batch.iter().next().unwrap();
                prop_assert_eq!(db, 3);
                prop_assert_eq!(value, &bytes[..]);
                decode::whole_value(entry.ty, key, value, entry.offset, &options).unwrap()
            } else {
                reader.take_value(&options).unwrap().unwrap()
            };
            let Decoded::Cell(mut found) = found else { panic!("a cell") };
            found.set_expiry(entry.expire_ms.map(|ms| (ms as u64, 0)));
            prop_assert_eq!(show(&found), show(&cell));
            prop_assert_eq!(reader.next_item().unwrap(), Item::End(Checksum::Good));
        }
    }

    #[test]
    fn damaged_samples_are_decoded_or_refused(
        which in any::<prop::sample::Index>(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let samples = samples();
        let (ty, mut bytes) = which.get(&samples).clone();
        for (at, byte) in edits {
            *at.get_mut(&mut bytes) = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        super::fuzz::value(&[&[10, 0, ty], &bytes[..]].concat());
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(ty in 0u8..27, version in prop_oneof![Just(10u32), Just(12), Just(80)],
        bytes in proptest::collection::vec(any::<u8>(), 0..200))
    {
        let payload_of = [&(version as u16).to_le_bytes()[..], &[ty], &bytes].concat();
        super::fuzz::value(&payload_of);
        let skimmed = {
            let mut input = Slice::new(&bytes);
            skim::value(ty, version, &mut input).map(|()| input.left())
        };
        let limits = limits();
        let mut input = Slice::new(&bytes);
        if let Ok(Decoded::Cell(cell)) = decode::value(ty, b"key", &mut input, &options(&limits, version)) {
            prop_assert_eq!(skimmed, Ok(input.left()));
            show(&cell);
            payload(&cell, true);
        }
    }
}

fn samples() -> Vec<(u8, Vec<u8>)> {
    let texts: Vec<Vec<u8>> =
        [&b"one"[..], b"22", b"-70000", b"abcabcabcabcabcabcabcabcabcabcabcabcabc", b"", b"9000000000"]
            .map(<[u8]>::to_vec)
            .into();
    let ints: Vec<Vec<u8>> = (0..5).map(|i: i64| (i * 30_000).to_string().into_bytes()).collect();
    let many: Vec<Vec<u8>> = (0..12).map(|i| format!("member:{i}").into_bytes()).collect();
    let mut all: Vec<(u8, Vec<u8>)> = [0, 1, 2, 3, 4, 5, 6]
        .into_iter()
        .flat_map(|what| [cell(what, &texts), cell(what, &texts[..2]), cell(what, &ints), cell(what, &many)])
        .map(|cell| {
            let mut bytes = Vec::new();
            encode::value(&mut bytes, &cell, &encode::Options::default());
            (encode::type_of(&cell), bytes)
        })
        .collect();
    let zl = old::tests::ziplist(&[b"a", b"1", b"bbbb", b"-200", b"member:1", b"3.5"]);
    let text = |bytes: &[u8]| {
        let mut out = Vec::new();
        encode::string(&mut out, bytes, &encode::Options::default());
        out
    };
    let mut pack = listpack::empty().to_vec();
    listpack::extend(&mut pack, [&b"a"[..], b"1", b"b", b"2", b"c", b"3.5"]);
    for ty in [types::LIST_ZIPLIST, types::ZSET_ZIPLIST, types::HASH_ZIPLIST] {
        all.push((ty, text(&zl)));
    }
    for ty in [types::SET_LISTPACK, types::HASH_LISTPACK, types::ZSET_LISTPACK] {
        all.push((ty, text(&pack)));
    }
    all.push((types::LIST_QUICKLIST, [vec![2], text(&zl), text(&zl)].concat()));
    all.push((types::HASH_ZIPMAP, text(b"\x02\x01a\x01\x00b\x02hi\x03\x02hey!!\xff")));
    all.push((types::LIST, b"\x03\x01a\xc0\x05\x02bc".to_vec()));
    all.push((types::ZSET, b"\x03\x01a\x0212\x01b\xfe\x01c\xff".to_vec()));
    all
}

#[test]
fn layouts_of_the_past() {
    for (ty, bytes) in samples() {
        let cell = decoded(ty, &bytes, 10).unwrap_or_else(|e| panic!("{ty}: {e}"));
        assert!(!show(&cell).3.is_empty());
    }
    let zset = decoded(types::ZSET, b"\x03\x01a\x0212\x01b\xfe\x01c\xff", 1).unwrap();
    assert_eq!(show(&zset).3, [&b"c -inf"[..], b"a 12.0", b"b inf"]);
    let list = decoded(types::LIST, b"\x03\x01a\xc0\x05\x02bc", 1).unwrap();
    assert_eq!(show(&list).3, [&b"a"[..], b"5", b"bc"]);
    assert_eq!(list.kind(), Kind::ListPacked);
}

#[test]
fn one_wrong_byte_does_no_harm() {
    for (ty, bytes) in samples().into_iter().filter(|(_, bytes)| bytes.len() < 400) {
        for at in 0..bytes.len() {
            for byte in [0, 1, 0x3f, 0x7f, 0x80, 0x81, 0xc3, 0xfe, 0xff, bytes[at] ^ 1, bytes[at] ^ 0x10] {
                let mut bad = bytes.clone();
                bad[at] = byte;
                if let Ok(cell) = decoded(ty, &bad, 10) {
                    // What was accepted can be used.
                    show(&cell);
                    payload(&cell, true);
                    drop(cell.copied(b"copy"));
                }
            }
        }
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let refused = |ty, bytes: &[u8], what: &str| {
        let error = decoded(ty, bytes, 10).map(|c| show(&c)).expect_err(what);
        assert!(error.to_string().contains(what), "{error}");
    };
    refused(types::SET, b"\x02\x01a\x01a", "Duplicate");
    refused(types::HASH, b"\x02\x01a\x01b\x01a\x01c", "Duplicate");
    refused(types::ZSET_2, b"\x01\x01a\0\0\0\0\0\0\xf8\x7f", "NAN");
    refused(types::ZSET, b"\x01\x01a\xfd", "NAN");
    refused(types::LIST_QUICKLIST_2, b"\x01\x03\x01a", "container");
    refused(types::HASH_LISTPACK, b"\x09\x09\0\0\0\x01\0\x01\x01\xff", "other half");
    refused(types::SET_INTSET, b"\x0c\x02\0\0\0\x02\0\0\0\x05\0\x05\0", "Intset");
    refused(types::STRING, b"\x81\xff\xff\xff\xff\xff\xff\xff\xf7", "unexpected end");
    refused(types::STRING, b"\xc3\x01\x81\x7f\xff\xff\xff\xff\xff\xff\xf7\0", "LZF");
    refused(types::SET, b"\x81\x10\0\0\0\0\0\0\0\x01a", "unexpected end");
    refused(types::HASH, b"\x81\x10\0\0\0\0\0\0\0\x01a", "unexpected end");
    refused(types::ZSET_2, b"\x81\x10\0\0\0\0\0\0\0\x01a", "unexpected end");
    refused(types::STRING, b"\x01a!", "after the value's end");
    refused(8, b"", "unknown value type 8");
    for ty in [types::LIST, types::SET, types::HASH, types::ZSET_2, types::LIST_QUICKLIST_2] {
        refused(ty, b"\0", "empty");
    }
    // Many members twice, in a table and a tree.
    let mut set = vec![20];
    (0..20).for_each(|i| set.extend([1, b'a' + i % 19]));
    refused(types::SET, &set, "Duplicate");
    let mut zset = vec![20];
    (0..20).for_each(|i| {
        zset.extend([1, b'a' + i % 19]);
        zset.extend(f64::from(i).to_le_bytes());
    });
    refused(types::ZSET_2, &zset, "Duplicate");
}

#[test]
fn a_sorted_set_out_of_order_is_put_in_order() {
    let mut pack = listpack::empty().to_vec();
    listpack::extend(&mut pack, [&b"b"[..], b"2", b"c", b"1", b"a", b"1"]);
    let mut bytes = Vec::new();
    encode::string(&mut bytes, &pack, &encode::Options::default());
    let cell = decoded(types::ZSET_LISTPACK, &bytes, 10).unwrap();
    assert_eq!(show(&cell).3, [&b"a 1.0"[..], b"c 1.0", b"b 2.0"]);
}

/// A module's value: its id, a number of each kind, a string, and the end.
fn module_value() -> Vec<u8> {
    let name = b"test-mod1";
    const CHARS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let id =
        name.iter().fold(0u64, |id, c| id << 6 | CHARS.iter().position(|x| x == c).unwrap() as u64) << 10;
    let mut out = Vec::new();
    encode::length(&mut out, id | 3);
    out.extend([2, 5, 1, 7, 3, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 5, 2, b'h', b'i', 0]);
    out
}

#[test]
fn modules_are_named_or_skipped() {
    let limits = limits();
    let bytes = module_value();
    let error = decoded(types::MODULE_2, &bytes, 10).map(|_| ()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.what.contains("'test-mod1'"), "{error}");
    let skipping = Options { skip_modules: true, ..options(&limits, 10) };
    match decode::whole_value(types::MODULE_2, b"k", &bytes, 0, &skipping) {
        Ok(Decoded::Skipped(name)) => assert_eq!(name, "test-mod1"),
        _ => panic!("it is skipped"),
    }
    let mut file = b"REDIS0010\xf7".to_vec();
    let id_len = 9;
    file.extend(&bytes[..id_len]);
    file.extend([2, 1]);
    file.extend(&bytes[id_len..]);
    file.extend([0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
    let aux = Item::ModuleAux { module: "test-mod1".into() };
    assert_eq!(items(&file).unwrap(), [aux, Item::End(Checksum::Disabled)]);
}

#[test]
fn a_file_comes_apart() {
    let cells = [Cell::string(b"a", b"1"), Cell::string(b"b", &[b'x'; 100])];
    let bytes = file(&cells, true);
    let found = items(&bytes).unwrap();
    let aux = |k: &[u8], v: &[u8]| Item::Aux { key: k.to_vec(), value: v.to_vec() };
    let entry = |offset| Item::Entry(Entry { ty: 0, expire_ms: None, idle: None, freq: Some(5), offset });
    assert_eq!(found[..2], [aux(b"redis-ver", b"7.2.4"), aux(b"used-mem", b"1000000")]);
    assert!(matches!(&found[2], Item::Function(code) if code.starts_with(b"#!lua name=x")));
    assert_eq!(found[3..5], [Item::Database(3), Item::Size { keys: 2, expires: 1 }]);
    let (first, second) = match (&found[5], &found[6]) {
        (Item::Entry(a), Item::Entry(b)) => (a.offset, b.offset),
        other => panic!("{other:?}"),
    };
    assert_eq!(found[5..], [entry(first), entry(second), Item::End(Checksum::Good)]);
    super::fuzz::file(&bytes);
    // One bit anywhere: an error, or at least a wrong checksum.
    for at in 0..bytes.len() - 8 {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        assert!(items(&bad).is_err(), "byte {at}");
        super::fuzz::file(&bad);
    }
    for cut in 0..bytes.len() {
        let error = items(&bytes[..cut]).unwrap_err();
        assert_eq!((error.kind, error.offset), (ErrorKind::Truncated, cut as u64));
    }
}

#[test]
fn headers_and_versions() {
    let version = |magic: &[u8]| Reader::new(magic, None, true).map(|r| r.version());
    assert_eq!(version(b"REDIS0001"), Ok(1));
    assert_eq!(version(b"REDIS0012"), Ok(12));
    assert_eq!(version(b"VALKEY080"), Ok(80));
    for refused in [&b"REDIS0013"[..], b"REDIS0000", b"REDIS+001", b"VALKEY999", b"MEMCACHED", b"REDIS"] {
        assert!(version(refused).is_err(), "{refused:?}");
    }
    // Version 1: seconds, and no checksum.
    let found = items(b"REDIS0001\xfd\x10\0\0\0\0\x01k\x01v\xff").unwrap();
    assert!(matches!(found[0], Item::Entry(Entry { expire_ms: Some(16_000), .. })));
    assert_eq!(found[1], Item::End(Checksum::Absent));
}

#[test]
fn hashes_with_field_ttls() {
    let (plain, soon) = (b"\x01f\x01v", 5000u64.to_le_bytes());
    let pack = |at: &[u8]| {
        let mut pack = listpack::empty().to_vec();
        listpack::extend(&mut pack, [&b"f"[..], b"v", at]);
        let mut out = Vec::new();
        encode::string(&mut out, &pack, &encode::Options::default());
        out
    };
    let layouts = |ttl: u8, at: &[u8], valkey: i64| {
        [
            (types::HASH_TTL_PRE_GA, 12, [&[1, ttl][..], plain].concat()),
            (types::HASH_TTL_PRE_GA, 80, [&[1][..], plain, &valkey.to_le_bytes()].concat()),
            (types::HASH_LISTPACK_TTL_PRE_GA, 12, pack(at)),
            (types::HASH_TTL, 12, [&soon[..], &[1, ttl], plain].concat()),
            (types::HASH_LISTPACK_TTL, 12, [&soon[..], &pack(at)].concat()),
        ]
    };
    for (ty, version, bytes) in layouts(0, b"0", -1) {
        assert_eq!(show(&decoded(ty, &bytes, version).unwrap()).3, [b"f=v"], "{ty}");
        let mut input = Slice::new(&bytes);
        skim::value(ty, version, &mut input).unwrap();
        assert_eq!(input.left(), 0);
        for cut in 0..bytes.len() {
            assert!(decoded(ty, &bytes[..cut], version).is_err());
        }
    }
    let at = 5002u64;
    for (i, (ty, version, bytes)) in layouts(3, b"5002", at as i64).into_iter().enumerate() {
        let cell = decoded(ty, &bytes, version).unwrap();
        // The oldest layout has the instant as it is.
        let want = if i == 0 { 3 } else { at };
        let fields: Vec<_> =
            HashRef::of(&cell).iter_with_ttl().map(|(f, v, at)| (text(f), text(v), at)).collect();
        assert_eq!(fields, [(b"f".to_vec(), b"v".to_vec(), Some(want))], "{ty}");
        assert_eq!(cell.field_expire_ms(), Some(want));
    }
}

#[test]
fn hashes_with_field_ttls_come_back() {
    let limits = limits();
    for n in [1, 5, 8, 9, 40] {
        let mut cell = hash::new_cell(b"key");
        for i in 0..n {
            let ttl = if i % 3 == 1 {
                hash::FieldTtl::None
            } else {
                hash::FieldTtl::At(1_700_000_000_000 + 977 * (i * 7 % 11))
            };
            hash::put(&mut cell, i.to_string().as_bytes(), b"value", ttl, &limits, SEED);
        }
        let check = |cell: &Cell, ty: u8| {
            let mut bytes = Vec::new();
            encode::value(&mut bytes, cell, &encode::Options::default());
            assert_eq!(encode::type_of(cell), ty);
            let back = decoded(ty, &bytes, 12).unwrap();
            let fields = |cell: &Cell| {
                let mut all: Vec<_> =
                    HashRef::of(cell).iter_with_ttl().map(|(f, v, at)| (text(f), text(v), at)).collect();
                all.sort();
                all
            };
            assert_eq!(fields(&back), fields(cell));
            assert_eq!(back.field_expire_ms(), cell.field_expire_ms());
            back
        };
        let packed = n <= 8;
        let back = check(&cell, if packed { types::HASH_LISTPACK_TTL } else { types::HASH_TTL });
        assert_eq!((back.kind(), back.body().len()), (cell.kind(), cell.body().len()));
        for i in 0..n {
            hash::set_expire(&mut cell, i.to_string().as_bytes(), None, SEED);
        }
        // Nothing expires any more: any server can read that.
        check(&cell, types::HASH);
    }
}
