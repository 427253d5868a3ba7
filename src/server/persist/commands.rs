//! A dump as commands: the base of an append-only file with `aof-use-rdb-preamble no`, which tools that know only
//! commands can read, and people can edit.
//!
//! The snapshot is written as a dump in any case and turned into commands afterwards, an entry at a time: whoever
//! overwrites a value during a snapshot should not have to wait for its longest form.
use std::collections::BTreeSet;
use std::io::{self, Read};

use crate::base::num::{fmt_i64, write_f64};
use crate::rdb::RdbError;
use crate::rdb::decode::{Decoded, Options};
use crate::rdb::read::{Item, Reader};
use crate::server::persist::file::FileSink;
use crate::value::cell::{Cell, Kind, Type};
use crate::value::hash::HashRef;
use crate::value::list::ListRef;
use crate::value::listpack::Elem;
use crate::value::set::SetRef;
use crate::value::stream::Stream;
use crate::value::stream::id::{ID_TEXT_MAX, StreamId};
use crate::value::zset::ZSetRef;

/// Elements that one command adds, at most, as in Redis.
const ITEMS_MAX: usize = 64;

/// Turns a dump into commands.
pub fn convert<R: Read>(source: R, options: &Options<'_>, out: &mut FileSink) -> io::Result<()> {
    let wrong = |e: RdbError| io::Error::other(e.to_string());
    let mut reader = Reader::new(source, None, true).map_err(wrong)?;
    let mut words = Words::new(out);
    loop {
        match reader.next_item().map_err(wrong)? {
            Item::Database(db) => words.command(&[b"SELECT", db.to_string().as_bytes()]),
            Item::Function(code) => words.command(&[b"FUNCTION", b"LOAD", &code]),
            Item::Entry(entry) => {
                if let Some(Decoded::Cell(cell)) = reader.take_value(options).map_err(wrong)? {
                    write_cell(&mut words, &cell);
                    if let Some(at) = entry.expire_ms {
                        words.command(&[b"PEXPIREAT", cell.key(), at.to_string().as_bytes()]);
                    }
                }
            }
            Item::End(_) => return out.check(),
            _ => {}
        }
        words.out.check()?;
    }
}

/// Writes commands; one may be put together from items, `ITEMS_MAX` at a time.
struct Words<'o> {
    out: &'o mut FileSink,
    /// The arguments that have been gathered, as they go to the file.
    gathered: Vec<u8>,
    count: usize,
    items: usize,
}

impl<'o> Words<'o> {
    fn new(out: &'o mut FileSink) -> Self {
        Words { out, gathered: Vec::new(), count: 0, items: 0 }
    }

    fn word(&mut self, word: &[u8]) {
        self.count += 1;
        self.gathered.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        self.gathered.extend_from_slice(word);
        self.gathered.extend_from_slice(b"\r\n");
    }

    fn end(&mut self) {
        use crate::rdb::encode::Sink;
        if self.count > 0 {
            self.out.put(format!("*{}\r\n", self.count).as_bytes());
            self.out.put(&self.gathered);
        }
        self.gathered.clear();
        (self.count, self.items) = (0, 0);
    }

    fn command(&mut self, words: &[&[u8]]) {
        words.iter().for_each(|word| self.word(word));
        self.end();
    }

    /// One more item for `verb key item...`.
    fn item(&mut self, verb: &[u8], key: &[u8], parts: &[&[u8]]) {
        if self.items == 0 {
            self.word(verb);
            self.word(key);
        }
        parts.iter().for_each(|part| self.word(part));
        self.items += 1;
        if self.items == ITEMS_MAX {
            self.end();
        }
    }
}

fn bytes(elem: Elem<'_>) -> Vec<u8> {
    elem.to_vec()
}

fn string<'a>(cell: &'a Cell, digits: &'a mut [u8; 20]) -> &'a [u8] {
    match cell.kind() {
        Kind::StrInt => fmt_i64(digits, cell.as_int().unwrap_or_default()),
        Kind::StrBig => cell.big().map_or(&[], Vec::as_slice),
        _ => cell.body(),
    }
}

