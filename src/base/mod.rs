//! Level 0: clock, randomness, numbers, patterns, limits. Knows nothing above it.
pub mod alloc;
pub mod clock;
pub mod cpus;
pub mod crc;
pub mod disk;
pub mod geohash;
pub mod glob;
pub mod limits;
pub mod longdouble;
pub mod num;
pub mod pages;
pub mod platform;
pub mod priority;
pub mod reclaim;
pub mod rng;
pub mod split;
