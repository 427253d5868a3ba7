//! Level 4: the RDB format, in and out. Must not know the network.
