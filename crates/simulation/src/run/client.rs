//! What clients do, one thing after the other, each on a machine of its own.
//! `put`, `change`, `list` and `read` have the single operations, and whether
//! what comes of them is right.

use std::fmt;
use std::time::Duration;

use dfs_core::api::PutMode;
use dfs_core::client::{Client, ClientSettings};
use dfs_core::units::Span;
use futures_util::{StreamExt, stream};

use super::state::{Run, client_name};
use crate::cluster::COORDINATOR;
use crate::history::{Begun, Outcome, Version};
use crate::host::Host;
use crate::rng::Rng;
use crate::sample::mixed_bytes;
use crate::scenario::{Act, Op, name_before};

/// No call of a client may take longer, whatever happens.
const CALL_TIME_MAX: Duration = Duration::from_secs(900);
/// How many puts at once store what shall be there before.
const STORED_AT_ONCE: usize = 16;

impl Run<'_> {
    /// Makes the clients' machines.
    pub(super) fn prepare(&self) {
        for number in 1..=self.scenario.cluster.clients {
            let port = u16::try_from(number).expect("few clients");
            self.world.add_host(&client_name(number), port).start();
        }
        self.cluster.client_host().kill();
    }

    /// Stores the files that shall be there before anything goes wrong.
    pub(super) async fn store_before(&self) {
        let Some(workload) = &self.scenario.workload else { return };
        let mut rng = self.world.rng("stored before");
        let ops: Vec<Op> = (0..workload.stored_before)
            .map(|number| Op {
                client: 1 + number % self.scenario.cluster.clients,
                after: Span::default(),
                act: Act::Put,
                name: name_before(number + 1),
                size: Some(workload.draw_size(&mut rng)),
                offset: None,
                len: None,
            })
            .collect();
        let puts = stream::iter(&ops).map(|op| self.act(op));
        puts.buffer_unordered(STORED_AT_ONCE).for_each(async |()| {}).await;
    }

    /// Does all that one client shall do.
    pub(super) async fn work(&self, client: usize) {
        let until = tokio::time::Instant::now() + self.scenario.lasts.0;
        for op in self.scenario.ops.iter().filter(|op| op.client == client) {
            self.world.pass(op.after.0).await;
            if tokio::time::Instant::now() >= until || self.has_failed() {
                return;
            }
            self.act(op).await;
        }
    }

    /// Does one thing.
    async fn act(&self, op: &Op) {
        let _working = self.quiet.read().await;
        let host = self.client_machine(op.client);
        let from = self.world.steps();
        let acting = async {
            match op.act {
                Act::Put => self.put(&host, op, PutMode::IfAbsent).await,
                Act::Replace => self.put(&host, op, PutMode::Replace).await,
                Act::Get => self.read(&host, &op.name, None).await,
                Act::GetRange => {
                    let start = op.offset.map_or(0, |offset| offset.0);
                    let end = start + op.len.map_or(1, |len| len.0);
                    self.read(&host, &op.name, Some(start..end)).await;
                }
                Act::Remove => self.remove(&host, op).await,
                Act::Rename => self.rename(&host, op).await,
                Act::List => self.list(&host).await,
            }
        };
        let before = self.guard.borrow().only_trouble();
        let began = tokio::time::Instant::now();
        let ended = tokio::time::timeout(CALL_TIME_MAX, acting).await;
        if let Some((only, _)) = before
            && before == self.guard.borrow().only_trouble()
        {
            self.check_time(op, only, began.elapsed());
        }
        if ended.is_err() {
            let text = format!("a {} of {} hangs for {CALL_TIME_MAX:?}", op.act.name(), op.name);
            self.violates("L1", text);
        }
        self.note_op_steps(from);
    }

    /// The machine of a client, which runs.
    pub(super) fn client_machine(&self, number: usize) -> std::sync::Arc<Host> {
        let host = self.world.host(&client_name(number));
        if !host.is_up() {
            host.start();
        }
        host
    }

    pub(super) fn client(&self, host: &Host) -> Client {
        let env = host.env();
        let coordinator = env.peers.coordinator(self.cluster.host(COORDINATOR).address());
        Client::new(env, coordinator, ClientSettings::default())
    }

    pub(super) fn end_change(&self, act: Act, begun: Begun, outcome: Outcome, is_expected: bool) {
        self.history.borrow_mut().end(begun, outcome);
        self.count_op(act, |count| match outcome {
            Outcome::Acknowledged => count.ok += 1,
            _ if is_expected => count.refused += 1,
            _ => count.failed += 1,
        });
    }

    pub(super) fn note<E: fmt::Display>(
        &self,
        op: &Op,
        how: &dyn fmt::Display,
        result: &Result<(), E>,
    ) {
        let trace = self.world.trace();
        let (client, act, name) = (client_name(op.client), op.act.name(), &op.name);
        match result {
            Ok(()) => trace.event(&client, format_args!("{act} {name} {how}: acknowledged")),
            Err(error) => trace.event(&client, format_args!("{act} {name} {how}: {error}")),
        }
    }

    /// The number of a new content of so many bytes.
    pub(super) fn new_version(&self, len: usize) -> Version {
        let mut contents = self.contents.borrow_mut();
        contents.push(len);
        contents.len() - 1
    }

    /// The bytes of a version.
    pub(super) fn content(&self, version: Version) -> Vec<u8> {
        let len = self.contents.borrow()[version];
        let mut rng = Rng::derive(self.world.seed() ^ (version as u64) << 20, "content");
        mixed_bytes(&mut rng, len)
    }
}
