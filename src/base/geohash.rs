//! Positions on the globe as one number: longitude and latitude, each a fraction of its range in binary, bits by turns.
//!
//! Every step is done in the order and in the precision that Redis does it in, since scores, distances and the order of
//! unsorted answers follow from the last bit. No step panics or loops long, whatever the numbers.
use std::f64::consts::PI;

use smallvec::SmallVec;

/// Bits a coordinate in a stored position.
pub const STEP_MAX: u32 = 26;
pub const LON_MAX: f64 = 180.0;
/// Mercator's world ends there; it is a square.
pub const LAT_MAX: f64 = 85.05112878;

const EARTH_RADIUS_M: f64 = 6372797.560856;
/// Half the equator in Mercator's metres.
const MERCATOR_MAX_M: f64 = 20037726.37;
const DEGREE: f64 = PI / 180.0;

const EVEN_BITS: u64 = 0x5555_5555_5555_5555;
const ODD_BITS: u64 = !EVEN_BITS;

/// A position in degrees.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Place {
    pub lon: f64,
    pub lat: f64,
}

/// The range of a coordinate.
#[derive(Clone, Copy)]
struct Extent {
    min: f64,
    max: f64,
}

const LON: Extent = Extent { min: -LON_MAX, max: LON_MAX };
const LAT: Extent = Extent { min: -LAT_MAX, max: LAT_MAX };

/// A cell of the grid that halving both ranges `step` times makes. All zero: none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Square {
    bits: u64,
    step: u32,
}

impl Square {
    const NONE: Square = Square { bits: 0, step: 0 };

    fn at(place: Place, step: u32) -> Self {
        Square { bits: encode_in(place, LON, LAT, step), step }
    }

    /// One square on in longitude; the world is round. Only within what `step` has bits for.
    fn east(self, forward: bool) -> Self {
        let shift = 64 - 2 * self.step;
        let gap = EVEN_BITS >> shift;
        let (x, y) = (self.bits & ODD_BITS, self.bits & EVEN_BITS);
        let x = if forward { x.wrapping_add(gap + 1) } else { (x | gap).wrapping_sub(gap + 1) };
        Square { bits: (x & (ODD_BITS >> shift)) | y, ..self }
    }

    /// One square on in latitude, over the edge to the other side.
    fn north(self, forward: bool) -> Self {
        let shift = 64 - 2 * self.step;
        let gap = ODD_BITS >> shift;
        let (x, y) = (self.bits & ODD_BITS, self.bits & EVEN_BITS);
        let y = if forward {
            y.wrapping_add(gap.wrapping_add(1))
        } else {
            (y | gap).wrapping_sub(gap.wrapping_add(1))
        };
        Square { bits: (y & (EVEN_BITS >> shift)) | x, ..self }
    }

    /// (longitudes, latitudes) that it covers.
    fn extents(self) -> (Extent, Extent) {
        let (lat, lon) = (gather(self.bits), gather(self.bits >> 1));
        let of = |n: u32, range: Extent| {
            let width = range.max - range.min;
            let at = |n: u32| range.min + (f64::from(n) / (1u64 << self.step) as f64) * width;
            Extent { min: at(n), max: at(n.wrapping_add(1)) }
        };
        (of(lon, LON), of(lat, LAT))
    }

    /// The scores of the positions in it: from the first, before the second.
    fn scores(self) -> (f64, f64) {
        let shift = 2 * (STEP_MAX - self.step);
        ((self.bits << shift) as f64, (self.bits.wrapping_add(1) << shift) as f64)
    }
}

/// Spreads the bits of `n` over the even positions.
fn spread(n: u32) -> u64 {
    let mut x = u64::from(n);
    x = (x | x << 16) & 0x0000_FFFF_0000_FFFF;
    x = (x | x << 8) & 0x00FF_00FF_00FF_00FF;
    x = (x | x << 4) & 0x0F0F_0F0F_0F0F_0F0F;
    x = (x | x << 2) & 0x3333_3333_3333_3333;
    (x | x << 1) & EVEN_BITS
}

