//! All integration tests, one target: it links once.
mod commands;
mod net;
mod support;
