//! The packed encodings that Redis wrote before listpacks: ziplists (to 6.2) and zipmaps (to 2.4). They are only read,
//! into listpacks.
use crate::value::listpack;

const ZIPLIST_HEADER: usize = 10;
const END: u8 = 0xff;

/// A ziplist's elements as a listpack; `None` where the bytes are no ziplist.
///
/// ```text
/// bytes: u32 | offset of the last element: u32 | elements: u16 (65535: unknown) | element ... | 0xFF
/// element: size of the one before it (one byte, or 0xFE and a u32) | encoding | body
/// ```
pub fn listpack_of_ziplist(bytes: &[u8]) -> Option<Vec<u8>> {
    let word = |at: usize| bytes.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b) as usize);
    let count = u16::from_le_bytes(*bytes.get(8..)?.first_chunk()?);
    let end = bytes.len().checked_sub(1)?;
    if word(0)? != bytes.len() || end < ZIPLIST_HEADER || bytes.get(end) != Some(&END) {
        return None;
    }
    let mut pack = listpack::empty().to_vec();
    let (mut at, mut before, mut last, mut seen) = (ZIPLIST_HEADER, 0, ZIPLIST_HEADER, 0usize);
    while at < end {
        let start = at;
        let previous = match *bytes.get(at)? {
            0xfe => {
                at += 5;
                word(start + 1)?
            }
            END => return None,
            short => {
                at += 1;
                usize::from(short)
            }
        };
        if previous != before {
            return None;
        }
        let head = *bytes.get(at)?;
        let text = |skip: usize, len: usize| {
            let from = at.checked_add(skip)?;
            Some((bytes.get(from..from.checked_add(len)?)?, skip + len))
        };
        let int = |len: usize| {
            let mut raw = [0; 8];
            raw.get_mut(8 - len..)?.copy_from_slice(bytes.get(at + 1..at + 1 + len)?);
            Some(i64::from_le_bytes(raw) >> (64 - 8 * len))
        };
        let size = match head {
            0x00..=0x3f => push_text(&mut pack, text(1, usize::from(head))?)?,
            0x40..=0x7f => {
                let len = usize::from(head & 0x3f) << 8 | usize::from(*bytes.get(at + 1)?);
                push_text(&mut pack, text(2, len)?)?
            }
            0x80 => {
                let len = u32::from_be_bytes(*bytes.get(at + 1..)?.first_chunk()?) as usize;
                push_text(&mut pack, text(5, len)?)?
            }
            0xc0 => push_int(&mut pack, int(2)?, 3)?,
            0xd0 => push_int(&mut pack, int(4)?, 5)?,
            0xe0 => push_int(&mut pack, int(8)?, 9)?,
            0xf0 => push_int(&mut pack, int(3)?, 4)?,
            0xfe => push_int(&mut pack, int(1)?, 2)?,
            0xf1..=0xfd => push_int(&mut pack, i64::from(head & 0x0f) - 1, 1)?,
            _ => return None,
        };
        at += size;
        if at > end {
            return None;
        }
        (before, last) = (at - start, start);
        seen += 1;
    }
    let counted = count == u16::MAX || usize::from(count) == seen;
    // Of an empty one the tail has been written both as the header's end and as the terminator, which are the same.
    (counted && (seen == 0 || word(4)? == last)).then_some(pack)
}

fn push_text(pack: &mut Vec<u8>, (text, size): (&[u8], usize)) -> Option<usize> {
    listpack::has_room(pack.len(), text.len() + 10).then(|| {
        listpack::push_back(pack, text);
        size
    })
}

fn push_int(pack: &mut Vec<u8>, value: i64, size: usize) -> Option<usize> {
    listpack::has_room(pack.len(), 16).then(|| {
        listpack::push_back_int(pack, value);
        size
    })
}

/// A zipmap's fields and values as a listpack; `None` where the bytes are no zipmap.
///
/// ```text
/// fields: u8 (254 or more: unknown) | field ... | 0xFF
/// field: length | bytes | length of the value | unused bytes after it: u8 | bytes | unused
/// length: one byte below 254, or 0xFE and a u32
/// ```
pub fn listpack_of_zipmap(bytes: &[u8]) -> Option<Vec<u8>> {
    let (&count, mut rest) = bytes.split_first()?;
    let mut pack = listpack::empty().to_vec();
    let mut seen = 0usize;
    loop {
        match rest {
            [END] => break,
            [END, ..] | [] => return None,
            _ => {}
        }
        let (len, after) = zipmap_length(rest)?;
        let (field, after) = after.split_at_checked(len)?;
        let (len, after) = zipmap_length(after)?;
        let (&unused, after) = after.split_first()?;
        let (value, after) = after.split_at_checked(len)?;
        rest = after.get(usize::from(unused)..)?;
        if !listpack::has_room(pack.len(), field.len() + value.len() + 20) {
            return None;
        }
        listpack::insert_pair(&mut pack, None, field, value);
        seen += 1;
    }
    // Redis never kept an empty one.
    (seen > 0 && (count >= 254 || usize::from(count) == seen)).then_some(pack)
}

