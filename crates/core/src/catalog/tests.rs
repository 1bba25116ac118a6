//! The catalog's rules, one by one.

use super::fixture::*;
use super::*;
use crate::id::{ClientNumber, FileId, FolderId, Handle, NodeId, NodeIndex};
use crate::policy::Policy;

fn client(number: u64) -> ClientRecord {
    let client = ClientNumber(number);
    ClientRecord { client, sequence: 1, used_s: 0, answer: Answer::Renamed }
}

fn apply(catalog: &mut Catalog, command: &Command) -> Result<Outcome, Refusal> {
    catalog.apply(command, &mut Vec::new())
}

#[track_caller]
fn refused(catalog: &mut Catalog, command: &Command, part: &str) {
    let before = catalog.clone();
    let refusal = apply(catalog, command).expect_err("it must be refused").to_string();
    assert!(refusal.contains(part), "{refusal}");
    assert_eq!(*catalog, before, "a refusal changes nothing");
}

#[test]
fn nothing_goes_before_the_founding_and_it_happens_once() {
    let mut catalog = Catalog::default();
    for command in opening().iter().skip(1) {
        assert_eq!(apply(&mut catalog, command), Err(Refusal::NotFounded));
    }
    apply(&mut catalog, &found()).expect("an empty catalog can be founded");
    refused(&mut catalog, &found(), "belongs to cluster 0707");
}

#[test]
fn epochs_and_numbers_only_rise() {
    let mut catalog = opened();
    refused(&mut catalog, &opened_run(1), "not above 1");
    apply(&mut catalog, &opened_run(5)).expect("higher");
    refused(&mut catalog, &opened_run(4), "another coordinator");
    refused(&mut catalog, &Command::ReserveNumbers { next_number: 99_999 }, "below");
    let mut changes = Vec::new();
    let same = Command::ReserveNumbers { next_number: 100_000 };
    catalog.apply(&same, &mut changes).expect("the same again");
    assert!(changes.is_empty(), "what changes nothing writes nothing");
}

#[test]
fn a_node_is_known_by_its_folder() {
    let mut catalog = opened();
    let swap = |id: &str, folder: u8, replaces| Command::SetMember {
        id: NodeId::new(id).expect("a good id"),
        folder: FolderId([folder; 16]),
        address: "elsewhere:1".to_owned(),
        zone: None,
        capacity: 1,
        replaces,
    };
    refused(&mut catalog, &swap("n1", 77, false), "with --replace");
    refused(&mut catalog, &swap("n1", 2, true), "belongs to node n2");
    refused(&mut catalog, &swap("new", 2, false), "belongs to node n2");
    let index = catalog.member_by_folder(FolderId([1; 16])).expect("n1").index;
    let moved = apply(&mut catalog, &swap("n1", 1, false)).expect("it moved");
    let replaced = apply(&mut catalog, &swap("n1", 77, true)).expect("it was replaced");
    assert_eq!((moved.member, replaced.member), (Some(index), Some(index)));
    assert_eq!(catalog.member_by_folder(FolderId([1; 16])), None);
    let joined = apply(&mut catalog, &swap("new", 1, false)).expect("the old folder is free");
    assert_eq!(joined.member, Some(NodeIndex(6)), "an index is never another member's");
    let mut nowhere = swap("far", 9, false);
    if let Command::SetMember { address, .. } = &mut nowhere {
        address.clear();
    }
    refused(&mut catalog, &nowhere, "0 bytes");
}

#[test]
fn a_member_that_joined_is_taken_back_with_its_index() {
    let mut catalog = opened();
    let before = catalog.clone();
    let (mut undo, mut changes) = (Vec::new(), Vec::new());
    for (id, folder) in [("new", 70), ("newer", 71)] {
        let joins = Command::SetMember {
            id: NodeId::new(id).expect("a good id"),
            folder: FolderId([folder; 16]),
            address: "elsewhere:1".to_owned(),
            zone: None,
            capacity: 1,
            replaces: false,
        };
        catalog.apply_undoable(&joins, &mut changes, &mut undo).expect("it joins");
    }
    catalog.apply_undoable(&opened_run(9), &mut changes, &mut undo).expect("a later run");
    catalog.take_back(undo);
    assert_eq!(catalog, before);
}

