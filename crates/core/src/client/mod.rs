//! The client: put and get, and the only place that hashes, compresses and
//! encodes for writing.
