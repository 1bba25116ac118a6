//! Every bound of the wire, in one place.

use std::time::Duration;

use dfs_core::data::frame::{FRAME_SIZE, STORED_MAX};
use dfs_core::policy::CHUNK_SIZE_MAX;

/// The longest message between nodes and clients: room for a frame, for a
/// list of handles, for a rebuild task.
pub(crate) const NODE_MESSAGE_BYTES_MAX: usize = 2 << 20;
/// The longest message to or from the coordinator: a page of a wide file's
/// layout, or the status of a large cluster.
pub(crate) const COORDINATOR_MESSAGE_BYTES_MAX: usize = 8 << 20;
/// The longest frame that a chunk is written with by a short call.
pub(crate) const SHORT_FRAME_BYTES_MAX: usize = 256 << 10;

/// What may be under way on one stream before the receiver has taken it.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 2 << 20;
/// The same for all streams of a connection together: no less, or streams
/// that stand still would hold back every other call of the connection.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = STREAMS_PER_CONNECTION_MAX * STREAM_WINDOW_BYTES;
/// The longest HTTP/2 frame: a stored frame with its head fits.
pub(crate) const HTTP2_FRAME_BYTES_MAX: u32 = (1 << 20) + (64 << 10);
const _: () = assert!(STORED_MAX < HTTP2_FRAME_BYTES_MAX as usize);
/// The longest header list, error messages included.
pub(crate) const HEADER_LIST_BYTES_MAX: u32 = 32 << 10;
/// Calls under way on one connection.
pub(crate) const STREAMS_PER_CONNECTION_MAX: u32 = 256;
/// Calls under way on one server, those included whose callers have gone.
pub(crate) const CALLS_MAX: usize = 1024;
/// Short calls under way on one stream of them.
pub(crate) const SHORT_CALLS_MAX: usize = 128;
/// A peer may take another place while it holds fewer than so many times what
/// is free: alone two thirds of all.
pub(crate) const SHARE_FACTOR: usize = 2;
/// Chunks that one peer writes to a node at once; a node takes 48 from all.
pub(crate) const WRITES_PER_PEER_MAX: usize = 32;
/// Connections to one server.
pub(crate) const CONNECTIONS_MAX: usize = 1024;
/// Peers whose connections are kept.
pub(crate) const PEERS_MAX: usize = 1024;
/// Frames read ahead for a reader whose window is full.
pub(crate) const FRAMES_READ_AHEAD: usize = 1;

/// To reach a peer.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// From a connection's start to its first bytes.
pub(crate) const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(10);
/// For a client's system to take any byte that is to be written.
pub(crate) const UNWRITTEN_TIMEOUT: Duration = Duration::from_secs(30);
/// Between keep-alive pings.
pub(crate) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// For the answer to one; then the connection is given up. That comes before
/// a stream over it is taken for stalled, or the next call would be sent over
/// it as well.
pub(crate) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(15);
const _: () =
    assert!(KEEP_ALIVE_INTERVAL.as_secs() + KEEP_ALIVE_TIMEOUT.as_secs() < STALL_TIMEOUT.as_secs());
/// For a call that moves no chunk.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// For writing a whole catalog to another folder.
pub(crate) const RESCUE_TIMEOUT: Duration = Duration::from_secs(3600);
/// For a call that reads or rebuilds a whole chunk.
pub(crate) const LONG_CALL_TIMEOUT: Duration = Duration::from_secs(3600);
/// Between two messages of a stream.
pub(crate) const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// From a chunk's seal to the word that it is durable.
pub(crate) const SEAL_TIMEOUT: Duration = Duration::from_secs(120);
/// For calls under way when a server is told to stop.
pub(crate) const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// Between attempts to accept when the system refuses (no descriptors left).
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The most copies of one chunk that a message may name: more than any
/// policy, since a move names old and new ones.
pub(crate) const COPIES_MAX: usize = 64;
/// The most nodes that a message may name.
pub(crate) const NODES_MAX: usize = 1 << 16;
/// The longest `host:port`: a DNS name, a colon, five digits.
pub(crate) const ADDRESS_BYTES_MAX: usize = 253 + 1 + 5;
/// The longest name of a zone.
pub(crate) const ZONE_BYTES_MAX: usize = 256;
/// Text for people is cut to this.
pub(crate) const TEXT_BYTES_MAX: usize = 4096;
/// An error's message is cut to this: it travels in a header, where a byte
/// may take three.
pub(crate) const ERROR_TEXT_BYTES_MAX: usize = 2048;
/// The most frames of a chunk.
pub(crate) const FRAMES_PER_CHUNK_MAX: u32 = CHUNK_SIZE_MAX / FRAME_SIZE as u32;
