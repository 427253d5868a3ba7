//! Level 4: the append-only file. Must not know the network.