fn write_cell(words: &mut Words<'_>, cell: &Cell) {
    let key = cell.key();
    match cell.ty() {
        Type::String => words.command(&[b"SET", key, string(cell, &mut [0; 20])]),
        Type::List => ListRef::of(cell).walk(0, false, |elem| {
            words.item(b"RPUSH", key, &[&bytes(elem)]);
            true
        }),
        Type::Set => SetRef::of(cell).iter().for_each(|elem| words.item(b"SADD", key, &[&bytes(elem)])),
        Type::ZSet => ZSetRef::of(cell).iter().for_each(|(elem, score)| {
            let mut text = Vec::new();
            write_f64(&mut text, score);
            words.item(b"ZADD", key, &[&text, &bytes(elem)]);
        }),
        Type::Hash => write_hash(words, key, HashRef::at(cell, 0)),
        Type::Stream => write_stream(words, key, cell.large()),
    }
    words.end();
}

fn write_hash(words: &mut Words<'_>, key: &[u8], hash: HashRef<'_>) {
    hash.iter().for_each(|(field, value)| words.item(b"HMSET", key, &[&bytes(field), &bytes(value)]));
    words.end();
    for (field, _, at) in hash.iter_with_ttl() {
        if let Some(at) = at {
            words.command(&[b"HPEXPIREAT", key, at.to_string().as_bytes(), b"FIELDS", b"1", &bytes(field)]);
        }
    }
}

/// A pending entry that is no longer in the stream can only be claimed while it is: it is added for as long.
fn write_stream(words: &mut Words<'_>, key: &[u8], stream: &Stream) {
    let text = |id: StreamId| id.text(&mut [0; ID_TEXT_MAX]).to_vec();
    let pending = stream.groups.iter().flat_map(|(_, group)| group.pending_from(StreamId::MIN));
    let mut gone: BTreeSet<StreamId> = pending.map(|(id, _)| id).filter(|&id| !stream.contains(id)).collect();
    let stand_in = |words: &mut Words<'_>, id| words.command(&[b"XADD", key, &text(id), b"x", b"y"]);
    let mut deleted = Vec::new();
    let mut first = None;
    for (id, fields) in stream.range(StreamId::MIN, StreamId::MAX) {
        while let Some(before) = gone.first().copied().filter(|&before| before < id) {
            gone.pop_first();
            stand_in(words, before);
            if first.is_some() {
                deleted.push(before);
            }
        }
        first.get_or_insert(id);
        words.word(b"XADD");
        words.word(key);
        words.word(&text(id));
        for (field, value) in fields {
            words.word(&bytes(field));
            words.word(&bytes(value));
        }
        words.end();
    }
    for id in gone {
        stand_in(words, id);
        deleted.push(id);
    }
    if stream.is_empty() && deleted.is_empty() {
        // An entry that is trimmed at once: a stream of nothing. No id is zero.
        let id = if stream.last_id.is_zero() { StreamId::new(0, 1) } else { stream.last_id };
        words.command(&[b"XADD", key, b"MAXLEN", b"0", &text(id), b"x", b"y"]);
    }
    for (name, group) in stream.groups.iter() {
        let read = group.entries_read.map_or(-1, |n| n as i64).to_string();
        words.command(&[
            b"XGROUP",
            b"CREATE",
            key,
            name,
            &text(group.last_id),
            b"ENTRIESREAD",
            read.as_bytes(),
        ]);
        for (_, consumer) in group.consumers() {
            words.command(&[b"XGROUP", b"CREATECONSUMER", key, name, consumer.name()]);
            for id in consumer.pending_from(StreamId::MIN) {
                let Some(nack) = group.nack(id) else { continue };
                words.command(&[
                    b"XCLAIM",
                    key,
                    name,
                    consumer.name(),
                    b"0",
                    &text(id),
                    b"TIME",
                    nack.time_ms.to_string().as_bytes(),
                    b"RETRYCOUNT",
                    nack.count.to_string().as_bytes(),
                    b"JUSTID",
                    b"FORCE",
                ]);
            }
        }
    }
    // Trimming leaves the highest deleted id alone; what stands behind the first entry was deleted, not trimmed.
    match first {
        Some(first) => words.command(&[b"XTRIM", key, b"MINID", b"=", &text(first)]),
        None => words.command(&[b"XTRIM", key, b"MAXLEN", b"=", b"0"]),
    }
    if first.is_some() && !deleted.is_empty() {
        let ids: Vec<Vec<u8>> = deleted.into_iter().map(text).collect();
        ids.iter().for_each(|id| words.item(b"XDEL", key, &[id]));
        words.end();
    }
    let added = stream.entries_added.to_string();
    let (last, deleted) = (text(stream.last_id), text(stream.max_deleted_id));
    words.command(&[b"XSETID", key, &last, b"ENTRIESADDED", added.as_bytes(), b"MAXDELETEDID", &deleted]);
}
