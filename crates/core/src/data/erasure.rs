//! The codes: XOR, and Reed–Solomon over GF(2^8).
//!
//! Shards shorter than the longest count as padded with zeros, and data
//! shards that are not there as all zeros.
