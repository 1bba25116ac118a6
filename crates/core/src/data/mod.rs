//! Pure bytes: how a file is cut, framed, compressed, summed, coded and
//! written down. Nothing here reads a disk, a socket or a clock.

pub mod chunk;
pub mod codec;
pub mod digest;
pub mod erasure;
pub mod frame;
pub mod split;
pub mod stripe;
