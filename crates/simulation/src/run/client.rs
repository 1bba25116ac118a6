//! What clients do, and whether what they see is right.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use dfs_core::api::{Kind, List, ListEntry, PutMode, Remove, Rename};
use dfs_core::client::{
    Client, ClientError, ClientSettings, Doubt, GetSummary, Progress, PutOptions, PutSummary,
};
use dfs_core::mark::{Mark, reached};
use dfs_core::units::{ByteSize, Span};
use futures_util::{StreamExt, stream};

use super::state::{Run, client_name};
use crate::cluster::{COORDINATOR, MemorySink, file_name, options, seekable};
use crate::history::{Allowed, Begun, Moment, Outcome, Version};
use crate::host::Host;
use crate::rng::Rng;
use crate::sample::mixed_bytes;
use crate::scenario::{Act, Op, name_before};

/// No call of a client may take longer, whatever happens.
const CALL_TIME_MAX: Duration = Duration::from_secs(900);
/// The file that is stored when all is over.
const PUT_AT_THE_END: &str = "at-the-end";
/// How often that is tried: where life is hard, a put may fail by chance.
const TRIES_AT_THE_END_MAX: u32 = 5;
/// Of so many puts, one is strict.
const STRICT_ONE_OF: usize = 8;
/// How many puts at once store what shall be there before.
const STORED_AT_ONCE: usize = 16;