fn zipmap_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes.split_first()? {
        (0xfe, rest) => {
            let (len, rest) = rest.split_first_chunk()?;
            let len = u32::from_le_bytes(*len) as usize;
            // Short ones have one way to be written.
            (len >= 254).then_some((len, rest))
        }
        (&END, _) => None,
        (&short, rest) => Some((short.into(), rest)),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::value::listpack::Listpack;

    /// A ziplist of these elements, integers in the form that their width asks for.
    pub fn ziplist(texts: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0; ZIPLIST_HEADER];
        let (mut before, mut last) = (0usize, ZIPLIST_HEADER);
        for text in texts {
            last = bytes.len();
            match u8::try_from(before) {
                Ok(b @ ..=0xfd) => bytes.push(b),
                _ => {
                    bytes.push(0xfe);
                    bytes.extend((before as u32).to_le_bytes());
                }
            }
            let int = std::str::from_utf8(text).ok().and_then(|t| t.parse::<i64>().ok());
            match int.filter(|v| v.to_string().as_bytes() == *text) {
                Some(v @ 0..=12) => bytes.push(0xf1 + v as u8),
                Some(v) if i8::try_from(v).is_ok() => bytes.extend([0xfe, v as u8]),
                Some(v) if i16::try_from(v).is_ok() => {
                    bytes.push(0xc0);
                    bytes.extend((v as i16).to_le_bytes());
                }
                Some(v) if (-0x80_0000..0x80_0000).contains(&v) => {
                    bytes.push(0xf0);
                    bytes.extend(&v.to_le_bytes()[..3]);
                }
                Some(v) if i32::try_from(v).is_ok() => {
                    bytes.push(0xd0);
                    bytes.extend((v as i32).to_le_bytes());
                }
                Some(v) => {
                    bytes.push(0xe0);
                    bytes.extend(v.to_le_bytes());
                }
                None => {
                    match text.len() {
                        n @ ..0x40 => bytes.push(n as u8),
                        n @ ..0x4000 => bytes.extend([0x40 | (n >> 8) as u8, n as u8]),
                        n => {
                            bytes.push(0x80);
                            bytes.extend((n as u32).to_be_bytes());
                        }
                    }
                    bytes.extend_from_slice(text);
                }
            }
            before = bytes.len() - last;
        }
        bytes.push(END);
        let len = bytes.len() as u32;
        bytes[..4].copy_from_slice(&len.to_le_bytes());
        bytes[4..8].copy_from_slice(&(last as u32).to_le_bytes());
        bytes[8..10].copy_from_slice(&(texts.len() as u16).to_le_bytes());
        bytes
    }

    fn texts(pack: &[u8]) -> Vec<Vec<u8>> {
        assert!(Listpack::validate(pack, true));
        Listpack::new(pack).iter().map(|e| e.to_vec()).collect()
    }

    #[test]
    fn every_ziplist_encoding() {
        let (long, huge) = (vec![b'x'; 300], vec![b'y'; 20_000]);
        let all: &[&[u8]] = &[
            b"",
            b"a",
            b"0",
            b"12",
            b"13",
            b"-1",
            b"127",
            b"-128",
            b"128",
            b"-32768",
            b"32768",
            b"-8388608",
            b"8388608",
            b"-2147483648",
            b"2147483648",
            b"-9223372036854775808",
            &long,
            b"after",
            &huge,
            b"end",
        ];
        assert_eq!(texts(&listpack_of_ziplist(&ziplist(all)).unwrap()), all);
        assert!(texts(&listpack_of_ziplist(&ziplist(&[])).unwrap()).is_empty());
    }

    #[test]
    fn a_damaged_ziplist_is_refused_or_read_whole() {
        let good = ziplist(&[b"one", b"1000", &[b'x'; 80], b"5", b"-7", b"100000000000"]);
        for at in 0..good.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                if let Some(pack) = listpack_of_ziplist(&bad) {
                    assert_eq!(texts(&pack).len(), 6);
                }
            }
            assert_eq!(listpack_of_ziplist(&good[..at]), None);
        }
    }

    #[test]
    fn zipmaps() {
        let mut long = vec![0xfe, 44, 1, 0, 0];
        long.extend([b'k'; 300]);
        let map = [b"\x02\x01a\x01\x00b".to_vec(), long, b"\x02\x03hi!!!\xff".to_vec()].concat();
        let pack = listpack_of_zipmap(&map).unwrap();
        assert_eq!(texts(&pack), [&b"a"[..], b"b", &[b'k'; 300], b"hi"]);
        for cut in 0..map.len() {
            assert_eq!(listpack_of_zipmap(&map[..cut]), None);
        }
        assert_eq!(
            listpack_of_zipmap(b"\x01\x01a\xfe\x05\0\0\0\0hello\xff"),
            None,
            "a short length written long"
        );
        assert_eq!(listpack_of_zipmap(b"\x02\x01a\x01\x00b\xff"), None, "another count");
    }
}