/// The even bits of `x`, close together.
fn gather(x: u64) -> u32 {
    let mut x = x & EVEN_BITS;
    x = (x | x >> 1) & 0x3333_3333_3333_3333;
    x = (x | x >> 2) & 0x0F0F_0F0F_0F0F_0F0F;
    x = (x | x >> 4) & 0x00FF_00FF_00FF_00FF;
    x = (x | x >> 8) & 0x0000_FFFF_0000_FFFF;
    (x | x >> 16) as u32
}

fn encode_in(place: Place, lon: Extent, lat: Extent, step: u32) -> u64 {
    let fraction = |v: f64, range: Extent| (v - range.min) / (range.max - range.min) * (1u64 << step) as f64;
    spread(fraction(place.lat, lat) as u32) | spread(fraction(place.lon, lon) as u32) << 1
}

impl Place {
    /// `None` outside of what can be stored.
    pub fn new(lon: f64, lat: f64) -> Option<Self> {
        ((-LON_MAX..=LON_MAX).contains(&lon) && (-LAT_MAX..=LAT_MAX).contains(&lat))
            .then_some(Place { lon, lat })
    }

    /// As the score of a sorted set's member. At the eastern and northern edges it has a bit more than elsewhere.
    pub fn to_score(self) -> f64 {
        Square::at(self, STEP_MAX).bits as f64
    }

    /// The middle of what a score stands for; any number is taken for a score.
    pub fn from_score(score: f64) -> Self {
        let (lon, lat) = Square { bits: to_bits(score), step: STEP_MAX }.extents();
        let middle = |e: Extent, max: f64| ((e.min + e.max) / 2.0).clamp(-max, max);
        Place { lon: middle(lon, LON_MAX), lat: middle(lat, LAT_MAX) }
    }

    /// The geohash that the rest of the world uses: latitudes up to the poles, five bits a character.
    pub fn to_text(self) -> [u8; 11] {
        const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let all = |max: f64| Extent { min: -max, max };
        let bits = encode_in(self, all(180.0), all(90.0), STEP_MAX);
        // 52 bits are ten characters and two bits; those are left out.
        std::array::from_fn(|i| {
            if i == 10 { ALPHABET[0] } else { ALPHABET[(bits >> (47 - 5 * i)) as usize & 31] }
        })
    }

    /// Metres along a great circle, by the haversine formula.
    pub fn distance(self, other: Place) -> f64 {
        let (lon1, lon2) = (self.lon * DEGREE, other.lon * DEGREE);
        let v = ((lon2 - lon1) / 2.0).sin();
        if v == 0.0 {
            return lat_distance(self.lat, other.lat);
        }
        let (lat1, lat2) = (self.lat * DEGREE, other.lat * DEGREE);
        let u = ((lat2 - lat1) / 2.0).sin();
        let a = u * u + lat1.cos() * lat2.cos() * v * v;
        // At opposite points rounding can lead past 1.
        2.0 * EARTH_RADIUS_M * a.sqrt().min(1.0).asin()
    }
}

fn lat_distance(lat1: f64, lat2: f64) -> f64 {
    EARTH_RADIUS_M * (lat2 * DEGREE - lat1 * DEGREE).abs()
}

/// A double to an unsigned integer as x86-64 compilers do it, where C leaves it open.
fn to_bits(v: f64) -> u64 {
    const HALF: f64 = (1u64 << 63) as f64;
    let convert = |v: f64| if (-HALF..HALF).contains(&v) { v as i64 } else { i64::MIN };
    if v < HALF { convert(v) as u64 } else { convert(v - HALF) as u64 ^ 1 << 63 }
}

/// What a search looks for: metres around a place.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
}

/// Where a search looks.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    pub center: Place,
    /// In `unit`s.
    pub shape: Shape,
    /// Metres.
    pub unit: f64,
}

