//! The `tidewater` program.
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tidewater::base::alloc::Counting<mimalloc::MiMalloc> =
    tidewater::base::alloc::Counting::new(mimalloc::MiMalloc);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    tidewater::program::run(&args)
}
