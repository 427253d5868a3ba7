//! A key as the commands that make it anew: what a base holds with `aof-use-rdb-preamble no`.
//!
//! They are those that Redis writes, so that any version which knows the types reads them. What commands cannot tell is
//! not kept, as in Redis: encodings that the configuration would no longer choose, access clocks, and of a stream the
//! times of its consumers, pending entries that were deleted since, and the places of deleted entries.
use crate::base::num::{write_f64, write_i64, write_u64};
use crate::value::cell::{Cell, Kind, Type};
use crate::value::hash::HashRef;
use crate::value::list::ListRef;
use crate::value::listpack::{Elem, INT_TEXT_MAX};
use crate::value::set::SetRef;
use crate::value::stream::Stream;
use crate::value::stream::group::Group;
use crate::value::stream::id::{ID_TEXT_MAX, StreamId};
use crate::value::zset::ZSetRef;

/// Elements that one command adds at most, and the bytes of them from which on it gets no more.
const ITEMS_MAX: usize = 64;
const ITEM_BYTES: usize = 64 << 10;

/// What follows belongs to this database.
pub fn select(put: &mut dyn FnMut(&[u8]), db: usize) {
    let mut number = Vec::new();
    write_u64(&mut number, db as u64);
    Out::new(put).command(&[b"SELECT", &number]);
}

/// A key with its value and its time to live.
pub fn entry(put: &mut dyn FnMut(&[u8]), cell: &Cell) {
    let (mut out, key) = (Out::new(put), cell.key());
    match cell.ty() {
        Type::String => string(&mut out, cell),
        Type::List => {
            let head: [&[u8]; 2] = [b"RPUSH", key];
            ListRef::of(cell).walk(0, false, |elem| {
                out.elem(elem);
                out.item(&head);
                true
            });
            out.end(&head);
        }
        Type::Set => {
            let head: [&[u8]; 2] = [b"SADD", key];
            for member in SetRef::of(cell).iter() {
                out.elem(member);
                out.item(&head);
            }
            out.end(&head);
        }
        Type::ZSet => {
            let head: [&[u8]; 2] = [b"ZADD", key];
            let mut text = Vec::new();
            for (member, score) in ZSetRef::of(cell).iter() {
                text.clear();
                write_f64(&mut text, score);
                out.word(&text);
                out.elem(member);
                out.item(&head);
            }
            out.end(&head);
        }
        Type::Hash => hash(&mut out, cell),
        Type::Stream => stream(&mut out, key, cell.large::<Stream>()),
    }
    if let Some(at) = cell.expire_ms() {
        let mut number = Vec::new();
        write_u64(&mut number, at);
        out.command(&[b"PEXPIREAT", key, &number]);
    }
}

fn string(out: &mut Out<'_>, cell: &Cell) {
    let mut number = Vec::new();
    let value = match cell.kind() {
        Kind::StrInt => {
            write_i64(&mut number, cell.as_int().unwrap_or_default());
            &number
        }
        Kind::StrBig => cell.big().map_or(&[][..], Vec::as_slice),
        _ => cell.body(),
    };
    out.command(&[b"SET", cell.key(), value]);
}

fn hash(out: &mut Out<'_>, cell: &Cell) {
    let (key, hash) = (cell.key(), HashRef::of(cell));
    let head: [&[u8]; 2] = [b"HMSET", key];
    for (field, value, _) in hash.iter_with_ttl() {
        out.elem(field);
        out.elem(value);
        out.item(&head);
    }
    out.end(&head);
    if cell.field_expire_ms().is_none() {
        return;
    }
    let (mut number, mut buf) = (Vec::new(), [0; INT_TEXT_MAX]);
    for (field, _, at) in hash.iter_with_ttl() {
        if let Some(at) = at {
            number.clear();
            write_u64(&mut number, at);
            out.command(&[b"HPEXPIREAT", key, &number, b"FIELDS", b"1", field.to_cow(&mut buf)]);
        }
    }
}

fn stream(out: &mut Out<'_>, key: &[u8], stream: &Stream) {
    let mut buf = [0; ID_TEXT_MAX];
    for (id, fields) in stream.range(StreamId::MIN, StreamId::MAX) {
        out.word(id.text(&mut buf));
        for (field, value) in fields {
            out.elem(field);
            out.elem(value);
        }
        out.end(&[b"XADD", key]);
    }
    if stream.is_empty() {
        // An entry that goes at once leaves an empty stream.
        let id = stream.last_id.max(StreamId { ms: 0, seq: 1 });
        out.command(&[b"XADD", key, b"MAXLEN", b"0", id.text(&mut buf), b"x", b"y"]);
    }
    let (mut added, mut deleted) = (Vec::new(), [0; ID_TEXT_MAX]);
    write_u64(&mut added, stream.entries_added);
    let (last, deleted) = (stream.last_id.text(&mut buf), stream.max_deleted_id.text(&mut deleted));
    out.command(&[b"XSETID", key, last, b"ENTRIESADDED", &added, b"MAXDELETEDID", deleted]);
    for (name, group) in stream.groups.iter() {
        self::group(out, key, name, group);
    }
}

