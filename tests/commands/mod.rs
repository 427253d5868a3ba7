//! Every family of commands, in process: no sockets, a clock set by hand.
mod bitmap;
mod connection;
mod dump;
mod expire;
mod generic;
mod hash;
mod hash_ttl;
mod list;
mod pubsub;
mod scan;
mod server;
mod set;
mod sort;
mod string;
mod txn;
mod zset;
