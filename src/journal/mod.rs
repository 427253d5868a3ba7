//! Level 2: the one ordered stream of effects. Must not know who reads it.
