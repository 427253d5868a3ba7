//! Level 1: the data types and their encodings. Pure data structures; must not know files, sockets or expiry.
pub mod blob;
pub mod btree;
pub mod cell;
pub mod deque;
pub mod hash;
pub mod hll;
pub mod intset;
pub mod list;
pub mod listpack;
pub mod set;
pub mod stream;
pub mod table;
pub mod zset;