fn group(out: &mut Out<'_>, key: &[u8], name: &[u8], group: &Group) {
    let (mut buf, mut read) = ([0; ID_TEXT_MAX], Vec::new());
    write_i64(&mut read, group.entries_read.map_or(-1, |n| i64::try_from(n).unwrap_or(-1)));
    out.command(&[b"XGROUP", b"CREATE", key, name, group.last_id.text(&mut buf), b"ENTRIESREAD", &read]);
    let (mut time, mut count) = (Vec::new(), Vec::new());
    for (_, consumer) in group.consumers() {
        let who = consumer.name();
        out.command(&[b"XGROUP", b"CREATECONSUMER", key, name, who]);
        for id in consumer.pending_from(StreamId::MIN) {
            let Some(nack) = group.nack(id) else { continue };
            time.clear();
            count.clear();
            write_u64(&mut time, nack.time_ms);
            write_u64(&mut count, nack.count);
            let id = id.text(&mut buf);
            out.command(&[
                b"XCLAIM",
                key,
                name,
                who,
                b"0",
                id,
                b"TIME",
                &time,
                b"RETRYCOUNT",
                &count,
                b"JUSTID",
                b"FORCE",
            ]);
        }
    }
}

/// Makes commands, each handed on as a whole or nearly.
struct Out<'a> {
    put: &'a mut dyn FnMut(&[u8]),
    /// The words that have gathered for the next command.
    body: Vec<u8>,
    words: usize,
    items: usize,
}

impl<'a> Out<'a> {
    fn new(put: &'a mut dyn FnMut(&[u8])) -> Self {
        Self { put, body: Vec::new(), words: 0, items: 0 }
    }

    fn word(&mut self, word: &[u8]) {
        push_word(&mut self.body, word);
        self.words += 1;
    }

    fn elem(&mut self, elem: Elem<'_>) {
        self.word(elem.to_cow(&mut [0; INT_TEXT_MAX]));
    }

    /// An element is complete; when there are enough, they become a command that begins with `head`.
    fn item(&mut self, head: &[&[u8]]) {
        self.items += 1;
        if self.items >= ITEMS_MAX || self.body.len() >= ITEM_BYTES {
            self.end(head);
        }
    }

    /// What has gathered, if anything, becomes a command.
    fn end(&mut self, head: &[&[u8]]) {
        if self.words > 0 {
            let mut start = Vec::new();
            push_count(&mut start, b'*', head.len() + self.words);
            head.iter().for_each(|word| push_word(&mut start, word));
            (self.put)(&start);
            (self.put)(&self.body);
        }
        self.body.clear();
        (self.words, self.items) = (0, 0);
    }

    fn command(&mut self, words: &[&[u8]]) {
        let mut start = Vec::new();
        push_count(&mut start, b'*', words.len());
        for word in words {
            if word.len() >= ITEM_BYTES {
                // Large ones are not copied.
                push_count(&mut start, b'$', word.len());
                (self.put)(&start);
                (self.put)(word);
                start.clear();
                start.extend_from_slice(b"\r\n");
            } else {
                push_word(&mut start, word);
            }
        }
        (self.put)(&start);
    }
}

fn push_count(out: &mut Vec<u8>, kind: u8, n: usize) {
    out.push(kind);
    write_u64(out, n as u64);
    out.extend_from_slice(b"\r\n");
}

fn push_word(out: &mut Vec<u8>, word: &[u8]) {
    push_count(out, b'$', word.len());
    out.extend_from_slice(word);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::listpack;

    fn text(cell: &Cell) -> String {
        let mut all = Vec::new();
        entry(&mut |bytes| all.extend_from_slice(bytes), cell);
        let all = String::from_utf8(all).unwrap();
        let is_word = |line: &&str| !line.starts_with('$');
        all.split("\r\n").filter(is_word).collect::<Vec<_>>().join(" ").replace('*', "\n*").trim().to_owned()
    }

    #[test]
    fn commands_are_those_of_redis() {
        let mut cell = Cell::int(b"k", -5);
        cell.set_expiry(Some((1_700_000_000_000, 0)));
        assert_eq!(text(&cell), "*3 SET k -5 \n*3 PEXPIREAT k 1700000000000");
        let mut stream = Stream::new();
        stream.last_id = StreamId { ms: 7, seq: 0 };
        stream.max_deleted_id = StreamId { ms: 6, seq: 1 };
        stream.entries_added = 3;
        let all = "*7 XADD k MAXLEN 0 7-0 x y \n*7 XSETID k 7-0 ENTRIESADDED 3 MAXDELETEDID 6-1";
        assert_eq!(text(&stream.into_cell(b"k")), all);
    }

    #[test]
    fn collections_come_in_parts() {
        let mut pack = listpack::empty().to_vec();
        (0..130).for_each(|i| listpack::push_back_int(&mut pack, i));
        let all = text(&Cell::packed(b"l", Kind::ListPacked, &pack));
        let heads: Vec<_> =
            all.lines().map(|line| line.split(" ").take(4).collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(heads, ["*66 RPUSH l 0", "*66 RPUSH l 64", "*4 RPUSH l 128"]);
    }
}
