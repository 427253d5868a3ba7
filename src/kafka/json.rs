//! JSON documents: one pass that goes down only where a path leads, and steps over the rest.
//!
//! What is wanted is taken as it stands in the text, so numbers keep their digits; only a string with escapes is
//! written anew. Of a name that an object has twice the last counts. Nested values that no path enters are passed over
//! without recursion, however deep.
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::format::{Container, Entry, Format, Found, Kind, Paths, Piece, Place};
use super::path::Fault;

pub struct Json;

impl Format for Json {
    fn read(&self, document: &[u8], paths: &Paths, found: &mut Found) -> Result<(), Fault> {
        let text = std::str::from_utf8(document)
            .map_err(|e| Fault { at: e.valid_up_to(), message: "invalid UTF-8".to_owned() })?;
        let mut reader = Reader { base: address(text), paths, found, fault: None };
        let mut input = Deserializer::from_str(text);
        let read = reader.read_root(&mut input).and_then(|()| input.end());
        read.map_err(|e| reader.fault.take().unwrap_or_else(|| fault(text, 0, &e)))
    }
}

fn address(text: &str) -> usize {
    text.as_ptr() as usize
}

/// `e` happened in `text`, which begins at `base` of the document.
fn fault(text: &str, base: usize, e: &serde_json::Error) -> Fault {
    let before: usize = text.split_inclusive('\n').take(e.line().saturating_sub(1)).map(str::len).sum();
    let at = before.saturating_add(e.column().saturating_sub(1)).min(text.len());
    let message = e.to_string();
    // The place is told by the fault itself, in bytes.
    let message = message.split(" at line ").next().unwrap_or_default().to_owned();
    Fault { at: base + at, message }
}

struct Reader<'a> {
    /// The address of the document.
    base: usize,
    paths: &'a Paths,
    found: &'a mut Found,
    /// Of a part that was read by itself.
    fault: Option<Fault>,
}

type Input<'de> = Deserializer<serde_json::de::StrRead<'de>>;

impl Reader<'_> {
    fn read_root(&mut self, input: &mut Input<'_>) -> serde_json::Result<()> {
        let root = self.paths.node(0);
        if root.slot.is_some() {
            let raw = <&RawValue>::deserialize(input)?;
            self.take(raw, 0).map(|_| ())
        } else if root.goes_down() {
            Inside { reader: self, node: 0 }.deserialize(input)
        } else {
            IgnoredAny::deserialize(input).map(|_| ())
        }
    }

    fn place_of(&self, text: &str) -> Place {
        Place::in_document(address(text).wrapping_sub(self.base), text.len())
    }

    /// Reads what `node` wants of a value whose text is at hand.
    fn take<E: serde::de::Error>(&mut self, raw: &RawValue, node: usize) -> Result<Piece, E> {
        let piece = self.piece(raw)?;
        self.keep(raw, piece, node)?;
        Ok(piece)
    }

    fn keep<E: serde::de::Error>(&mut self, raw: &RawValue, piece: Piece, node: usize) -> Result<(), E> {
        let at = self.paths.node(node);
        if at.goes_down() {
            self.found.forget(self.paths, node);
            let mut input = Deserializer::from_str(raw.get());
            let read = match piece.kind {
                Kind::Nested => Inside { reader: self, node }.deserialize(&mut input),
                Kind::Null => Ok(()),
                _ => {
                    at.spread.into_iter().for_each(|spread| self.found.open(spread, Container::Other));
                    Ok(())
                }
            };
            self.checked(raw, read)?;
        }
        if let Some(slot) = at.slot {
            self.found.put(slot, piece);
        }
        Ok(())
    }

    /// Remembers the place of a fault in a part.
    fn checked<T, E: serde::de::Error>(
        &mut self,
        raw: &RawValue,
        read: serde_json::Result<T>,
    ) -> Result<T, E> {
        read.map_err(|e| {
            let base = address(raw.get()).wrapping_sub(self.base);
            self.fault.get_or_insert_with(|| fault(raw.get(), base, &e));
            E::custom(e)
        })
    }

    /// A value's kind and what a template writes of it.
    fn piece<E: serde::de::Error>(&mut self, raw: &RawValue) -> Result<Piece, E> {
        let text = raw.get();
        let kind = match text.as_bytes().first() {
            Some(b'"') => Kind::Text,
            Some(b'{' | b'[') => Kind::Nested,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        };
        let place = match (kind, text.get(1..text.len().saturating_sub(1))) {
            (Kind::Text, Some(inner)) if memchr::memchr(b'\\', inner.as_bytes()).is_none() => {
                self.place_of(inner)
            }
            (Kind::Text, _) => {
                let read = Deserializer::from_str(text).deserialize_str(Written(self.found));
                self.checked(raw, read)?
            }
            _ => self.place_of(text),
        };
        Ok(Piece { kind, place })
    }
}

