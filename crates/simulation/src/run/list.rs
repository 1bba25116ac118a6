//! Listings, and whether they show what is there.

use std::collections::BTreeMap;

use dfs_core::api::{List, ListEntry};

use super::change::flatten;
use super::state::Run;
use crate::host::Host;
use crate::scenario::Act;

impl Run<'_> {
    pub(super) async fn list(&self, host: &Host) {
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
}