/// How a read went.
type Read = Result<(Vec<u8>, GetSummary), ClientError>;

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

    fn client(&self, host: &Host) -> Client {
        let env = host.env();
        let coordinator = env.peers.coordinator(self.cluster.host(COORDINATOR).address());
        Client::new(env, coordinator, ClientSettings::default())
    }

    async fn put(&self, host: &Host, op: &Op, mode: PutMode) {
        let len = usize::try_from(op.size.map_or(0, |size| size.0)).expect("fits into memory");
        let version = self.new_version(len);
        let bytes = self.content(version);
        let begun = self.history.borrow_mut().begin(&op.name, Some(version));
        let was_tainted = !self.guard.borrow().tainted.is_empty();
        let was_well = self.guard.borrow().all_well_since();
        let ledger_lost_ms = self.ledger_lost_since_ms();
        let ledger_full_ms = self.known_full_since_ms();
        let client = self.client(host);
        let is_strict = version % STRICT_ONE_OF == STRICT_ONE_OF - 1;
        let how = PutOptions { mode, is_strict, ..options(&op.name) };
        let running =
            host.spawn(async move { client.put(seekable(&bytes), how, &Progress::new()).await });
        let result: Result<PutSummary, ClientError> = match running.await {
            Ok(result) => result,
            Err(_ended) => Err(ClientError::new(Kind::NotKnown, "the client was killed")),
        };
        if let Ok(summary) = &result
            && summary.copies_missing > 0
        {
            if is_strict {
                let text = format!("a strict put of {} lacks copies", op.name);
                self.violates("I4", text);
            }
            reached(Mark::PutDegraded);
            self.thin.borrow_mut().insert(version);
            if was_tainted || !self.guard.borrow().tainted.is_empty() {
                self.history.borrow_mut().mark_fragile(begun);
            }
        }
        let outcome = match &result {
            Ok(_) => Outcome::Acknowledged,
            Err(error) if error.kind == Kind::NotKnown => Outcome::Unclear,
            // Every other failure promises that nothing is or will be stored.
            Err(_) => Outcome::Refused,
        };
        let is_expected = matches!(
            &result,
            Err(error) if matches!(error.kind, Kind::Exists | Kind::Superseded)
        );
        if let Err(error) = &result
            && !is_expected
            && self.scenario.hard.is_empty()
            && was_well.is_some()
            && was_well == self.guard.borrow().all_well_since()
        {
            let text = format!("{} cannot be stored, and nothing is wrong: {error}", op.name);
            self.violates("L1", text);
        }
        if outcome == Outcome::Acknowledged {
            self.check_ledger_there(&op.name, ledger_lost_ms);
            self.check_ledger_room(&op.name, ledger_full_ms);
            self.see_zones(&op.name).await;
        }
        self.note(op, &format_args!("{len} bytes as version {version}"), &result.map(drop));
        self.end_change(op.act, begun, outcome, is_expected);
    }

    async fn remove(&self, host: &Host, op: &Op) {
        let begun = self.history.borrow_mut().begin(&op.name, None);
        let began = self.history.borrow_mut().tick();
        let ledger_lost_ms = self.ledger_lost_since_ms();
        let client = self.client(host);
        let path = op.name.clone();
        let running = host.spawn(async move {
            let doubt = Doubt { what: "it was removed", look: "ls" };
            client
                .change(doubt, |coordinator, request| {
                    let (path, request) = (path.clone(), Some(request));
                    let remove = Remove { path, is_recursive: false, is_dry_run: false, request };
                    async move { coordinator.remove(remove).await }
                })
                .await
        });
        let result = flatten(running.await);
        if matches!(&result, Err(error) if error.kind == Kind::NoSpace) {
            self.violates("I10", format!("{} cannot be removed for want of space", op.name));
        }
        let (outcome, is_expected) = changed(&result);
        if result.is_ok() {
            self.check_ledger_there(&format!("the removal of {}", op.name), ledger_lost_ms);
        }
        self.note(op, &"", &result.as_ref().map(drop));
        self.end_change(op.act, begun, outcome, is_expected);
        self.check_refusal(&op.name, began, &result);
    }

    /// Checks that a change which is refused because its file is not there
    /// tells the truth: that at some moment since it began there was none. A
    /// repeat of a change that was made must not say so.
    fn check_refusal<T>(
        &self,
        name: &str,
        began: Moment,
        result: &Result<T, dfs_core::api::Error>,
    ) {
        if !matches!(result, Err(error) if error.kind == Kind::NotFound) {
            return;
        }
        let ended = self.history.borrow_mut().tick();
        let allowed = self.history.borrow().allowed(name, began, ended);
        if !allowed.absent {
            let text = format!("{name} is said not to be there; right is {allowed:?}");
            self.violates("I15", text);
        }
    }

    /// Gives a file a name that no other call uses, so that what is under it
    /// is known but for which version was moved.
    async fn rename(&self, host: &Host, op: &Op) {
        let (to, begun, began, going, moved) = {
            let mut history = self.history.borrow_mut();
            let begun = history.begin(&op.name, None);
            let began = history.tick();
            let to = format!("moved/{began}");
            // What is put under the old name meanwhile may be moved too: the
            // new name is open even when there is no content yet.
            let going = history.begin(&to, None);
            let versions = history.versions(&op.name);
            let moved: Vec<Begun> =
                versions.iter().map(|version| history.begin(&to, Some(*version))).collect();
            (to, begun, began, going, moved)
        };
        let client = self.client(host);
        let (from, onto) = (file_name(&op.name), file_name(&to));
        let running = host.spawn(async move {
            let doubt = Doubt { what: "it was renamed", look: "ls" };
            client
                .change(doubt, |coordinator, request| {
                    let (from, to, request) = (from.clone(), onto.clone(), Some(request));
                    let rename = Rename { from, to, mode: PutMode::IfAbsent, request };
                    async move { coordinator.rename(rename).await }
                })
                .await
        });
        let result = flatten(running.await);
        if matches!(&result, Err(error) if error.kind == Kind::Exists) {
            self.violates("I15", format!("{to} is said to exist, and no other call uses it"));
        }
        let (outcome, is_expected) = changed(&result);
        self.note(op, &format_args!("to {to}"), &result);
        if outcome != Outcome::Unclear {
            self.history.borrow_mut().end(going, Outcome::Refused);
        }
        self.end_move(op, &to, began, moved, outcome);
        self.end_change(op.act, begun, outcome, is_expected);
        self.check_refusal(&op.name, began, &result);
    }

    /// A rename that began at `began` ended: any content may have been moved
    /// that was under the old name at some moment meanwhile.
    fn end_move(&self, op: &Op, to: &str, began: u64, mut moved: Vec<Begun>, outcome: Outcome) {
        let mut history = self.history.borrow_mut();
        let ended = history.tick();
        let allowed = history.allowed(&op.name, began, ended).versions;
        let versions = history.versions(&op.name);
        for late in versions.iter().skip(moved.len()) {
            let begun = history.begin_late(to, Some(*late), began);
            moved.push(begun);
        }
        for (version, moved) in versions.iter().zip(moved) {
            let may_be = allowed.contains(version);
            history.end(moved, if may_be { outcome } else { Outcome::Refused });
        }
    }

    async fn list(&self, host: &Host) {
        let began = self.history.borrow_mut().tick();
        let client = self.client(host);
        let request = List { prefix: String::new(), after: None, limit: 1000, by_folder: false };
        let running = host.spawn(async move {
            client
                .call(|coordinator| {
                    let request = request.clone();
                    async move { coordinator.list(request).await }
                })
                .await
        });
        let result = flatten(running.await);
        let ended = self.history.borrow_mut().tick();
        match result {
            Ok(page) if page.next.is_none() => {
                self.check_listing(&page.entries, began, ended);
                self.count_op(Act::List, |count| count.ok += 1);
            }
            Ok(_) => self.count_op(Act::List, |count| count.ok += 1),
            Err(error) => {
                self.world.trace().event(host.name(), format_args!("list: {error}"));
                self.count_op(Act::List, |count| count.failed += 1);
            }
        }
    }

    /// A whole listing that was asked for at `began` and had come at `ended`.
    pub(super) fn check_listing(&self, entries: &[ListEntry], began: u64, ended: u64) {
        let history = self.history.borrow();
        let listed: BTreeMap<&str, u64> = entries
            .iter()
            .filter_map(|entry| match entry {
                ListEntry::File(info) => Some((info.name.as_str(), info.size)),
                ListEntry::Folder { .. } => None,
            })
            .collect();
        let mut wrong = Vec::new();
        // What is being moved may be of any size that was there meanwhile.
        let is_known = |name: &str| !(name.starts_with("moved/") && history.is_open(name));
        for (name, size) in listed.iter().filter(|(name, _)| is_known(name)) {
            let allowed = history.allowed(name, began, ended);
            let contents = self.contents.borrow();
            if !allowed.versions.iter().any(|version| contents[*version] as u64 == *size) {
                wrong.push(format!("{name} of {size} bytes is listed, right is {allowed:?}"));
            }
        }
        for name in history.names().filter(|name| !listed.contains_key(name)) {
            if !history.allowed(name, began, ended).absent {
                wrong.push(format!("{name} is not listed, and nobody removed it"));
            }
        }
        drop(history);
        for text in wrong {
            self.violates("I3", text);
        }
    }

    async fn read(&self, host: &Host, name: &str, range: Option<Range<u64>>) {
        let began = self.history.borrow_mut().tick();
        let was_promised = self.promises_reads();
        let act = if range.is_some() { Act::GetRange } else { Act::Get };
        let running = self.begin_read(host, name, range.clone());
        let read: Read = match running.await {
            Ok(read) => read,
            Err(_ended) => {
                self.count_op(act, |count| count.failed += 1);
                return;
            }
        };
        let ended = self.history.borrow_mut().tick();
        let is_promised = was_promised && self.promises_reads();
        self.check_read(name, range, read, (began, ended), is_promised);
    }

    fn begin_read(
        &self,
        host: &Host,
        name: &str,
        range: Option<Range<u64>>,
    ) -> crate::task::Running<Read> {
        let (client, name) = (self.client(host), file_name(name));
        let is_ordered = self.chance.borrow_mut().chance(1, 2);
        host.spawn(async move {
            let mut sink = MemorySink { is_ordered, ..MemorySink::default() };
            let summary = client.get(&name, range, &mut sink, &Progress::new()).await?;
            Ok((sink.bytes, summary))
        })
    }

    /// Stores a file when all is over: then there is no reason not to take it.
    pub(super) async fn put_at_the_end(&self) {
        let op = Op {
            client: 1,
            after: Span::default(),
            act: Act::Replace,
            name: PUT_AT_THE_END.to_owned(),
            size: Some(ByteSize(100 << 10)),
            offset: None,
            len: None,
        };
        let before = self.ended_well(Act::Replace);
        for _ in 0..TRIES_AT_THE_END_MAX {
            let host = self.client_machine(op.client);
            self.put(&host, &op, PutMode::Replace).await;
            if self.ended_well(Act::Replace) > before || self.has_failed() {
                return;
            }
            self.world.pass(Duration::from_secs(5)).await;
        }
        // Where nodes say of chunks that they wrote that they did not, and no
        // other node is there, no number of tries is enough.
        if !self.scenario.hard.iter().any(|place| place == "fail-after-write") {
            self.violates("L1", format!("{PUT_AT_THE_END} cannot be stored, and all has healed"));
        }
    }

    /// Reads a file when all is over: then no error is right.
    pub(super) async fn read_at_the_end(&self, name: &str) {
        let host = self.client_machine(1);
        let began = self.history.borrow_mut().tick();
        let Ok(read) = self.begin_read(&host, name, None).await else { return };
        let ended = self.history.borrow_mut().tick();
        let is_there = !self.history.borrow().allowed(name, began, ended).absent;
        let mut lost = self.lost.borrow_mut();
        match read.is_err() && is_there {
            true => lost.insert(name.to_owned()),
            false => lost.remove(name),
        };
        drop(lost);
        self.check_read(name, None, read, (began, ended), !self.scenario.beyond_tolerance);
    }

    fn check_read(
        &self,
        name: &str,
        range: Option<Range<u64>>,
        read: Read,
        (began, ended): (u64, u64),
        is_promised: bool,
    ) {
        let act = if range.is_some() { Act::GetRange } else { Act::Get };
        let allowed = self.history.borrow().allowed(name, began, ended);
        match read {
            Ok((bytes, summary)) => {
                self.count_reading(&summary);
                self.check_bytes(name, range, &bytes, &allowed, ended);
                self.count_op(act, |count| count.ok += 1);
            }
            Err(error) => {
                self.world.trace().event("oracle", format_args!("{name} is not read: {error}"));
                self.check_error(name, range, &error, &allowed, is_promised);
                let is_absent = error.kind == Kind::NotFound;
                self.count_op(act, |count| match is_absent {
                    true => count.refused += 1,
                    false => count.failed += 1,
                });
            }
        }
    }

    fn check_bytes(
        &self,
        name: &str,
        range: Option<Range<u64>>,
        bytes: &[u8],
        allowed: &Allowed,
        ended: u64,
    ) {
        let is_right = |version: &Version| *part(&self.content(*version), range.as_ref()) == *bytes;
        let mut right = allowed.versions.iter().filter(|version| is_right(version));
        match (right.next(), right.next()) {
            (Some(only), None) if bytes.len() >= 16 => {
                self.history.borrow_mut().saw(name, *only, ended);
            }
            (Some(_), _) => {}
            (None, _) => {
                let ever = self.history.borrow().versions(name);
                let (rule, what) = match ever.iter().find(|version| is_right(version)) {
                    Some(old) => ("I3", format!("version {old}, which was replaced or removed")),
                    None => ("I2", "bytes that were never put there".to_owned()),
                };
                let part = range.map(|range| format!(" {range:?}")).unwrap_or_default();
                self.violates(
                    rule,
                    format!(
                        "a read of {name}{part} gave {} bytes: {what}; right is {allowed:?}",
                        bytes.len()
                    ),
                );
            }
        }
    }

    fn check_error(
        &self,
        name: &str,
        range: Option<Range<u64>>,
        error: &ClientError,
        allowed: &Allowed,
        is_promised: bool,
    ) {
        let contents = self.contents.borrow();
        let is_behind_end = |version: &Version| {
            range.as_ref().is_some_and(|range| range.start >= contents[*version] as u64)
        };
        let (rule, is_right) = match error.kind {
            Kind::NotFound => ("I1", allowed.absent),
            Kind::Invalid => ("I1", allowed.versions.iter().any(is_behind_end)),
            _ if self.scenario.beyond_tolerance || allowed.is_fragile => ("I1", true),
            Kind::Integrity => ("I1", !is_promised && self.guard.borrow().is_hurt),
            Kind::Unavailable => {
                let is_thin = allowed.versions.iter().any(|v| self.thin.borrow().contains(v));
                // Replaced while it was read: one of several may be seen.
                let is_moving = allowed.versions.len() + usize::from(allowed.absent) > 1;
                ("I1", !is_promised || is_thin || is_moving)
            }
            _ => ("I1", !is_promised),
        };
        drop(contents);
        if !is_right {
            self.violates(
                rule,
                format!("{name} cannot be read: {:?}: {error}; right is {allowed:?}", error.kind),
            );
        }
    }

    fn promises_reads(&self) -> bool {
        !self.scenario.beyond_tolerance && self.guard.borrow().promises_reads()
    }

    fn count_reading(&self, summary: &GetSummary) {
        let mut tally = self.tally.borrow_mut();
        tally.read_from_other_copy += summary.from_other_copy;
        tally.read_from_parity += summary.from_parity;
        tally.found_bad += summary.bad.len() as u64;
    }

    fn end_change(&self, act: Act, begun: Begun, outcome: Outcome, is_expected: bool) {
        self.history.borrow_mut().end(begun, outcome);
        self.count_op(act, |count| match outcome {
            Outcome::Acknowledged => count.ok += 1,
            _ if is_expected => count.refused += 1,
            _ => count.failed += 1,
        });
    }

    fn note<E: fmt::Display>(&self, op: &Op, how: &dyn fmt::Display, result: &Result<(), E>) {
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

/// The bytes of `range` that there are.
fn part<'b>(bytes: &'b [u8], range: Option<&Range<u64>>) -> &'b [u8] {
    let Some(range) = range else { return bytes };
    let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    &bytes[clamp(range.start)..clamp(range.end)]
}

fn flatten<T>(
    result: Result<Result<T, dfs_core::api::Error>, crate::task::Ended>,
) -> Result<T, dfs_core::api::Error> {
    result.unwrap_or_else(|ended| Err(dfs_core::api::Error::new(Kind::NotKnown, ended.to_string())))
}

/// What the answer to a removal or a renaming says of its effect, and whether
/// it is a plain no.
fn changed<T>(result: &Result<T, dfs_core::api::Error>) -> (Outcome, bool) {
    match result {
        Ok(_) => (Outcome::Acknowledged, false),
        // Every failure but this one promises that there is no effect.
        Err(error) if error.kind == Kind::NotKnown => (Outcome::Unclear, false),
        Err(error) => {
            (Outcome::Refused, matches!(error.kind, Kind::NotFound | Kind::Invalid | Kind::Exists))
        }
    }
}