#[test]
fn a_name_is_never_a_folder_of_another() {
    let mut catalog = opened();
    apply(&mut catalog, &commit(10, "a/b", PLAIN, 1, 1, false)).expect("free");
    refused(&mut catalog, &commit(20, "a", PLAIN, 1, 1, false), "a is a folder (a/b lies in it)");
    refused(&mut catalog, &commit(20, "a/b/c", PLAIN, 1, 1, false), "a/b is a file, so a/b/c");
    apply(&mut catalog, &commit(20, "a/b-", PLAIN, 1, 1, false)).expect("a neighbour");
    let to =
        |from: &str, to: &str| Command::Rename { from: name(from), to: name(to), replace: false };
    refused(&mut catalog, &to("a/b-", "a/b/c"), "a/b is a file");
    apply(&mut catalog, &to("a/b", "a/b/c")).expect("it leaves its own name first");
    apply(&mut catalog, &to("a/b/c", "a/b")).expect("and back");
}

#[test]
fn replacing_takes_the_old_version_and_its_chunks_along() {
    let mut catalog = opened();
    let (old, old_stripes) = file(10, "x", XOR, 5, 2);
    apply(&mut catalog, &commit(10, "x", XOR, 5, 2, false)).expect("free");
    refused(&mut catalog, &commit(40, "x", XOR, 5, 2, false), "--force");
    let outcome = apply(&mut catalog, &commit(40, "x", RS, 5, 1, true)).expect("replaced");
    assert_eq!(outcome.removed, [RemovedFile { file: old, stripes: old_stripes }]);
    assert_eq!(catalog.file_by_id(FileId(10)), None);
    assert_eq!(catalog.chunk(Handle(11)), None);
    let file = catalog.file(&name("x")).expect("the new one");
    assert_eq!(catalog.totals(), catalog.file_totals(file));
    refused(&mut catalog, &commit(25, "x", PLAIN, 1, 1, true), "another upload (40)");
}

#[test]
fn removing_passes_over_what_is_not_there() {
    let mut catalog = opened();
    apply(&mut catalog, &commit(10, "x", XOR, 5, 2, false)).expect("free");
    let names = vec![name("y"), name("x"), name("x")];
    let outcome = apply(&mut catalog, &Command::RemoveFiles { names }).expect("always");
    assert_eq!(outcome.removed.len(), 1);
    assert_eq!(catalog, opened());
}

/// A good file with one thing wrong.
fn spoilt(spoil: impl FnOnce(&mut FileRecord, &mut Vec<StripeRecord>)) -> Command {
    let (mut file, mut stripes) = file(100, "x", RS, 6, 2);
    spoil(&mut file, &mut stripes);
    Command::CommitFile { file, stripes, replace: false }
}

#[test]
fn a_file_whose_parts_do_not_fit_is_refused() {
    let mut catalog = opened();
    apply(&mut catalog, &commit(10, "other", RS, 6, 2, false)).expect("free");
    let huge = u64::MAX - 2;
    for (part, command) in [
        ("but its chunks have", spoilt(|file, _| file.size += 1)),
        ("first free number", spoilt(|file, _| file.id = FileId(100_000))),
        ("number 10 is in use", spoilt(|file, _| file.id = FileId(10))),
        ("number 12 is in use", spoilt(|file, _| file.id = FileId(12))),
        (
            "number 101 is in use",
            spoilt(|file, stripes| {
                file.id = FileId(103);
                stripes.iter_mut().for_each(|stripe| stripe.file = FileId(103));
            }),
        ),
        ("names 2 stripes, but 1", spoilt(|_, stripes| stripes.truncate(1))),
        ("names another handle", spoilt(|file, _| file.stripes[1] = Handle(999))),
        ("belongs to another file", spoilt(|_, stripes| stripes[0].file = FileId(1))),
        ("out of order", spoilt(|_, stripes| stripes[1].index = 0)),
        ("not its file's", spoilt(|_, stripes| stripes[0].shape.coding = XOR)),
        ("no data chunks", spoilt(|_, stripes| stripes[0].shape.data = 5)),
        ("no data chunks", spoilt(|_, stripes| stripes[0].shape.data = 0)),
        (
            "another number of chunks",
            spoilt(|_, stripes| {
                let chunks = &stripes[0].chunks;
                stripes[0].chunks = chunks[..chunks.len() - 1].into();
            }),
        ),
        ("longer than the chunk size", spoilt(|_, s| s[0].chunks[0].raw_len = CHUNK_SIZE + 1)),
        ("empty or longer", spoilt(|_, s| s[0].chunks[0].raw_len = 0)),
        (
            "needed to read it",
            spoilt(|_, stripes| {
                stripes[0]
                    .chunks
                    .iter_mut()
                    .take(3)
                    .for_each(|chunk| chunk.copies = Copies::default());
            }),
        ),
        ("index 6 is no member", spoilt(|_, s| s[0].chunks[0].copies = [NodeIndex(6)].into())),
        ("index 3 twice", spoilt(|_, s| s[0].chunks[0].copies = [NodeIndex(3); 2].into())),
        ("at most 32", spoilt(|_, s| s[0].chunks[0].copies = [NodeIndex(3); 33].into())),
        (
            "number 106 is in use",
            spoilt(|file, stripes| {
                (stripes[1].first_handle, file.stripes[1]) = (Handle(106), Handle(106));
            }),
        ),
        (
            "number 8 is in use",
            spoilt(|file, stripes| {
                (stripes[0].first_handle, file.stripes[0]) = (Handle(8), Handle(8));
            }),
        ),
        (
            "not set aside",
            spoilt(|file, stripes| {
                (stripes[0].first_handle, file.stripes[0]) = (Handle(huge), Handle(huge));
            }),
        ),
        ("fit its code", spoilt(|file, _| file.policy.coding.parity = 0)),
        ("1 to 32 copies", spoilt(|file, _| file.policy.replication = 0)),
        ("64 KiB to 1 GiB", spoilt(|file, _| file.policy.chunk_size = 1)),
    ] {
        refused(&mut catalog, &command, part);
    }
    apply(&mut catalog, &spoilt(|_, _| {})).expect("and nothing wrong is taken");
}