impl Search {
    /// The distance from the centre, in metres, of a place that the shape covers.
    pub fn covers(&self, place: Place) -> Option<f64> {
        match self.shape {
            Shape::Circle { radius } => {
                let distance = self.center.distance(place);
                (distance <= radius * self.unit).then_some(distance)
            }
            Shape::Box { width, height } => {
                if lat_distance(place.lat, self.center.lat) > height * self.unit / 2.0
                    || place.distance(Place { lat: place.lat, ..self.center }) > width * self.unit / 2.0
                {
                    return None;
                }
                Some(self.center.distance(place))
            }
        }
    }

    /// Half the height and half the width, in metres.
    fn half_sizes(&self) -> (f64, f64) {
        match self.shape {
            Shape::Circle { radius } => (self.unit * radius, self.unit * radius),
            Shape::Box { width, height } => (self.unit * (height / 2.0), self.unit * (width / 2.0)),
        }
    }

    /// How far the shape reaches in degrees: (longitudes, latitudes), beyond the edges of the world too.
    fn bounds(&self) -> (Extent, Extent) {
        let Place { lon, lat } = self.center;
        let (height, width) = self.half_sizes();
        let lat_delta = height / EARTH_RADIUS_M / DEGREE;
        // The side nearer to a pole spans more degrees.
        let widest = if lat < 0.0 { lat - lat_delta } else { lat + lat_delta };
        let lon_delta = width / EARTH_RADIUS_M / (widest * DEGREE).cos() / DEGREE;
        (
            Extent { min: lon - lon_delta, max: lon + lon_delta },
            Extent { min: lat - lat_delta, max: lat + lat_delta },
        )
    }

    /// How fine a grid needs no more than a square and its neighbours.
    fn step(&self) -> u32 {
        let mut range = match self.shape {
            Shape::Circle { radius } => radius,
            Shape::Box { width, height } => {
                ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
            }
        } * self.unit;
        if range == 0.0 {
            return STEP_MAX;
        }
        let mut step = 1i32;
        while range < MERCATOR_MAX_M {
            range *= 2.0;
            step += 1;
        }
        step -= 2;
        // Towards the poles squares get narrow.
        let lat = self.center.lat.abs();
        step -= i32::from(lat > 66.0) + i32::from(lat > 80.0);
        step.clamp(1, STEP_MAX as i32) as u32
    }

