//! A small hash some of whose fields have, or had, a TTL: a listpack of triples (field, value, Unix milliseconds of its
//! expiry or 0), ordered by those, with the ones that do not expire last. It is the form of RDB type 25, so a dump is a
//! copy; what expires first comes first, so that what is due is the front.
use super::Gone;
use crate::value::blob::Blob;
use crate::value::listpack::{self, Elem, INT_TEXT_MAX, Listpack, Pos};

/// What a triple takes beyond the texts of field and value: encodings and backlens, and an integer.
pub(super) const OVERHEAD_MAX: usize = 2 * 10 + 11;

#[derive(Clone, Copy)]
pub(super) struct Triples<'a>(pub Listpack<'a>);

/// Where a field's triple is.
pub(super) struct Found {
    pub field: Pos,
    pub value: Pos,
    pub at: Option<u64>,
}

impl<'a> Triples<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Triples(Listpack::new(bytes))
    }

    pub fn len(self) -> usize {
        self.0.len() / 3
    }

    pub fn find(self, field: &[u8]) -> Option<Found> {
        let field = self.0.find(field, 2, None)?;
        let value = self.0.next(field)?;
        let at = self.instant(self.0.next(value)?);
        Some(Found { field, value, at })
    }

    fn instant(self, pos: Pos) -> Option<u64> {
        instant(self.0.get(pos))
    }

    /// When the first field expires.
    pub fn soonest(self) -> Option<u64> {
        self.instant(self.0.seek(2)?)
    }

    pub fn gone(self, horizon: u64) -> Gone {
        let due = self.iter().take_while(|(_, _, at)| at.is_some_and(|at| at <= horizon));
        Gone::new(horizon, due.count())
    }

    pub fn iter(self) -> Iter<'a> {
        Iter(self.0.iter())
    }

    /// Before which triple one that expires then belongs; at the end for `None`.
    fn place(self, at: Option<u64>) -> Option<Pos> {
        let at = at?;
        let mut next = self.0.first();
        while let Some(field) = next {
            let instant = self.0.next(self.0.next(field)?)?;
            if self.instant(instant).is_none_or(|other| other > at) {
                return Some(field);
            }
            next = self.0.next(instant);
        }
        None
    }

    /// Whether the elements are triples in order whose instants are such.
    pub fn validate(self) -> bool {
        let mut before = Some(0);
        self.0.len().is_multiple_of(3)
            && self.0.iter().skip(2).step_by(3).all(|elem| {
                let Some(at) = elem.as_i64().and_then(|at| u64::try_from(at).ok()) else { return false };
                let at = (at > 0).then_some(at);
                let in_order = match (before, at) {
                    (Some(before), Some(at)) => before <= at && at <= super::EXPIRE_MS_MAX,
                    (_, at) => at.is_none(),
                };
                before = at;
                in_order
            })
    }
}

fn instant(elem: Elem<'_>) -> Option<u64> {
    elem.as_i64().filter(|at| *at > 0).map(|at| at as u64)
}

/// See [`Triples::iter`].
pub struct Iter<'a>(listpack::Iter<'a>);

impl<'a> Iterator for Iter<'a> {
    type Item = (Elem<'a>, Elem<'a>, Option<u64>);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.next()?, self.0.next()?, instant(self.0.next()?)))
    }
}

/// Adds a field that is not there.
pub(super) fn insert(blob: &mut impl Blob, field: &[u8], value: &[u8], at: Option<u64>) {
    let before = Triples::new(blob).place(at);
    let pair = listpack::insert_pair(blob, before, field, value);
    let lp = Listpack::new(blob);
    let at = at.unwrap_or(0) as i64;
    match lp.next(pair).and_then(|value| lp.next(value)) {
        Some(next) if before.is_some() => {
            listpack::insert_int(blob, next, at);
        }
        _ => listpack::push_back_int(blob, at),
    }
}

/// Gives the field that was found another value and instant.
pub(super) fn update(blob: &mut impl Blob, found: Found, field: &[u8], value: &[u8], at: Option<u64>) {
    if found.at == at {
        listpack::replace(blob, found.value, value);
        return;
    }
    listpack::remove_range(blob, found.field, 3);
    insert(blob, field, value, at);
}

/// Removes the first `n`.
pub(super) fn remove_front(blob: &mut impl Blob, n: usize) {
    if let Some(first) = Listpack::new(blob).first() {
        listpack::remove_range(blob, first, 3 * n);
    }
}

/// The triples of these pairs, none of which expires.
pub(super) fn of_pairs(pairs: Listpack<'_>) -> Vec<u8> {
    let mut triples = listpack::empty().to_vec();
    let (mut field_text, mut value_text) = ([0; INT_TEXT_MAX], [0; INT_TEXT_MAX]);
    for (field, value) in pairs.pairs() {
        listpack::insert_pair(
            &mut triples,
            None,
            field.to_cow(&mut field_text),
            value.to_cow(&mut value_text),
        );
        listpack::push_back_int(&mut triples, 0);
    }
    triples
}
