//! What the two programs share: counted checks in named groups, and where the server is.

use std::fmt::{Debug, Display};
use std::sync::atomic::{AtomicUsize, Ordering};

static HELD: AtomicUsize = AtomicUsize::new(0);
static FAILED: AtomicUsize = AtomicUsize::new(0);

pub fn ok(holds: bool, said: impl Display) {
    assert!(holds, "{said}");
    HELD.fetch_add(1, Ordering::Relaxed);
}

pub fn equal<T: PartialEq + Debug>(got: T, wanted: T) {
    ok(got == wanted, format!("got {got:.300?}, wanted {wanted:.300?}"));
}

pub fn fails<T: Debug, E: Display>(got: Result<T, E>, text: &str) {
    match got {
        Ok(value) => panic!("got {value:?}, wanted {text}"),
        Err(error) => ok(error.to_string().contains(text), format!("{error}, wanted {text}")),
    }
}

pub fn url(query: &str) -> String {
    let of = |name| std::env::var(name).unwrap();
    format!("redis://:{}@{}:{}/0{query}", of("TIDEWATER_PASSWORD"), of("TIDEWATER_HOST"), of("TIDEWATER_PORT"))
}

/// 20 MB with every byte in it.
pub fn big() -> Vec<u8> {
    (0..20_000_000usize).map(|i| (i * 7 + i / 251) as u8).collect()
}

pub fn group(name: &str, run: impl FnOnce() + std::panic::UnwindSafe) {
    let before = HELD.load(Ordering::Relaxed);
    let held = std::panic::catch_unwind(run).is_ok();
    let count = HELD.load(Ordering::Relaxed) - before;
    if !held || count == 0 {
        FAILED.fetch_add(1, Ordering::Relaxed);
    }
    println!("{name}: {count}{}", if held { "" } else { ", FAILED" });
}

pub fn end() -> ! {
    println!("{} checks", HELD.load(Ordering::Relaxed));
    std::process::exit((FAILED.load(Ordering::Relaxed) > 0) as i32)
}