#[test]
fn of_two_repairs_of_one_chunk_only_one_wins() {
    let mut catalog = opened();
    apply(&mut catalog, &commit(10, "x", XOR, 2, 2, false)).expect("free");
    let (stripe, slot) = catalog.chunk(Handle(12)).expect("a data chunk");
    let expected = stripe.chunks[slot].copies.clone();
    let set = |copies: &[u16]| Command::SetCopies {
        handle: Handle(12),
        expected: (*expected).into(),
        copies: copies.iter().copied().map(NodeIndex).collect(),
    };
    refused(&mut catalog, &set(&[]), "without any copy");
    refused(&mut catalog, &set(&[1, 1]), "twice");
    refused(&mut catalog, &set(&[1, 9]), "no member");
    apply(&mut catalog, &set(&[4, 5, 1])).expect("the first wins");
    refused(&mut catalog, &set(&[2, 3]), "has changed since");
    let (stripe, slot) = catalog.chunk(Handle(12)).expect("a data chunk");
    assert_eq!(*stripe.chunks[slot].copies, [NodeIndex(4), NodeIndex(5), NodeIndex(1)]);
    let file = catalog.file(&name("x")).expect("it is there");
    assert_eq!(catalog.totals(), catalog.file_totals(file), "totals follow");
}

#[test]
fn a_short_stripe_keeps_the_handles_of_its_parity() {
    let mut catalog = opened();
    apply(&mut catalog, &commit(10, "x", RS, 5, 1, false)).expect("free");
    // The second stripe starts at 17, has one data chunk of four, then parity.
    let slots = |handle| catalog.chunk(Handle(handle)).map(|(stripe, slot)| (stripe.index, slot));
    assert_eq!(slots(17), Some((1, 0)));
    assert_eq!([slots(18), slots(19), slots(20)], [None; 3]);
    assert_eq!([slots(21), slots(22)], [Some((1, 1)), Some((1, 2))]);
    assert_eq!(slots(23), None);
}

#[test]
fn rows_that_do_not_fit_are_refused_by_name() {
    let (file, stripes) = file(10, "x", XOR, 3, 2);
    let base = opened();
    let rows = || Rows {
        cluster: base.cluster().cloned(),
        runs: base.runs().cloned().collect(),
        foreign: Vec::new(),
        members: base.members().cloned().collect(),
        files: vec![file.clone()],
        stripes: stripes.clone(),
        uptime: None,
        clients: vec![client(9)],
    };
    let good = Catalog::restore(rows()).expect("they fit");
    assert_eq!(good.totals().files, 1);
    assert_eq!(Catalog::restore(Rows::default()), Ok(Catalog::default()));
    type Spoil = fn(&mut Rows);
    let refusals: [(&str, Spoil); 13] = [
        ("row of client 9: it was never", |rows| rows.clients.push(rows.clients[0].clone())),
        ("row of client 100000: it was never", |rows| {
            rows.clients[0].client = ClientNumber(100_000);
        }),
        ("no cluster's row", |rows| rows.cluster = None),
        ("row of run 3-", |rows| rows.runs[0].run.epoch.0 = 3),
        ("row of run 1-", |rows| {
            let run = crate::id::Run::new(0, 9);
            rows.runs.push(RunRecord::new(run, rows.runs[0].first_position));
        }),
        ("row of member 9: its index", |rows| rows.members[0].index = NodeIndex(9)),
        ("row of member 1: another member", |rows| rows.members[1].id = rows.members[0].id.clone()),
        ("row of member 1: data folder", |rows| rows.members[1].folder = rows.members[0].folder),
        ("row of file 10: its stripe 14", |rows| drop(rows.stripes.pop())),
        ("row of stripe 11: there are two", |rows| rows.stripes.push(rows.stripes[0].clone())),
        ("row of stripe 11: file 10 does not", |rows| drop(rows.files.pop())),
        ("row of file 10: node index", |rows| rows.members.clear()),
        ("row of file 50: x exists", |rows| {
            let (mut twin, stripes) = super::fixture::file(50, "x", PLAIN, 1, 1);
            twin.name = name("x");
            rows.files.push(twin);
            rows.stripes.extend(stripes);
        }),
    ];
    for (part, spoil) in refusals {
        let mut rows = rows();
        spoil(&mut rows);
        let misfit = Catalog::restore(rows).expect_err(part).to_string();
        assert!(misfit.contains(part), "{misfit}");
    }
}

