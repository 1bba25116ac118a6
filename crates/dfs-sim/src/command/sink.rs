//! Where the bytes of a `get` go: a file that appears whole or not at all,
//! or a pipe.

mod file;
mod pipe;
mod target;

pub(super) use file::FileSink;
pub(super) use pipe::PipeSink;
pub(super) use target::Target;

use std::io;

fn flatten<T>(joined: Result<io::Result<T>, tokio::task::JoinError>) -> io::Result<T> {
    joined.unwrap_or_else(|e| Err(io::Error::other(e)))
}
