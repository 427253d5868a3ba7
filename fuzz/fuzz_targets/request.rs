//! The request parser against the `redis-protocol` crate, and against itself over other pieces of the same bytes.
//! Run with `cargo fuzz run request`, which sets the `fuzzing` cfg that the check is compiled under.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewater::resp::request::check;

fuzz_target!(|data: &[u8]| check(data));