/// Writes a string without its escapes.
struct Written<'a>(&'a mut Found);

impl Visitor<'_> for Written<'_> {
    type Value = Place;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<Place, E> {
        Ok(self.0.make(text.as_bytes()))
    }
}

/// Goes into a value at a node.
struct Inside<'r, 'a> {
    reader: &'r mut Reader<'a>,
    node: usize,
}

impl<'de> DeserializeSeed<'de> for Inside<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_any(self)
    }
}

impl Inside<'_, '_> {
    fn scalar<E>(self) -> Result<(), E> {
        if let Some(spread) = self.reader.paths.node(self.node).spread {
            self.reader.found.open(spread, Container::Other);
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Inside<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Inside { reader, node } = self;
        let paths = reader.paths;
        let node = paths.node(node);
        if let Some(spread) = node.spread {
            reader.found.open(spread, Container::Object);
        }
        loop {
            let named = |name: &str| node.named(name);
            let next = Name { reader: &mut *reader, child: named, keep: node.spread.is_some() };
            let Some((child, name)) = map.next_key_seed(next)? else { return Ok(()) };
            if node.spread.is_some() || child.is_some_and(|c| paths.node(c).slot.is_some()) {
                let raw = map.next_value::<&RawValue>()?;
                let value = reader.piece(raw)?;
                if let Some(spread) = node.spread {
                    reader.found.push(spread, Entry { name, value });
                }
                if let Some(child) = child {
                    reader.keep(raw, value, child)?;
                }
            } else if let Some(child) = child {
                reader.found.forget(paths, child);
                map.next_value_seed(Inside { reader: &mut *reader, node: child })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Inside { reader, node } = self;
        let paths = reader.paths;
        let node = paths.node(node);
        if let Some(spread) = node.spread {
            reader.found.open(spread, Container::Array);
        }
        for index in 0.. {
            let child = node.at(index);
            if node.spread.is_some() || child.is_some_and(|c| paths.node(c).slot.is_some()) {
                let Some(raw) = seq.next_element::<&RawValue>()? else { break };
                let value = reader.piece(raw)?;
                if let Some(spread) = node.spread {
                    reader.found.push(spread, Entry { name: None, value });
                }
                if let Some(child) = child {
                    reader.keep(raw, value, child)?;
                }
            } else if let Some(child) = child {
                let inside = Inside { reader: &mut *reader, node: child };
                if seq.next_element_seed(inside)?.is_none() {
                    break;
                }
            } else if seq.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.scalar()
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.scalar()
    }
}

/// A member's name: the node below it, and where it stands, if that is to be kept.
struct Name<'r, 'a, F> {
    reader: &'r mut Reader<'a>,
    child: F,
    keep: bool,
}

impl<'de, F: Fn(&str) -> Option<usize>> DeserializeSeed<'de> for Name<'_, '_, F> {
    type Value = (Option<usize>, Option<Place>);

    fn deserialize<D: serde::Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        input.deserialize_str(self)
    }
}

impl<'de, F: Fn(&str) -> Option<usize>> Visitor<'de> for Name<'_, '_, F> {
    type Value = (Option<usize>, Option<Place>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        let place = self.keep.then(|| self.reader.place_of(name));
        Ok(((self.child)(name), place))
    }

    /// One with escapes.
    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let place = self.keep.then(|| self.reader.found.make(name.as_bytes()));
        Ok(((self.child)(name), place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::path::{Path, Step};
    use proptest::prelude::*;
    use serde_json::Value;

    fn path(text: &str) -> Path {
        let step = |s: &str| s.parse().map_or_else(|_| Step::Name(s.into()), Step::Index);
        Path { steps: text.split('.').filter(|s| !s.is_empty()).map(step).collect(), all: false }
    }

    /// The text at each path; none where there is nothing, or null.
    fn read(document: &str, wanted: &[&str]) -> Result<Vec<Option<String>>, Fault> {
        let mut paths = Paths::default();
        let slots: Vec<usize> = wanted.iter().map(|p| paths.want(&path(p))).collect();
        let mut found = Found::default();
        found.begin(&paths);
        Json.read(document.as_bytes(), &paths, &mut found)?;
        Ok(slots.into_iter().map(|slot| text(&found, document, found.piece(slot))).collect())
    }

    fn text(found: &Found, document: &str, piece: Piece) -> Option<String> {
        let bytes = found.bytes(piece.place, document.as_bytes());
        let there = !matches!(piece.kind, Kind::Missing | Kind::Null);
        there.then(|| String::from_utf8(bytes.to_vec()).unwrap())
    }

    fn some(all: &[&str]) -> Vec<Option<String>> {
        all.iter().map(|s| (*s != "-").then(|| (*s).to_owned())).collect()
    }

    #[test]
    fn values_as_they_stand() {
        let document = r#" {"s":"a b","e":"a\n\"\u00e9\ud83d\ude00","n":1.50e2,"big":12345678901234567890123,
            "t":true,"z":null,"o":{"x": [1, {"y":"deep"}] },"":"empty","1":"one","\u0065sc":"name"} "#;
        let wanted = ["s", "e", "n", "big", "t", "z", "o", "o.x.1.y", "o.x.0", "o.x.2", "s.x", "gone", "esc"];
        let nested = r#"{"x": [1, {"y":"deep"}] }"#;
        let want = [
            "a b",
            "a\n\"é😀",
            "1.50e2",
            "12345678901234567890123",
            "true",
            "-",
            nested,
            "deep",
            "1",
            "-",
            "-",
            "-",
            "name",
        ];
        assert_eq!(read(document, &wanted), Ok(some(&want)));
        assert_eq!(read("[10,[20]]", &["0", "1.0", "1"]), Ok(some(&["10", "20", "[20]"])));
        assert_eq!(read("17", &["", "a"]), Ok(some(&["17", "-"])));
        assert_eq!(read("null", &["a"]), Ok(some(&["-"])));
    }

    #[test]
    fn the_last_of_a_name_counts() {
        for wanted in [&["a.b", "c"][..], &["a.b", "c", "a"]] {
            let found = read(r#"{"a":{"b":1},"a":2,"c":3,"c":4}"#, wanted).unwrap();
            assert_eq!(found[..2], some(&["-", "4"]));
            let found = read(r#"{"a":5,"a":{"b":1},"c":3,"c":null}"#, wanted).unwrap();
            assert_eq!(found[..2], some(&["1", "-"]));
        }
    }

    #[test]
    fn faults_tell_the_place() {
        let cases: [(&str, usize); 9] = [
            ("", 0),
            ("{\"a\":1", 6),
            ("{\"a\":x}", 5),
            ("{\n\"a\":\n  tru}", 12),
            ("{} {}", 3),
            ("{\"a\":01}", 6),
            ("{\"b\":[1,]}", 8),
            ("nul", 3),
            ("{\"c\":1,\"a\":\"\\ud800x\"}", 18),
        ];
        for (document, at) in cases {
            for wanted in [&["a"][..], &["a", "b.c"], &["", "a.b", "a"]] {
                let fault = read(document, wanted).unwrap_err();
                assert!(fault.at.abs_diff(at) <= 1, "{document} {wanted:?}: {fault:?}");
                assert!(!fault.message.contains("line"), "{fault:?}");
            }
        }
        let mut found = Found::default();
        let fault = Json.read(b"{\"a\":\"\xff\"}", &Paths::default(), &mut found).unwrap_err();
        assert_eq!(fault.at, 6);
    }

    #[test]
    fn depth_costs_nothing_where_no_path_leads() {
        let deep = format!("{{\"a\":{}{},\"b\":7}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read(&deep, &["b"]), Ok(some(&["7"])));
        let deep = ".x".repeat(crate::kafka::path::STEPS_MAX);
        let document = format!("{}1{}", "{\"x\":".repeat(64), "}".repeat(64));
        assert_eq!(read(&document, &[&deep]), Ok(some(&["1"])));
    }

    fn values() -> impl Strategy<Value = Value> {
        let name = "[ab]|\\PC{0,3}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            // What any reader of decimals gives back the same.
            any::<i32>().prop_map(|n| Value::from(f64::from(n) / 4.0)),
            "\\PC{0,5}|[\\x00-\\x20\"\\\\]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map(name, inner, 0..5)
                    .prop_map(|m| Value::from(serde_json::Map::from_iter(m))),
            ]
        })
    }

    /// Every path of a document.
    fn all_paths(value: &Value, here: &Path, all: &mut Vec<Path>) {
        all.push(here.clone());
        let mut go = |step, value| {
            let mut next = here.clone();
            next.steps.push(step);
            all_paths(value, &next, all);
        };
        match value {
            Value::Array(a) => a.iter().enumerate().for_each(|(i, v)| go(Step::Index(i), v)),
            Value::Object(o) => o.iter().for_each(|(k, v)| go(Step::Name(k.as_str().into()), v)),
            _ => {}
        }
    }

    fn lookup<'v>(value: &'v Value, path: &Path) -> Option<&'v Value> {
        path.steps.iter().try_fold(value, |v, step| match step {
            Step::Name(name) => v.get(&**name),
            Step::Index(i) => v.get(i),
        })
    }

    fn same(found: Option<String>, value: Option<&Value>) -> bool {
        match (found, value) {
            (None, None | Some(Value::Null)) => true,
            (Some(text), Some(Value::String(s))) => text == *s,
            (Some(text), Some(value)) => serde_json::from_str::<Value>(&text).unwrap() == *value,
            _ => false,
        }
    }

    proptest! {
        /// Whatever set of paths is wanted together, each finds what serde_json's own tree has.
        #[test]
        fn paths_find_what_a_tree_has(
            value in values(), pretty: bool, picks in proptest::collection::vec((any::<prop::sample::Index>(), 0..3usize, any::<bool>()), 1..12),
        ) {
            let document = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let document = document.unwrap();
            let mut there = Vec::new();
            all_paths(&value, &Path::default(), &mut there);
            let (mut paths, mut slots, mut spreads) = (Paths::default(), Vec::new(), Vec::new());
            for (pick, more, spread) in picks {
                let mut path = pick.get(&there).clone();
                path.steps.extend([Step::Name("a".into()), Step::Index(0)].into_iter().take(more));
                if spread {
                    spreads.push((paths.want_all(&path), path));
                } else {
                    slots.push((paths.want(&path), path));
                }
            }
            let mut found = Found::default();
            found.begin(&paths);
            Json.read(document.as_bytes(), &paths, &mut found).unwrap();
            for (slot, path) in slots {
                prop_assert!(same(text(&found, &document, found.piece(slot)), lookup(&value, &path)), "{:?}", path);
            }
            for (spread, path) in spreads {
                let (container, entries) = found.entries(spread);
                let texts: Vec<_> = entries.iter().map(|e| text(&found, &document, e.value)).collect();
                let names = entries.iter().filter_map(|e| e.name).map(|n| found.bytes(n, document.as_bytes()));
                match lookup(&value, &path) {
                    None | Some(Value::Null) => prop_assert_eq!(container, Container::Missing),
                    Some(Value::Array(a)) => {
                        prop_assert_eq!(container, Container::Array);
                        prop_assert!(texts.len() == a.len() && texts.into_iter().zip(a).all(|(t, v)| same(t, Some(v))));
                    }
                    Some(Value::Object(o)) => {
                        prop_assert_eq!(container, Container::Object);
                        prop_assert!(names.eq(o.keys().map(String::as_bytes)));
                        prop_assert!(texts.into_iter().zip(o.values()).all(|(t, v)| same(t, Some(v))));
                    }
                    Some(_) => prop_assert_eq!(container, Container::Other),
                }
            }
        }

        /// What serde_json refuses is refused, and nothing else.
        #[test]
        fn any_bytes_are_safe(mut bytes in "[\\[\\]{}:,\"\\\\0-9a-e.tru nl-]{0,40}".prop_map(String::into_bytes), flip: Option<(usize, u8)>) {
            if let Some((at, byte)) = flip && !bytes.is_empty() {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            let mut paths = Paths::default();
            for wanted in ["a", "a.b", "0.a"] {
                paths.want(&path(wanted));
                paths.want_all(&path(wanted));
            }
            let mut found = Found::default();
            found.begin(&paths);
            let read = Json.read(&bytes, &paths, &mut found);
            match &read {
                Ok(()) => prop_assert!(serde_json::from_slice::<&RawValue>(&bytes).is_ok()),
                Err(fault) => prop_assert!(fault.at <= bytes.len()),
            }
            prop_assert!(read.is_ok() || serde_json::from_slice::<Value>(&bytes).is_err());
        }
    }
}
