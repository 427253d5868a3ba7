//! HyperLogLog: dense and sparse registers, byte-compatible with the strings that Redis keeps.
