//! Crashes of the whole thing.
