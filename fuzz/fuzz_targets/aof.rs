//! The AOF reader against the request parser, and against itself over other pieces of the same bytes; manifests.
//! Run with `cargo fuzz run aof`, which sets the `fuzzing` cfg that the check is compiled under.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewater::aof::fuzz::check;

fuzz_target!(|data: &[u8]| check(data));
