//! Reads, and whether their bytes, or their errors, are right.

use std::ops::Range;

use dfs_core::api::Kind;
use dfs_core::client::{ClientError, GetSummary, Progress};

use super::state::Run;
use crate::cluster::{MemorySink, file_name};
use crate::history::{Allowed, Version};
use crate::host::Host;
use crate::scenario::Act;
use crate::task::Running;

/// How a read went.
type Read = Result<(Vec<u8>, GetSummary), ClientError>;

impl Run<'_> {
    pub(super) async fn read(&self, host: &Host, name: &str, range: Option<Range<u64>>) {
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

    fn begin_read(&self, host: &Host, name: &str, range: Option<Range<u64>>) -> Running<Read> {
        let (client, name) = (self.client(host), file_name(name));
        let is_ordered = self.chance.borrow_mut().chance(1, 2);
        host.spawn(async move {
            let mut sink = MemorySink { is_ordered, ..MemorySink::default() };
            let summary = client.get(&name, range, &mut sink, &Progress::new()).await?;
            Ok((sink.bytes, summary))
        })
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
}

/// The bytes of `range` that there are.
fn part<'b>(bytes: &'b [u8], range: Option<&Range<u64>>) -> &'b [u8] {
    let Some(range) = range else { return bytes };
    let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    &bytes[clamp(range.start)..clamp(range.end)]
}
