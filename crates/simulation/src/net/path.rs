//! The way from one process to one address: what a message goes through.

use std::sync::Arc;
use std::time::Duration;

use dfs_core::api::{Error, Kind, Receipt};
use dfs_core::id::Handle;
use tokio::time::Instant;

use super::link::End;
use super::message::Message;
use super::{CALL_TIMEOUT, Deleted, Net, PING_INTERVAL, Rebuilt, SILENCE_MAX};
use crate::host::Host;
use crate::task::TaskGroup;
use crate::trace;

/// What a call from a process that is gone takes to fail, so that a task of
/// that process is dropped before it hears anything.
const GONE_TIME: Duration = Duration::from_millis(1);

/// A name, and the number that the network knows it by.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) number: u32,
    pub(super) name: Arc<str>,
}

/// From whom to where. Clones are the same way.
#[derive(Clone)]
pub(super) struct Path(Arc<Inner>);

struct Inner {
    net: Net,
    /// The process that calls.
    caller: TaskGroup,
    from: Place,
    /// The host that is called, whose name stands before the port.
    to: Place,
    address: String,
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Out,
    Back,
}

/// Why a message does not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// Nobody is told; its ends find out by themselves.
    Lost,
    /// Both ends see a reset.
    Reset,
    /// The process that calls is gone.
    Gone,
}

impl Path {
    pub(super) fn new(net: Net, caller: TaskGroup, from: Place, address: &str) -> Self {
        let name = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let to = net.place(name);
        Self(Arc::new(Inner { net, caller, from, to, address: address.to_owned() }))
    }

