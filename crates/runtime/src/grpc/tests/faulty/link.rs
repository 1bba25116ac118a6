//! A road between clients and a server, over loopback, that breaks where a
//! test says. It carries bytes and knows nothing of what they mean.

use std::future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet, yield_now};

use super::super::soon;

/// What the system may hold for a socket of the road. Small, so that a road
/// that stands still soon holds back its sender.
const SOCKET_BUFFER_BYTES: u32 = 128 << 10;
/// How often everybody else may run before a fault strikes.
const TURNS_BEFORE_FAULT: usize = 16;
/// What the road carries at once.
const LOAD_BYTES: usize = 64 << 10;

/// One of the two directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    ToServer,
    ToClient,
}

pub(super) const WAYS: [Way; 2] = [Way::ToServer, Way::ToClient];

/// What becomes of the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// They are carried, of each connection at most so many; what comes
    /// after them is not even taken, as by a process that is stopped.
    Carry(u64),
    /// They are taken and lost, ends included, as by a cut cable.
    Lose,
}

impl Gate {
    /// How many bytes may be taken after so many were carried.
    fn room(self, carried: u64) -> u64 {
        match self {
            Self::Carry(bytes) => bytes.saturating_sub(carried),
            Self::Lose => u64::MAX,
        }
    }
}

pub(super) const OPEN: Gate = Gate::Carry(u64::MAX);
pub(super) const STOPPED: Gate = Gate::Carry(0);

/// What happens to each connection after a number of bytes in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Both ends are reset.
    Reset,
    /// The receiver sees an orderly end.
    End,
    /// The next byte arrives with these bits flipped.
    Flip(u8),
}

/// A road from an address of its own to a server. Connections break when it
/// is dropped.
pub(super) struct Link {
    pub(super) address: String,
    road: Arc<Road>,
    carrying: AbortHandle,
}

struct Road {
    server: SocketAddr,
    gates: [watch::Sender<Gate>; 2],
    fault: Option<(Way, u64, Fault)>,
    has_struck: AtomicBool,
    /// Connections that stand on it.
    standing: watch::Sender<usize>,
}

impl Link {
    /// A sound road.
    pub(super) async fn to(server: &str) -> Self {
        Self::build(server, None).await
    }

    /// A road on which `fault` strikes each connection after `after_bytes`.
    pub(super) async fn with(server: &str, way: Way, after_bytes: u64, fault: Fault) -> Self {
        Self::build(server, Some((way, after_bytes, fault))).await
    }

    async fn build(server: &str, fault: Option<(Way, u64, Fault)>) -> Self {
        let listener = listen(SOCKET_BUFFER_BYTES);
        let address = listener.local_addr().expect("a bound port").to_string();
        let road = Arc::new(Road {
            server: server.parse().expect("a bound address"),
            gates: [watch::Sender::new(OPEN), watch::Sender::new(OPEN)],
            fault,
            has_struck: AtomicBool::new(false),
            standing: watch::Sender::new(0),
        });
        let carrying = tokio::spawn(accept(listener, road.clone())).abort_handle();
        Self { address, road, carrying }
    }

    /// Sets what becomes of what goes to the server and to the client.
    pub(super) fn set(&self, [to_server, to_client]: [Gate; 2]) {
        self.road.gates[Way::ToServer as usize].send_replace(to_server);
        self.road.gates[Way::ToClient as usize].send_replace(to_client);
    }

    /// True once the fault has struck some connection.
    pub(super) fn has_struck(&self) -> bool {
        self.road.has_struck.load(Ordering::Relaxed)
    }

    /// Waits until this many connections stand on it.
    pub(super) async fn until_standing(&self, connections: usize) {
        let mut standing = self.road.standing.subscribe();
        let reached = standing.wait_for(|count| *count == connections);
        soon(reached).await.expect("the road is there");
    }

    pub(super) fn standing(&self) -> usize {
        *self.road.standing.borrow()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.carrying.abort();
    }
}

/// A listener whose connections have system buffers of about this size.
pub(super) fn listen(buffer_bytes: u32) -> TcpListener {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(buffer_bytes).expect("a size");
    socket.set_send_buffer_size(buffer_bytes).expect("a size");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    socket.listen(1024).expect("a bound socket")
}

async fn accept(listener: TcpListener, road: Arc<Road>) {
    // They end with this task.
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.expect("loopback accepts");
        let road = road.clone();
        connections.spawn(async move {
            road.standing.send_modify(|count| *count += 1);
            // However it ends, both sockets are closed.
            let _ = road.join(client).await;
            road.standing.send_modify(|count| *count -= 1);
        });
        while connections.try_join_next().is_some() {}
    }
}

/// How a direction of a connection came to its end.
enum Ended {
    Closed,
    Reset,
}

impl Road {
    async fn join(&self, mut client: TcpStream) -> io::Result<()> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
        let mut server = socket.connect(self.server).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let ended = tokio::select! {
            ended = self.carry(Way::ToServer, from_client, to_server) => ended?,
            ended = self.carry(Way::ToClient, from_server, to_client) => ended?,
        };
        if matches!(ended, Ended::Reset) {
            client.set_zero_linger()?;
            server.set_zero_linger()?;
        }
        Ok(())
    }

    /// Carries what comes `from` one end to the other, through the gate and
    /// into the fault.
    async fn carry(
        &self,
        way: Way,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
    ) -> io::Result<Ended> {
        let mut gate = self.gates[way as usize].subscribe();
        let mut load = vec![0; LOAD_BYTES];
        let mut carried = 0;
        loop {
            let strikes = self.fault_in(way, carried);
            match strikes {
                Some((0, Fault::Reset)) => {
                    self.strike().await;
                    return Ok(Ended::Reset);
                }
                Some((0, Fault::End)) => {
                    self.strike().await;
                    to.shutdown().await?;
                    return future::pending().await;
                }
                _ => {}
            }
            let room = gate.borrow_and_update().room(carried);
            let room = strikes.map_or(room, |(bytes, _)| room.min(bytes.max(1)));
            let room = usize::try_from(room).map_or(LOAD_BYTES, |room| room.min(LOAD_BYTES));
            let read = tokio::select! {
                biased;
                _ = gate.changed() => continue,
                read = from.read(&mut load[..room]), if room > 0 => read,
            };
            if *gate.borrow() == Gate::Lose {
                if !matches!(read, Ok(1..)) {
                    // The other end hears nothing of it until the road is mended.
                    let _ = gate.changed().await;
                }
                continue;
            }
            let read = read?;
            if read == 0 {
                to.shutdown().await?;
                return Ok(Ended::Closed);
            }
            if let Some((0, Fault::Flip(bits))) = strikes {
                self.strike().await;
                load[0] ^= bits;
            }
            to.write_all(&load[..read]).await?;
            carried += read as u64;
        }
    }

    /// The fault that lies ahead in this direction, and in how many bytes.
    fn fault_in(&self, way: Way, carried: u64) -> Option<(u64, Fault)> {
        let (its_way, at, fault) = self.fault?;
        (its_way == way).then_some(())?;
        Some((at.checked_sub(carried)?, fault))
    }

    async fn strike(&self) {
        // What was carried before is taken first: an end that comes together
        // with it would hide it.
        for _ in 0..TURNS_BEFORE_FAULT {
            yield_now().await;
        }
        self.has_struck.store(true, Ordering::Relaxed);
    }
}
