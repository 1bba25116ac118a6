//! The catalog against a naive one: a plain list of files, searched from end
//! to end.

use proptest::prelude::*;

use super::fixture::{NAMES, Wish, name, opened, wishes};
use super::record::{Answer, FileRecord, StripeRecord};
use super::{Catalog, Command, Listed, Listing, Recalled, Retention, Rows, Totals};
use crate::id::{Handle, RequestId};

#[derive(Default)]
struct Model {
    files: Vec<(FileRecord, Vec<StripeRecord>)>,
    /// Client, sequence, when, and the answer: whether it was granted.
    answers: Vec<(u64, u64, u64, bool)>,
    forgotten: u64,
}

impl Model {
    fn at(&self, text: &str) -> Option<usize> {
        self.files.iter().position(|(file, _)| file.name.as_str() == text)
    }

    fn clashes(&self, text: &str, passing: Option<&str>) -> bool {
        let below = |name: &str, folder: &str| name.starts_with(&format!("{folder}/"));
        self.files
            .iter()
            .map(|(file, _)| file.name.as_str())
            .any(|other| Some(other) != passing && (below(other, text) || below(text, other)))
    }

    /// Whether the command must be granted; does it if so. `None`: no say.
    fn apply(&mut self, command: &Command) -> Option<bool> {
        match command {
            Command::CommitFile { file, stripes, replace } => {
                let is_used = self.files.iter().any(|(other, _)| other.id == file.id);
                let old = self.at(file.name.as_str());
                let may_replace = old.is_none_or(|at| *replace && self.files[at].0.id < file.id);
                if is_used || !may_replace || self.clashes(file.name.as_str(), None) {
                    return Some(false);
                }
                if let Some(at) = old {
                    self.files.remove(at);
                }
                self.files.push((file.clone(), stripes.clone()));
                Some(true)
            }
            Command::RemoveFiles { names } => {
                self.files.retain(|(file, _)| !names.contains(&file.name));
                Some(true)
            }
            Command::Rename { from, to, replace } => {
                let Some(at) = self.at(from.as_str()) else { return Some(false) };
                if from == to {
                    return Some(true);
                }
                let old = self.at(to.as_str());
                if self.clashes(to.as_str(), Some(from.as_str())) || (old.is_some() && !replace) {
                    return Some(false);
                }
                self.files[at].0.name = to.clone();
                if let Some(old) = old {
                    self.files.remove(old);
                }
                Some(true)
            }
            Command::SetCopies { handle, expected, copies } => {
                let chunk = self.files.iter_mut().flat_map(|(_, stripes)| stripes).find_map(|s| {
                    let slot = (0..s.chunks.len()).find(|slot| s.handle(*slot) == *handle)?;
                    s.chunks.get_mut(slot)
                });
                let Some(chunk) = chunk else { return Some(false) };
                let (mut one, mut two) = (chunk.copies.to_vec(), expected.to_vec());
                one.sort_unstable();
                two.sort_unstable();
                let mut distinct = copies.to_vec();
                distinct.sort_unstable();
                distinct.dedup();
                if one != two || copies.is_empty() || distinct.len() != copies.len() {
                    return Some(false);
                }
                // Which members there are is not the model's business.
                None
            }
            Command::Requested { request, command, retention, .. } => {
                let (client, sequence) = (request.client.0, request.sequence);
                match self.answers.iter().find(|row| row.0 == client) {
                    None if client <= self.forgotten => return Some(false),
                    Some(row) if row.1 >= sequence => return Some(row.1 == sequence),
                    _ => {}
                }
                let is_granted = self.apply(command).expect("the model knows these");
                self.answers.retain(|row| row.0 != client);
                self.forget(*retention, 2, 1);
                self.answers.push((client, sequence, retention.uptime_s, is_granted));
                Some(true)
            }
            Command::KeepTime { retention } => {
                self.forget(*retention, 1000, 0);
                Some(true)
            }
            _ => None,
        }
    }

    /// Drops at most so many answers, where so many more are to come.
    fn forget(&mut self, retention: Retention, dropped_max: usize, coming: usize) {
        self.answers.sort_by_key(|row| (row.2, row.0));
        for _ in 0..dropped_max {
            let too_many = self.answers.len() + coming > retention.answers_max as usize;
            let is_due =
                |row: &(u64, u64, u64, bool)| too_many || retention.uptime_s >= row.2 + 3600;
            if !self.answers.first().is_some_and(is_due) {
                return;
            }
            self.forgotten = self.forgotten.max(self.answers.remove(0).0);
        }
    }

