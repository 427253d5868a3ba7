//! All integration tests, one target: it links once.
mod commands;
mod program;
mod support;