    /// The host that is called holds a copy that it was told to rebuild.
    pub(super) fn note_rebuilt(&self, began_ms: u64, sources: Vec<String>, receipt: &Receipt) {
        let host_of = |address: &String| {
            address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host).to_owned()
        };
        let made = (self.0.to.name.to_string(), receipt.handle);
        self.0.net.state().made.push(made);
        self.0.net.state().last_made_ms = trace::elapsed_ms();
        self.0.net.state().rebuilt.push(Rebuilt {
            began_ms,
            ended_ms: trace::elapsed_ms(),
            onto: self.0.to.name.to_string(),
            sources: sources.iter().map(host_of).collect(),
            from_parity: receipt.from_parity,
            bytes_pulled: receipt.bytes_pulled,
        });
    }

    /// The host that is called is told to delete copies.
    pub(super) fn note_deleted(&self, handles: &[Handle]) {
        let host = self.0.to.name.to_string();
        let copies = handles.iter().map(|handle| (host.clone(), *handle));
        self.0.net.state().deleted.extend(copies);
    }

    /// Notes copies that the peer has deleted, as it was told.
    pub(super) fn note_deletions(&self, handles: Vec<Handle>, told_ms: u64) {
        let (at_ms, node) = (trace::elapsed_ms(), self.0.to.name.to_string());
        self.0.net.state().deletions.push(Deleted { at_ms, node, handles, told_ms });
    }

    /// Lets one message go its way.
    pub(super) async fn travel(&self, way: Way, message: Message<'_>) -> Result<(), Broken> {
        let Inner { net, caller, .. } = &*self.0;
        let (from, to) = self.ends(way);
        self.go_on().await?;
        let is_sent = net.step(from, format_args!("sends to {}: {message}", to.name));
        if caller.has_ended() {
            return Err(self.gone().await);
        }
        if !is_sent {
            return Err(Broken::Reset);
        }
        let is_answer = matches!(message, Message::Answer(..));
        let fate = net.draw(from.number, to.number, is_answer);
        let turn = match message {
            Message::Frame(bytes) => net.turn(from.number, to.number, bytes.len() as u64),
            _ => Duration::ZERO,
        };
        tokio::time::sleep(fate.latency + turn).await;
        self.go_on().await?;
        let is_taken = matches!(way, Way::Back) || !net.takes_no_calls(from.number, to.number);
        let end = if is_taken { fate.end } else { End::Cut };
        let end = net.arrive(from, to, end, message);
        match end {
            End::Lost | End::Cut => Err(Broken::Lost),
            End::Reset => Err(Broken::Reset),
            End::Arrived => self.receive(way, message).await,
        }
    }

    /// Lets a call that has arrived arrive once more.
    pub(super) async fn travel_again(&self, what: &'static str) {
        let Inner { net, from, to, .. } = &*self.0;
        tokio::time::sleep(net.draw(from.number, to.number, false).latency).await;
        net.note_doubled(from, to, what);
        net.step(to, format_args!("receives from {} again: {what}", from.name));
    }

    /// A message is there. Whoever dies of it hears no more of it.
    async fn receive(&self, way: Way, message: Message<'_>) -> Result<(), Broken> {
        let (from, to) = self.ends(way);
        self.0.net.step(to, format_args!("receives from {}: {message}", from.name));
        self.go_on().await
    }

    /// Lets the refusal of a call come back. No process sends it.
    pub(super) async fn refuse(&self, what: &'static str) -> Result<(), Broken> {
        let Inner { net, from, to, .. } = &*self.0;
        let fate = net.draw(to.number, from.number, false);
        tokio::time::sleep(fate.latency).await;
        self.go_on().await?;
        match net.arrive(to, from, fate.end, Message::Refused(what)) {
            End::Lost | End::Cut => Err(Broken::Lost),
            End::Arrived | End::Reset => Ok(()),
        }
    }

    /// Ends when the other end has not answered for [`SILENCE_MAX`], as pings
    /// find out: because a direction is cut, or its process stands still.
    pub(super) async fn silence(&self, other: &TaskGroup) {
        let mut unanswered_since = None;
        loop {
            tokio::time::sleep(PING_INTERVAL).await;
            if !other.is_paused() && !self.is_cut() {
                unanswered_since = None;
                continue;
            }
            let since = *unanswered_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= SILENCE_MAX {
                return;
            }
        }
    }

    /// The end of a stream that is closed is learned at once, unless the link
    /// is cut.
    pub(super) async fn learn_of_end(&self) {
        if self.is_cut() {
            tokio::time::sleep(SILENCE_MAX).await;
        }
    }

    /// True when pings get no answer for the link's fault.
    pub(super) fn is_cut(&self) -> bool {
        let Inner { net, from, to, .. } = &*self.0;
        net.is_cut(from.number, to.number) || net.takes_no_calls(from.number, to.number)
    }

    pub(super) fn net(&self) -> &Net {
        &self.0.net
    }

    /// The host that is called.
    pub(super) fn to(&self) -> &Place {
        &self.0.to
    }

    /// The number of the host that calls.
    pub(super) fn caller_number(&self) -> u32 {
        self.0.from.number
    }

    /// The process that calls.
    pub(super) fn caller(&self) -> &TaskGroup {
        &self.0.caller
    }

    /// The address that is called.
    pub(super) fn address(&self) -> &str {
        &self.0.address
    }

    /// The name of the host that calls.
    pub(super) fn caller_name(&self) -> &str {
        &self.0.from.name
    }

    /// The host that listens there.
    pub(super) fn host(&self) -> Option<Arc<Host>> {
        self.0.net.host_at(&self.0.to, &self.0.address)
    }

    /// Draws whether a call is delivered twice.
    pub(super) fn doubles(&self) -> bool {
        self.0.net.doubles(self.0.from.number, self.0.to.number)
    }

    /// What the caller hears, and when, of what broke `what`.
    pub(super) async fn error_of(&self, broken: Broken, what: &'static str) -> Error {
        match broken {
            Broken::Lost => {
                tokio::time::sleep(CALL_TIMEOUT).await;
                self.unavailable(&format!("no answer to {what} in {CALL_TIMEOUT:?}"))
            }
            Broken::Reset => self.reset(),
            Broken::Gone => self.unavailable("the calling process is gone"),
        }
    }

    pub(super) fn reset(&self) -> Error {
        self.unavailable("the connection was reset")
    }

    pub(super) fn silent(&self) -> Error {
        self.unavailable("the stream was silent")
    }

    pub(super) fn unavailable(&self, why: &str) -> Error {
        Error::new(Kind::Unavailable, format!("cannot reach {}: {why}", self.0.address))
    }

    /// Waits while the caller's process stands still, and fails when it is
    /// gone.
    async fn go_on(&self) -> Result<(), Broken> {
        let caller = &self.0.caller;
        caller.unpaused().await;
        if caller.has_ended() { Err(self.gone().await) } else { Ok(()) }
    }

    /// A task of the dead process never gets beyond this.
    async fn gone(&self) -> Broken {
        tokio::time::sleep(GONE_TIME).await;
        Broken::Gone
    }

    fn ends(&self, way: Way) -> (&Place, &Place) {
        match way {
            Way::Out => (&self.0.from, &self.0.to),
            Way::Back => (&self.0.to, &self.0.from),
        }
    }
}