#[test]
fn commands_survive_being_written_down() {
    let mut commands = opening();
    commands.push(commit(10, "ü/x", RS, 9, 3, true));
    commands.push(Command::RemoveFiles { names: vec![name("a"), name("b/c")] });
    commands.push(Command::Rename { from: name("a"), to: name("b"), replace: true });
    commands.push(Command::SetCopies {
        handle: Handle(u64::MAX),
        expected: Box::default(),
        copies: [NodeIndex(1), NodeIndex(u16::MAX)].into(),
    });
    commands.push(Command::SetPolicy {
        policy: crate::policy::PolicySpec {
            replication: 1,
            parity: crate::policy::ParitySpec::ReedSolomon { data: 4, parity: 2 },
            compression: crate::policy::Compression::None,
            chunk_size: CHUNK_SIZE,
        },
        placement: crate::policy::PlacementStrategy::Ring,
    });
    for command in commands {
        let bytes = postcard::to_allocvec(&command).expect("any command can be written");
        assert_eq!(postcard::from_bytes::<Command>(&bytes).as_ref(), Ok(&command));
    }
}

/// What a catalog takes, counted from its parts; an allocator of size classes
/// rounds up by at most 16 bytes at these sizes.
fn bytes(catalog: &Catalog) -> usize {
    use std::mem::size_of;
    let heap = |bytes: usize| bytes.next_multiple_of(16);
    let stripes: usize = (catalog.stripes())
        .map(|(stripe, _)| {
            let many = |copies: usize| if copies > 3 { heap(2 * copies) } else { 0 };
            let copies = stripe.chunks.iter().map(|chunk| many(chunk.copies.len()));
            heap(stripe.chunks.len() * size_of::<ChunkRecord>()) + copies.sum::<usize>()
        })
        .sum();
    let files: usize = (catalog.files_under(""))
        .map(|file| {
            let many = |stripes: usize| if stripes > 1 { heap(8 * stripes) } else { 0 };
            heap(16 + file.name.as_str().len()) + many(file.stripes.len())
        })
        .sum();
    stripes + files + catalog.files.bytes() + catalog.names.bytes() + catalog.stripes.bytes()
}

#[test]
fn a_chunk_takes_far_less_than_400_bytes() {
    for (coding, replication) in [(PLAIN, 3), (XOR, 2), (RS, 1)] {
        let mut large = opened();
        for at in 0..10 {
            let command = commit(1 + at * 500, &format!("f{at}"), coding, 64, replication, false);
            apply(&mut large, &command).expect("free");
        }
        let each = bytes(&large) / (10 * 64);
        assert!(each < 150, "{each} bytes a chunk of large files ({coding:?})");
    }
    let mut small = opened();
    for at in 0..1000 {
        let text = format!("a-name-of-thirty-two-bytes/{at:05}");
        apply(&mut small, &commit(1 + at * 9, &text, PLAIN, 1, 3, false)).expect("free");
    }
    let each = bytes(&small) / 1000;
    assert!(each < 300, "{each} bytes a chunk of small files");
}

#[test]
fn a_policy_is_kept_as_it_was_given() {
    let mut catalog = opened();
    apply(&mut catalog, &commit(10, "x", RS, 5, 1, false)).expect("free");
    let policies: Vec<&Policy> = catalog.stripes().map(|(_, policy)| policy).collect();
    assert_eq!(policies.len(), 2);
    assert!(policies.iter().all(|policy| policy.coding == RS && policy.replication == 1));
    let behind: Vec<_> = catalog.stripes_after(Some(Handle(11))).collect();
    assert_eq!(behind.len(), 1);
}