    /// Whether a request was granted, where its answer is kept.
    fn granted(&self, request: RequestId) -> Option<bool> {
        let is_it =
            |row: &&(u64, u64, u64, bool)| (row.0, row.1) == (request.client.0, request.sequence);
        self.answers.iter().find(is_it).map(|row| row.3)
    }

    fn totals(&self, prefix: &str) -> Totals {
        let mut totals = Totals::default();
        for (file, stripes) in &self.files {
            if file.name.as_str().starts_with(prefix) {
                totals.files += 1;
                totals.logical_bytes += file.size;
                for stripe in stripes {
                    let data = usize::from(stripe.shape.data);
                    totals.stripes += 1;
                    totals.chunks += data as u64;
                    for (slot, chunk) in stripe.chunks.iter().enumerate() {
                        let stored = u64::from(chunk.stored_len);
                        totals.stored_bytes += if slot < data { stored } else { 0 };
                        totals.raw_bytes += stored * chunk.copies.len() as u64;
                    }
                }
            }
        }
        totals
    }

    /// The listing's names; folders end with `/`.
    fn list(&self, prefix: &str, by_folder: bool) -> Vec<String> {
        let mut names: Vec<String> = (self.files.iter())
            .map(|(file, _)| file.name.as_str())
            .filter(|name| name.starts_with(prefix))
            .map(|name| match name[prefix.len()..].find('/') {
                Some(slash) if by_folder => name[..=prefix.len() + slash].to_owned(),
                _ => name.to_owned(),
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

/// All pages of a listing, and that folders count what lies in them.
fn list(catalog: &Catalog, prefix: &str, limit: usize, by_folder: bool) -> Vec<String> {
    let (mut names, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = catalog.list(prefix, after.as_deref(), limit, by_folder);
        assert!(page.entries.len() <= limit && names.len() <= NAMES.len(), "it goes on for ever");
        for entry in &page.entries {
            names.push(entry.name().to_owned());
            if let Listed::Folder { prefix, files, bytes } = entry {
                let usage = catalog.usage(prefix);
                assert_eq!((*files, *bytes), (usage.files, usage.logical_bytes));
            }
        }
        let Some(next) = page.next else { return names };
        after = Some(next);
    }
}

/// A listing in steps of `rows_max` rows: the same lines as in one.
fn check_steps(catalog: &Catalog, prefix: &str, by_folder: bool, rows_max: usize) {
    let mut listing = Listing::new(prefix, None, by_folder);
    let mut lines = Vec::new();
    for _ in 0..1000 {
        lines.extend(catalog.list_on(&mut listing, 2, rows_max));
        if listing.is_done() {
            break;
        }
    }
    assert_eq!(lines, catalog.list(prefix, None, usize::MAX, by_folder).entries, "{prefix:?}");
    let (mut totals, mut after) = (Totals::default(), None);
    for _ in 0..1000 {
        after = catalog.usage_on(prefix, after.as_ref(), &mut totals, rows_max);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(totals, catalog.usage(prefix), "usage of {prefix:?}");
}

fn compare(catalog: &Catalog, model: &Model) {
    for text in NAMES {
        let expected = model.at(text).map(|at| &model.files[at]);
        let found = catalog.file(&name(text));
        assert_eq!(found, expected.map(|(file, _)| file));
        let stripes: Vec<_> = found.into_iter().flat_map(|f| catalog.stripes_of(f, 0)).collect();
        assert_eq!(stripes, expected.iter().flat_map(|(_, s)| s).collect::<Vec<_>>());
    }
    for prefix in ["", "a", "a/", "a/b", "b", "c/", "c/d", "zz"] {
        assert_eq!(catalog.usage(prefix), model.totals(prefix), "usage of {prefix:?}");
        for by_folder in [false, true] {
            let expected = model.list(prefix, by_folder);
            for limit in [1, 2, 100] {
                assert_eq!(list(catalog, prefix, limit, by_folder), expected, "{prefix:?}");
            }
            for rows_max in [1, 2, 5] {
                check_steps(catalog, prefix, by_folder, rows_max);
            }
        }
    }
    let mut found = 0;
    for handle in (0..4000).map(Handle) {
        if let Some((stripe, slot)) = catalog.chunk(handle) {
            assert_eq!(stripe.handle(slot), handle);
            found += 1;
        }
    }
    let chunks = model.files.iter().flat_map(|(_, s)| s).map(|s| s.chunks.len()).sum::<usize>();
    assert_eq!(found, chunks);
}

/// All rows of a catalog.
fn rows(catalog: &Catalog) -> Rows {
    Rows {
        cluster: catalog.cluster().cloned(),
        runs: catalog.runs().cloned().collect(),
        foreign: catalog.foreign().copied().collect(),
        members: catalog.members().cloned().collect(),
        files: catalog.files_under("").cloned().collect(),
        stripes: catalog.stripes().map(|(stripe, _)| stripe.clone()).collect(),
        uptime: Some(catalog.uptime),
        clients: catalog.clients.values().cloned().collect(),
    }
}

fn check(wishes: &[Wish]) {
    let mut catalog = opened();
    let mut mirror = catalog.clone();
    let mut model = Model::default();
    for (number, wish) in wishes.iter().enumerate() {
        let command = wish.command(&catalog, number);
        let before = catalog.clone();
        let mut changes = Vec::new();
        let outcome = catalog.apply(&command, &mut changes);
        if outcome.is_err() {
            assert_eq!((&catalog, changes.len()), (&before, 0), "a refusal changes nothing");
        }
        match model.apply(&command) {
            Some(expected) => assert_eq!(outcome.is_ok(), expected, "{command:?}: {outcome:?}"),
            None => {
                if let (Command::SetCopies { handle, copies, .. }, true) =
                    (&command, outcome.is_ok())
                {
                    for stripe in model.files.iter_mut().flat_map(|(_, stripes)| stripes) {
                        if let Some(slot) = stripe.slot(*handle) {
                            let now = &mut stripe.chunks[slot].copies;
                            // The order of copies says nothing, and stays.
                            if now.len() != copies.len() || !copies.iter().all(|c| now.contains(c))
                            {
                                *now = (**copies).into();
                            }
                        }
                    }
                }
            }
        }
        if let Command::Requested { request, .. } = &command {
            let answer = outcome.ok().and_then(|outcome| outcome.answer);
            let granted = answer.as_ref().map(|answer| !matches!(answer, Answer::Refused { .. }));
            assert_eq!(granted, model.granted(*request), "{command:?}: {answer:?}");
            match (catalog.recall(*request), answer) {
                (Recalled::Answered(kept), Some(answer)) => assert_eq!(*kept, answer),
                (Recalled::Forgotten, None) => {}
                other => panic!("{command:?}: {other:?}"),
            }
        }
        changes.into_iter().for_each(|change| mirror.enact(change));
        assert_eq!(catalog, mirror, "the rows say all that changed");
    }
    compare(&catalog, &model);
    assert_eq!(Catalog::restore(rows(&catalog)).expect("its own rows fit"), catalog);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn it_does_what_a_naive_list_of_files_does(wishes in wishes(40)) {
        check(&wishes);
    }

    #[test]
    fn what_is_taken_back_leaves_no_trace(wishes in wishes(25), kept in 0_usize..25) {
        let (mut catalog, mut undo) = (opened(), Vec::new());
        let mut before = catalog.clone();
        for (number, wish) in wishes.iter().enumerate() {
            if number == kept {
                before = catalog.clone();
                undo.clear();
            }
            let command = wish.command(&catalog, number);
            let _ = catalog.apply_undoable(&command, &mut Vec::new(), &mut undo);
        }
        catalog.take_back(undo);
        prop_assert_eq!(&catalog, &before);
        prop_assert_eq!(Catalog::restore(rows(&catalog)).expect("its own rows fit"), catalog);
    }

    #[test]
    fn rows_of_which_one_is_missing_are_refused(wishes in wishes(25), pick in any::<usize>()) {
        let mut catalog = opened();
        super::fixture::run(&mut catalog, &wishes);
        let mut rows = rows(&catalog);
        // Empty files have nothing that could miss them; the ledger counts.
        let full: Vec<usize> =
            (0..rows.files.len()).filter(|at| !rows.files[*at].stripes.is_empty()).collect();
        if full.is_empty() {
            return Ok(());
        }
        if pick % 2 == 0 {
            rows.files.remove(full[pick / 2 % full.len()]);
        } else {
            rows.stripes.remove(pick / 2 % rows.stripes.len());
        }
        prop_assert!(Catalog::restore(rows).is_err());
    }
}
