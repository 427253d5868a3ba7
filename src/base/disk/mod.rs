//! Files, behind a trait that tests replace by one that crashes, tears and fills up. Must not know what is stored.
