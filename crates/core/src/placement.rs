//! Which nodes shall hold which copies.
