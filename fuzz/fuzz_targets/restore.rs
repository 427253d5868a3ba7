//! A payload of RESTORE: version, type and value, its checksum not looked at. What is accepted must survive DUMP.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewater::rdb::fuzz::value;

fuzz_target!(|data: &[u8]| value(data));
