//! The node: stores, serves, verifies and rebuilds chunks.