    /// The ranges of scores (from, before) to look through, in the order in which Redis does.
    pub fn score_ranges(&self) -> SmallVec<[(f64, f64); 9]> {
        let (lons, lats) = self.bounds();
        let mut step = self.step();
        let mut center = Square::at(self.center, step);
        if step > 1 {
            let (north, south) = (center.north(true).extents().1, center.north(false).extents().1);
            let (east, west) = (center.east(true).extents().0, center.east(false).extents().0);
            if north.max < lats.max || south.min > lats.min || east.max < lons.max || west.min > lons.min {
                step -= 1;
                center = Square::at(self.center, step);
            }
        }
        let (center_lon, center_lat) = center.extents();
        let unless = |hidden: bool, square: Square| if hidden && step >= 2 { Square::NONE } else { square };
        let no_south = center_lat.min < lats.min;
        let no_north = center_lat.max > lats.max;
        let no_west = center_lon.min < lons.min;
        let no_east = center_lon.max > lons.max;
        let (east, west) = (center.east(true), center.east(false));
        let squares = [
            center,
            unless(no_north, center.north(true)),
            unless(no_south, center.north(false)),
            unless(no_east, east),
            unless(no_west, west),
            unless(no_north || no_east, east.north(true)),
            unless(no_north || no_west, west.north(true)),
            unless(no_south || no_east, east.north(false)),
            unless(no_south || no_west, west.north(false)),
        ];
        let mut ranges = SmallVec::new();
        let mut last = None;
        for (i, square) in squares.into_iter().enumerate() {
            // On the coarsest grid neighbours on both sides are one.
            if square != Square::NONE && last != Some(square) {
                ranges.push(square.scores());
                // Redis compares with what came before but for the centre.
                last = (i > 0).then_some(square);
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_positions() {
        let palermo = Place::new(13.361389, 38.115556).unwrap();
        let catania = Place::new(15.087269, 37.502669).unwrap();
        assert_eq!(palermo.to_score(), 3479099956230698.0);
        assert_eq!(Place::from_score(3479099956230698.0).lon, 13.361389338970184);
        let (a, b) = (Place::from_score(palermo.to_score()), Place::from_score(catania.to_score()));
        assert_eq!((a.distance(b) * 1e4).round(), 1662741516.0);
        assert_eq!(&a.to_text(), b"sqc8b49rny0");
        assert_eq!((a.distance(a), Place::new(180.1, 0.0), Place::new(0.0, 85.06)), (0.0, None, None));
    }

    #[test]
    fn any_number_is_a_position() {
        for score in [
            0.0,
            -0.0,
            -1.0,
            -1e300,
            1e300,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            9.3e18,
            1.9e19,
            1e-300,
        ] {
            let place = Place::from_score(score);
            assert!(Place::new(place.lon, place.lat).is_some(), "{score}: {place:?}");
            assert_eq!(place.to_text().len(), 11);
        }
        let bits = [to_bits(-1.0), to_bits(f64::INFINITY), to_bits(1e19), to_bits(2f64.powi(63))];
        assert_eq!(bits, [u64::MAX, 0, 10_000_000_000_000_000_000, 1 << 63]);
    }

    #[test]
    fn hostile_searches_end() {
        for (lon, lat) in [(180.0, LAT_MAX), (-180.0, -LAT_MAX), (0.0, 0.0), (1.0, 81.0)] {
            for size in [0.0, 5e-324, 1e-300, 1.0, 1e7, 1e300, f64::INFINITY] {
                for unit in [1.0, 1609.34] {
                    let center = Place::new(lon, lat).unwrap();
                    for shape in [Shape::Circle { radius: size }, Shape::Box { width: size, height: 3.0 }] {
                        let search = Search { center, shape, unit };
                        assert!((1..=9).contains(&search.score_ranges().len()));
                        assert!(search.covers(center).is_none_or(|d| d == 0.0));
                    }
                }
            }
        }
        let poles = (Place::from_score(0.0), Place { lon: 0.0, lat: LAT_MAX });
        assert!(poles.0.distance(poles.1) > 0.0);
    }

    proptest! {
        #[test]
        fn a_score_keeps_the_position(lon in -180.0..180.0f64, lat in -85.05..85.05f64) {
            let place = Place::new(lon, lat).unwrap();
            let back = Place::from_score(place.to_score());
            prop_assert!((back.lon - lon).abs() < 3e-6 && (back.lat - lat).abs() < 2e-6);
            prop_assert_eq!(back.to_score(), place.to_score());
            prop_assert!(place.distance(back) < 0.5);
        }

        #[test]
        fn bits_by_turns_come_back(n: u32, m: u32) {
            let x = spread(n) | spread(m) << 1;
            prop_assert_eq!((gather(x), gather(x >> 1)), (n, m));
        }

        /// Where the squares are not too narrow, nothing that the circle covers is missed.
        #[test]
        fn ranges_cover_the_circle(
            lon in -170.0..170.0f64, lat in -60.0..60.0f64, radius in 1.0..500_000.0f64,
            angle in 0.0..std::f64::consts::TAU, part in 0.0..0.99f64,
        ) {
            let center = Place::new(lon, lat).unwrap();
            let search = Search { center, shape: Shape::Circle { radius }, unit: 1.0 };
            let reach = radius * part / EARTH_RADIUS_M / DEGREE;
            let place = Place::new(
                lon + reach * angle.cos() / (lat.abs() * DEGREE).cos(),
                lat + reach * angle.sin(),
            );
            if let Some(place) = place {
                let score = place.to_score();
                if search.covers(Place::from_score(score)).is_some() {
                    prop_assert!(search.score_ranges().iter().any(|(from, to)| (*from..*to).contains(&score)));
                }
            }
        }
    }
}
