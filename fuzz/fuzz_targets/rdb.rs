//! A whole dump file: taken apart, decoded in place and raw, and what was read written again. Nothing may panic, and the
//! two ways must find the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewater::rdb::fuzz::file;

fuzz_target!(|data: &[u8]| file(data));
