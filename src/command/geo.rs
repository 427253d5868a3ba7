//! Geo: positions as 52-bit interleaved scores of a sorted set. The arithmetic is in `crate::base::geohash`.
use std::cmp::Ordering;

use smallvec::SmallVec;

use crate::base::geohash::{Place, Search, Shape};
use crate::base::num::{parse_f64, parse_i64};
use crate::command::row::{Begin, Find};
use crate::command::zset::{add_scored, bulk};
use crate::command::{Arity, Command, CommandError, Context, Group, Outcome, notify};
use crate::resp::args::{Args, eq_nocase};
use crate::resp::reply::Reply;
use crate::value::cell::Type;
use crate::value::listpack::Elem;
use crate::value::zset::{self, ScoreRange, Update, ZSetPin, ZSetRef};

pub fn commands() -> Vec<Command> {
    let c = |name, arity, handler| Command::new(name, arity, handler).group(Group::Geo).since("3.2.0");
    let each = "O(1) for each member";
    let search = "O(N+log(M)) for N members in the squares around the shape and M in the sorted set";
    let stores = |command: Command, from: isize| {
        ["store", "storedist"].into_iter().fold(command, |command, word| {
            command.spec(Begin::Keyword(word, from), Find::Range { last: 0, step: 1, limit: 0 }, "ow|update")
        })
    };
    vec![
        c("geoadd", Arity::at_least(5), geoadd)
            .write()
            .denyoom()
            .key(1, "rw|update")
            .doc("Adds members with positions to a sorted set, or moves them; creates it if absent.")
            .complexity("O(log(N)) for each member, N being the size of the sorted set"),
        c("geodist", Arity::at_least(4), geodist)
            .readonly()
            .key(1, "ro|access")
            .doc("Returns the distance between two members.")
            .complexity("O(1)"),
        c("geohash", Arity::at_least(2), geohash)
            .readonly()
            .key(1, "ro|access")
            .doc("Returns the standard geohashes of members' positions.")
            .complexity(each),
        c("geopos", Arity::at_least(2), geopos)
            .readonly()
            .key(1, "ro|access")
            .doc("Returns the longitudes and latitudes of members.")
            .complexity(each),
        stores(c("georadius", Arity::at_least(6), georadius).write().denyoom().key(1, "ro|access"), 6)
            .finder(find_stored)
            .deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument")
            .doc("Finds the members within a distance of a position; returns or stores them.")
            .complexity(search),
        c("georadius_ro", Arity::at_least(6), georadius_ro)
            .readonly()
            .since("3.2.10")
            .key(1, "ro|access")
            .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` argument")
            .doc("Finds the members within a distance of a position.")
            .complexity(search),
        stores(
            c("georadiusbymember", Arity::at_least(5), georadiusbymember)
                .write()
                .denyoom()
                .key(1, "ro|access"),
            5,
        )
        .finder(find_stored)
        .deprecated(
            "6.2.0",
            "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments",
        )
        .doc("Finds the members within a distance of a member; returns or stores them.")
        .complexity(search),
        c("georadiusbymember_ro", Arity::at_least(5), georadiusbymember_ro)
            .readonly()
            .since("3.2.10")
            .key(1, "ro|access")
            .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments")
            .doc("Finds the members within a distance of a member.")
            .complexity(search),
        c("geosearch", Arity::at_least(7), geosearch)
            .readonly()
            .since("6.2.0")
            .key(1, "ro|access")
            .doc("Finds the members in a circle or a box.")
            .complexity(search),
        c("geosearchstore", Arity::at_least(8), geosearchstore)
            .write()
            .denyoom()
            .since("6.2.0")
            .key(1, "ow|update")
            .key(2, "ro|access")
            .doc("Finds the members in a circle or a box and stores them as a sorted set.")
            .complexity(search),
    ]
}

/// The source, and what the last STORE or STOREDIST names.
fn find_stored(args: Args<'_>, found: &mut dyn FnMut(usize, &'static str)) {
    found(1, "ro|access");
    let mut stored = None;
    let mut at = 5;
    while at + 1 < args.len() {
        if eq_nocase(&args[at], "store") || eq_nocase(&args[at], "storedist") {
            stored = Some(at + 1);
            at += 1;
        }
        at += 1;
    }
    if let Some(at) = stored {
        found(at, "ow|update");
    }
}

const BAD_MEMBER: CommandError =
    CommandError::Text(std::borrow::Cow::Borrowed("ERR could not decode requested zset member"));

/// Longitude and latitude.
fn parse_place(args: Args<'_>) -> Result<Place, CommandError> {
    let number = |i| args.get(i).and_then(parse_f64).ok_or(CommandError::NOT_FLOAT);
    let (lon, lat) = (number(0)?, number(1)?);
    Place::new(lon, lat)
        .ok_or_else(|| CommandError::new(format!("ERR invalid longitude,latitude pair {lon:.6},{lat:.6}")))
}

/// Metres.
fn parse_unit(text: &[u8]) -> Result<f64, CommandError> {
    let units = [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];
    let known = units.into_iter().find(|(name, _)| eq_nocase(text, name));
    known.map(|(_, m)| m).ok_or(CommandError::new("ERR unsupported unit provided. please use M, KM, FT, MI"))
}

/// Radius and unit.
fn parse_circle(args: Args<'_>) -> Result<(Shape, f64), CommandError> {
    let radius = args.get(0).and_then(parse_f64).ok_or(CommandError::new("ERR need numeric radius"))?;
    if radius < 0.0 {
        return Err(CommandError::new("ERR radius cannot be negative"));
    }
    Ok((Shape::Circle { radius }, parse_unit(args.get(1).unwrap_or_default())?))
}

/// Width, height and unit.
fn parse_box(args: Args<'_>) -> Result<(Shape, f64), CommandError> {
    let width = args.get(0).and_then(parse_f64).ok_or(CommandError::new("ERR need numeric width"))?;
    let height = args.get(1).and_then(parse_f64).ok_or(CommandError::new("ERR need numeric height"))?;
    if width < 0.0 || height < 0.0 {
        return Err(CommandError::new("ERR height or width cannot be negative"));
    }
    Ok((Shape::Box { width, height }, parse_unit(args.get(2).unwrap_or_default())?))
}

/// Four decimals, ties to even; a bulk string in both protocols.
fn write_distance(reply: &mut Reply, distance: f64) {
    let scaled = (distance * 1e4).round_ties_even() as u64;
    reply.bulk_str(&format!("{}.{:04}", scaled / 10_000, scaled % 10_000));
}

fn write_place(reply: &mut Reply, place: Place) {
    reply.array(2);
    for degrees in [place.lon, place.lat] {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        reply.human_longdouble(if text == "-0" { b"0" } else { text.as_bytes() });
    }
}

fn geoadd(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let mut how = Update::default();
    let mut count_changed = false;
    let mut at = 2;
    while let Some(word) = args.get(at) {
        let option = match word.len() {
            2 if eq_nocase(word, "nx") => &mut how.nx,
            2 if eq_nocase(word, "xx") => &mut how.xx,
            2 if eq_nocase(word, "ch") => &mut count_changed,
            _ => break,
        };
        *option = true;
        at += 1;
    }
    let triples = args.from(at);
    if triples.is_empty() || !triples.len().is_multiple_of(3) || (how.xx && how.nx) {
        return Err(CommandError::SYNTAX);
    }
    ctx.slow_lane(triples.len() / 3)?;
    let scores: SmallVec<[f64; 8]> = (0..triples.len())
        .step_by(3)
        .map(|i| parse_place(triples.slice(i..i + 2)).map(Place::to_score))
        .collect::<Result<_, CommandError>>()?;
    add_scored(ctx, &args[1], &scores, triples.iter().skip(2).step_by(3), how, count_changed)
}

fn geodist(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    let unit = match args.get(4) {
        None => 1.0,
        Some(unit) if args.len() == 5 => parse_unit(unit)?,
        Some(_) => return Err(CommandError::SYNTAX),
    };
    let set = ctx.keys.get_type(&args[1], Type::ZSet)?.map(ZSetRef::of);
    let place = |member| set.and_then(|set| set.score(member)).map(Place::from_score);
    match (place(&args[2]), place(&args[3])) {
        (Some(a), Some(b)) => write_distance(ctx.reply, a.distance(b) / unit),
        _ => ctx.reply.null(),
    }
    Ok(())
}

fn geohash(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    each_place(ctx, args, Reply::null, |reply, place| reply.bulk(&place.to_text()))
}

fn geopos(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    each_place(ctx, args, Reply::null_array, write_place)
}

fn each_place(
    ctx: &mut Context<'_>,
    args: Args<'_>,
    absent: fn(&mut Reply),
    write: fn(&mut Reply, Place),
) -> Outcome {
    let members = args.from(2);
    ctx.slow_lane(members.len())?;
    let set = ctx.keys.get_type(&args[1], Type::ZSet)?.map(ZSetRef::of);
    ctx.reply.array(members.len());
    for member in members {
        match set.and_then(|set| set.score(member)) {
            Some(score) => write(ctx.reply, Place::from_score(score)),
            None => absent(ctx.reply),
        }
    }
    Ok(())
}

/// Which command searches.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Radius,
    RadiusByMember,
    Search,
    SearchStore,
}

fn georadius(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    search(ctx, args, Form::Radius, true)
}

fn georadius_ro(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    search(ctx, args, Form::Radius, false)
}

fn georadiusbymember(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    search(ctx, args, Form::RadiusByMember, true)
}

fn georadiusbymember_ro(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    search(ctx, args, Form::RadiusByMember, false)
}

fn geosearch(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    search(ctx, args, Form::Search, false)
}

fn geosearchstore(ctx: &mut Context<'_>, args: Args<'_>) -> Outcome {
    search(ctx, args, Form::SearchStore, true)
}

/// The members that one search tests in the time in which others visit one.
const TESTS_AN_ELEMENT: usize = 4;

/// What a search was asked for.
struct Query<'a> {
    /// `None` only when there is no source.
    search: Option<Search>,
    with_distance: bool,
    with_hash: bool,
    with_place: bool,
    /// Ascending or descending by distance.
    order: Option<bool>,
    /// 0 is all.
    count: usize,
    any: bool,
    store: Option<&'a [u8]>,
    store_distance: bool,
}

impl<'a> Query<'a> {
    /// Reads the arguments in Redis's order, so that of several errors the same one is reported.
    fn parse(
        args: Args<'a>,
        form: Form,
        may_store: bool,
        source: Option<ZSetRef<'_>>,
    ) -> Result<Self, CommandError> {
        let of_member = |member: &[u8]| {
            source.map(|set| set.score(member).map(Place::from_score).ok_or(BAD_MEMBER)).transpose()
        };
        let (mut center, mut shape) = (None, None);
        let mut at = match form {
            Form::Radius => {
                center = Some(parse_place(args.from(2))?);
                shape = Some(parse_circle(args.from(4))?);
                6
            }
            Form::RadiusByMember => {
                // Without a source even a bad radius is none.
                if source.is_some() {
                    center = of_member(&args[2])?;
                    shape = Some(parse_circle(args.from(3))?);
                }
                5
            }
            Form::Search => 2,
            Form::SearchStore => 3,
        };
        let is_search = matches!(form, Form::Search | Form::SearchStore);
        let mut q = Query {
            search: None,
            with_distance: false,
            with_hash: false,
            with_place: false,
            order: None,
            count: 0,
            any: false,
            store: (form == Form::SearchStore).then(|| args.at(1)),
            store_distance: false,
        };
        // What FROM and BY have named so far.
        let (mut from_member, mut from_place, mut by_circle, mut by_box) = (false, false, false, false);
        while let Some(word) = args.get(at) {
            let left = args.len() - at - 1;
            let is = |text| eq_nocase(word, text);
            let values = args.from(at + 1);
            at += 1;
            if is("withdist") {
                q.with_distance = true;
            } else if is("withhash") {
                q.with_hash = true;
            } else if is("withcoord") {
                q.with_place = true;
            } else if is("any") {
                q.any = true;
            } else if is("asc") {
                q.order = Some(true);
            } else if is("desc") {
                q.order = Some(false);
            } else if is("count") && left >= 1 {
                let count = parse_i64(&values[0]).ok_or(CommandError::NOT_INTEGER)?;
                if count <= 0 {
                    return Err(CommandError::new("ERR COUNT must be > 0"));
                }
                q.count = usize::try_from(count).unwrap_or(usize::MAX);
                at += 1;
            } else if !is_search && may_store && (is("store") || is("storedist")) && left >= 1 {
                q.store = Some(values.at(0));
                q.store_distance = is("storedist");
                at += 1;
            } else if is("storedist") && form == Form::SearchStore {
                q.store_distance = true;
            } else if is("frommember") && left >= 1 && is_search && !from_place {
                center = of_member(&values[0])?;
                from_member = true;
                at += 1;
            } else if is("fromlonlat") && left >= 2 && is_search && !from_member {
                center = Some(parse_place(values)?);
                from_place = true;
                at += 2;
            } else if is("byradius") && left >= 2 && is_search && !by_box {
                shape = Some(parse_circle(values)?);
                by_circle = true;
                at += 2;
            } else if is("bybox") && left >= 3 && is_search && !by_circle {
                shape = Some(parse_box(values)?);
                by_box = true;
                at += 3;
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        if q.store.is_some() && (q.with_distance || q.with_hash || q.with_place) {
            let what = if is_search { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            return Err(CommandError::new(format!(
                "ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        if is_search && !(from_member || from_place) {
            let text = "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for ";
            return Err(CommandError::quoting(text, args.name(), ""));
        }
        if is_search && !(by_circle || by_box) {
            let text = "ERR exactly one of BYRADIUS and BYBOX can be specified for ";
            return Err(CommandError::quoting(text, args.name(), ""));
        }
        if q.any && q.count == 0 {
            return Err(CommandError::new("ERR the ANY argument requires COUNT argument"));
        }
        // The nearest ones are meant, unless any will do.
        if q.count != 0 && !q.any && q.order.is_none() {
            q.order = Some(true);
        }
        q.search = center.zip(shape).map(|(center, (shape, unit))| Search { center, shape, unit });
        Ok(q)
    }

    /// The wanted members, in the order of the answer; distances in metres.
    fn run<'s>(&self, search: &Search, set: ZSetRef<'s>) -> Vec<Found<'s>> {
        let limit = if self.any { self.count } else { usize::MAX };
        let mut found = Vec::new();
        let mut test = |(member, score): (Elem<'s>, f64)| {
            let place = Place::from_score(score);
            if let Some(distance) = search.covers(place) {
                found.push(Found { member, score, place, distance });
            }
            found.len() < limit
        };
        let ranges = search.score_ranges();
        match set {
            // Unpacked once, not once a range.
            ZSetRef::Packed(_) => {
                let all: Vec<_> = set.iter().collect();
                let at = |bound: f64| all.partition_point(|(_, score)| *score < bound);
                let _ = ranges
                    .iter()
                    .flat_map(|(from, to)| all.get(at(*from)..at(*to)).unwrap_or_default())
                    .all(|item| test(*item));
            }
            ZSetRef::Large { .. } => {
                let _ = ranges.iter().flat_map(|r| set.range(ranks(set, r))).all(test);
            }
        }
        let wanted = if self.count == 0 { found.len() } else { self.count.min(found.len()) };
        if let Some(ascending) = self.order {
            let compare = |a: &Found<'_>, b: &Found<'_>| {
                let order = a.distance.total_cmp(&b.distance);
                if ascending { order } else { order.reverse() }
            };
            if wanted == found.len() {
                found.sort_by(compare);
            } else {
                sort_front(&mut found, wanted, &compare, 0);
            }
        }
        found.truncate(wanted);
        found
    }
}

fn ranks(set: ZSetRef<'_>, (from, to): &(f64, f64)) -> std::ops::Range<usize> {
    set.ranks_by_score(&ScoreRange { min: *from, max: *to, min_excluded: false, max_excluded: true })
}

/// A member that a search found.
struct Found<'a> {
    member: Elem<'a>,
    score: f64,
    place: Place,
    distance: f64,
}

fn search(ctx: &mut Context<'_>, args: Args<'_>, form: Form, may_store: bool) -> Outcome {
    let source = if form == Form::SearchStore { args.at(2) } else { args.at(1) };
    let set = ctx.keys.get_type(source, Type::ZSet)?.map(ZSetRef::of);
    let query = Query::parse(args, form, may_store, set)?;
    let (Some(set), Some(search)) = (set, query.search) else {
        match query.store {
            Some(key) => store(ctx, key, &[], form),
            None => ctx.reply.empty_array(),
        }
        return Ok(());
    };
    let tests = match set {
        ZSetRef::Packed(_) => set.len(),
        ZSetRef::Large { .. } => search.score_ranges().iter().map(|range| ranks(set, range).len()).sum(),
    };
    if let Some(key) = query.store {
        ctx.slow_lane(tests / TESTS_AN_ELEMENT)?;
        let Some(set) = ctx.keys.peek(source).map(ZSetRef::of) else { return Ok(()) };
        let mut items: Vec<(f64, Vec<u8>)> = query
            .run(&search, set)
            .into_iter()
            .map(|f| {
                (if query.store_distance { f.distance / search.unit } else { f.score }, f.member.to_vec())
            })
            .collect();
        items.sort_by(|a, b| zset::compare((a.0, &a.1), (b.0, &b.1)));
        store(ctx, key, &items, form);
        return Ok(());
    }
    if tests / TESTS_AN_ELEMENT <= crate::command::SLOW_LANE_COST {
        write_found(ctx.reply, &query, search.unit, &query.run(&search, set));
        return Ok(());
    }
    ctx.slow_lane(tests / TESTS_AN_ELEMENT)?;
    let Some(pin) = ctx.keys.peek(source).map(ZSetPin::of) else { return Ok(()) };
    ctx.release_keys();
    write_found(ctx.reply, &query, search.unit, &query.run(&search, pin.get()));
    Ok(())
}

fn write_found(reply: &mut Reply, query: &Query<'_>, unit: f64, found: &[Found<'_>]) {
    let extras =
        [query.with_distance, query.with_hash, query.with_place].into_iter().filter(|with| *with).count();
    reply.array(found.len());
    for f in found {
        if extras > 0 {
            reply.array(extras + 1);
        }
        bulk(reply, f.member);
        if query.with_distance {
            write_distance(reply, f.distance / unit);
        }
        if query.with_hash {
            // What has no place in an integer is the least one, as on x86-64.
            let fits = (i64::MIN as f64..i64::MAX as f64).contains(&f.score);
            reply.int(if fits { f.score as i64 } else { i64::MIN });
        }
        if query.with_place {
            write_place(reply, f.place);
        }
    }
}

/// Puts a sorted set of `items`, which are in order, in the place of `key`; answers their number.
fn store(ctx: &mut Context<'_>, key: &[u8], items: &[(f64, Vec<u8>)], form: Form) {
    if items.is_empty() {
        if ctx.keys.delete(key) {
            ctx.keys.notify(notify::GENERIC, "del", key);
        }
    } else {
        let cell = zset::from_sorted(key, items, ctx.limits(), ctx.env.keyspace.seed());
        ctx.keys.put(cell);
        let event = if form == Form::SearchStore { "geosearchstore" } else { "georadiusstore" };
        ctx.keys.signal(notify::ZSET, event, key);
        ctx.keys.add_dirty(items.len() as u64 - 1);
    }
    ctx.reply.int(items.len() as i64);
}

/// Brings the `wanted` first items to the front, in order: Bentley and McIlroy's quicksort, which leaves alone what lies
/// behind. Not stable; Redis sorts by it too, and this is how equally distant members come in the same order. `depth` 0.
fn sort_front<T>(items: &mut [T], wanted: usize, compare: &impl Fn(&T, &T) -> Ordering, depth: u32) {
    /// Deeper than any input goes that was not made for it.
    const DEPTH_MAX: u32 = 100;
    let (mut items, mut wanted, mut depth) = (items, wanted, depth);
    loop {
        let n = items.len();
        if depth > DEPTH_MAX {
            return items.sort_by(compare);
        }
        if n < 7 {
            for i in 1..n {
                for j in (1..=i).rev() {
                    if compare(&items[j - 1], &items[j]).is_le() {
                        break;
                    }
                    items.swap(j - 1, j);
                }
            }
            return;
        }
        let median = |a: usize, b: usize, c: usize| {
            let order = |x: usize, y: usize| compare(&items[x], &items[y]);
            if order(a, b).is_lt() {
                if order(b, c).is_lt() {
                    b
                } else if order(a, c).is_lt() {
                    c
                } else {
                    a
                }
            } else if order(b, c).is_gt() {
                b
            } else if order(a, c).is_lt() {
                a
            } else {
                c
            }
        };
        let mut pivot = n / 2;
        if n > 7 {
            let (mut low, mut high) = (0, n - 1);
            if n > 40 {
                let d = n / 8;
                low = median(low, low + d, low + 2 * d);
                pivot = median(pivot - d, pivot, pivot + d);
                high = median(high - 2 * d, high - d, high);
            }
            pivot = median(low, pivot, high);
        }
        items.swap(0, pivot);
        // The pivot is at 0; equals gather before `equal` and from `equal_end` on. What lies between is smaller up to
        // `smaller`, and greater from `greater` on.
        let (mut equal, mut smaller, mut greater, mut equal_end) = (1, 1, n, n);
        loop {
            while smaller < greater {
                match compare(&items[smaller], &items[0]) {
                    Ordering::Greater => break,
                    Ordering::Equal => {
                        items.swap(equal, smaller);
                        equal += 1;
                    }
                    Ordering::Less => {}
                }
                smaller += 1;
            }
            while smaller < greater {
                match compare(&items[greater - 1], &items[0]) {
                    Ordering::Less => break,
                    Ordering::Equal => {
                        equal_end -= 1;
                        items.swap(greater - 1, equal_end);
                    }
                    Ordering::Greater => {}
                }
                greater -= 1;
            }
            if smaller >= greater {
                break;
            }
            items.swap(smaller, greater - 1);
            smaller += 1;
            greater -= 1;
        }
        let (less, more) = (smaller - equal, equal_end - greater);
        let near = equal.min(less);
        (0..near).for_each(|i| items.swap(i, smaller - near + i));
        let far = more.min(n - equal_end);
        (0..far).for_each(|i| items.swap(smaller + i, n - far + i));
        depth += 1;
        if less > 1 {
            sort_front(&mut items[..less], wanted, compare, depth);
        }
        if more <= 1 || n - more >= wanted {
            return;
        }
        wanted -= n - more;
        items = &mut items[n - more..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    #[test]
    fn the_front_is_sorted_whatever_lies_behind() {
        let mut rng = Rng::from_seed(5);
        for n in 0..200u64 {
            for kinds in [1, 3, 1000] {
                let items: Vec<u64> = (0..n).map(|_| rng.below(kinds)).collect();
                let mut sorted = items.clone();
                sorted.sort_unstable();
                for wanted in [0, n.min(1), n / 3, n] {
                    let mut front = items.clone();
                    sort_front(&mut front, wanted as usize, &u64::cmp, 0);
                    assert_eq!(front[..wanted as usize], sorted[..wanted as usize]);
                    front.sort_unstable();
                    assert_eq!(front, sorted);
                }
            }
        }
    }

    #[test]
    fn distances_and_degrees_as_redis_prints_them() {
        let mut reply = Reply::new(false);
        [0.0, 1e-9, 0.00005, 0.775, 166274.15156960033]
            .into_iter()
            .for_each(|d| write_distance(&mut reply, d));
        write_place(&mut reply, Place { lon: -180.0, lat: 1e-20 });
        let text = String::from_utf8(reply.to_vec()).unwrap();
        assert_eq!(
            text.replace("\r\n", " "),
            "$6 0.0000 $6 0.0000 $6 0.0000 $6 0.7750 $11 166274.1516 *2 $4 -180 $1 0 "
        );
    }
}
