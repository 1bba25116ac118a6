//! Catalogs and commands for tests.

use proptest::prelude::*;

use super::record::{Answer, ChunkRecord, FileRecord, Gone, RunRecord, StripeRecord};
use super::{Catalog, Change, Command, Retention};
use crate::data::digest::Digest;
use crate::id::{
    ClientNumber, ClusterId, FileId, FolderId, Handle, NodeId, NodeIndex, RequestId, Run,
};
use crate::name::FileName;
use crate::policy::{
    Code, Coding, Compression, ParitySpec, PlacementStrategy, Policy, PolicySpec, StripeShape,
};

pub(crate) const CHUNK_SIZE: u32 = 64 << 10;
pub(crate) const PLAIN: Coding = Coding { code: Code::None, data: 1, parity: 0 };
pub(crate) const XOR: Coding = Coding { code: Code::Xor, data: 2, parity: 1 };
pub(crate) const RS: Coding = Coding { code: Code::ReedSolomon, data: 4, parity: 2 };

pub(crate) fn name(text: &str) -> FileName {
    FileName::new(text).expect("tests use good names")
}

pub(crate) fn opened_run(epoch: u64) -> Command {
    let run = RunRecord::new(Run::new(epoch, epoch), epoch);
    Command::OpenRun { run, skip_to: None }
}

pub(crate) fn found() -> Command {
    Command::Found {
        cluster: ClusterId([7; 16]),
        created_ms: 1,
        policy: PolicySpec {
            replication: 2,
            parity: ParitySpec::XorAuto,
            compression: Compression::Lz4,
            chunk_size: CHUNK_SIZE,
        },
        placement: PlacementStrategy::RoundRobin,
    }
}

pub(crate) fn member(number: u8) -> Command {
    Command::SetMember {
        id: NodeId::new(format!("n{number}")).expect("a good id"),
        folder: FolderId([number; 16]),
        address: format!("127.0.0.1:{}", 4000 + u16::from(number)),
        zone: (number % 2 == 1).then(|| "rack".to_owned()),
        capacity: 1 << 30,
        replaces: false,
    }
}

/// What makes an empty catalog one with six members and many numbers.
pub(crate) fn opening() -> Vec<Command> {
    let mut commands = vec![found(), opened_run(1)];
    commands.extend((0..6).map(member));
    commands.push(Command::ReserveNumbers { next_number: 100_000 });
    commands
}

/// An opened catalog.
pub(crate) fn opened() -> Catalog {
    let mut catalog = Catalog::default();
    for command in opening() {
        catalog.apply(&command, &mut Vec::new()).expect("opening works");
    }
    catalog
}

/// A file of `chunks` data chunks whose last is one byte shorter; its stripes
/// start at `id + 1`.
pub(crate) fn file(
    id: u64,
    text: &str,
    coding: Coding,
    chunks: u32,
    replication: u8,
) -> (FileRecord, Vec<StripeRecord>) {
    let width = u64::from(coding.data) + u64::from(coding.parity);
    let mut stripes: Vec<StripeRecord> = Vec::new();
    let mut left = chunks;
    while left > 0 {
        let data = u8::try_from(left.min(u32::from(coding.data))).expect("a small number");
        left -= u32::from(data);
        let index = stripes.len() as u64;
        let shape = StripeShape { coding, data };
        let first_handle = Handle(id + 1 + index * width);
        let mut stripe = StripeRecord {
            first_handle,
            file: FileId(id),
            index: u32::try_from(index).expect("a small number"),
            shape,
            chunks: Box::default(),
        };
        let chunk = |slot: usize| {
            let is_data = slot < usize::from(data);
            let is_last = left == 0 && slot + 1 == usize::from(data);
            let handle = stripe.handle(slot).0;
            let copies = u64::from(if is_data { replication } else { 1 });
            ChunkRecord {
                digest: Digest::of(&handle.to_le_bytes()),
                raw_len: if is_last { CHUNK_SIZE - 1 } else { CHUNK_SIZE },
                stored_len: 1000 + u32::try_from(handle % 1000).expect("a small number"),
                copies: (handle..handle + copies)
                    .map(|node| NodeIndex(u16::try_from(node % 6).expect("a small number")))
                    .collect(),
            }
        };
        stripe.chunks = (0..shape.chunks()).map(chunk).collect();
        stripes.push(stripe);
    }
    let size = u64::from(chunks) * u64::from(CHUNK_SIZE) - u64::from(chunks.min(1));
    let record = FileRecord {
        id: FileId(id),
        name: name(text),
        size,
        policy: Policy {
            replication,
            coding,
            compression: Compression::Lz4,
            chunk_size: CHUNK_SIZE,
        },
        created_ms: id,
        stripes: stripes.iter().map(|stripe| stripe.first_handle).collect(),
    };
    (record, stripes)
}

pub(crate) fn commit(
    id: u64,
    text: &str,
    coding: Coding,
    chunks: u32,
    replication: u8,
    replace: bool,
) -> Command {
    let (file, stripes) = file(id, text, coding, chunks, replication);
    Command::CommitFile { file, stripes, replace }
}

/// `command` under a request id. Few answers are kept.
pub(crate) fn requested(client: u64, sequence: u64, command: Command, uptime_s: u64) -> Command {
    let answer = match &command {
        Command::RemoveFiles { .. } => Answer::Removed(Gone::default()),
        _ => Answer::Renamed,
    };
    Command::Requested {
        request: RequestId { client: ClientNumber(client), sequence },
        answer,
        command: Box::new(command),
        retention: Retention { uptime_s, answers_max: 3 },
    }
}

/// A wish, made a command when it is known what there is.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    Put { name: usize, coding: usize, chunks: u32, replication: u8, replace: bool, late: u64 },
    Remove { names: Vec<usize> },
    Rename { from: usize, to: usize, replace: bool },
    SetCopies { chunk: usize, nodes: Vec<u16>, is_stale: bool },
    Member { number: u8, folder: u8, replaces: bool },
    Epoch { epoch: u64 },
    Reserve { more: u64 },
    Policy { replication: u8 },
    Request { client: u64, sequence: u64, wish: Box<Wish> },
    KeepTime,
}

/// Seconds between one command and the next.
const COMMAND_EVERY_S: u64 = 500;

/// Names that get into each other's way.
pub(crate) const NAMES: [&str; 11] =
    ["a", "a/b", "a/b/c", "a/d", "b", "b-", "b/x", "b0", "c/d/e", "c/d/f", "ü"];

pub(crate) fn wishes(count: usize) -> impl Strategy<Value = Vec<Wish>> {
    let names = 0..NAMES.len();
    let put = (names.clone(), 0..3_usize, 0..9_u32, 1..4_u8, any::<bool>(), 0..9_u64).prop_map(
        |(name, coding, chunks, replication, replace, late)| Wish::Put {
            name,
            coding,
            chunks,
            replication,
            replace,
            late: late.saturating_sub(7),
        },
    );
    let change = prop_oneof![
        3 => put.clone(),
        2 => prop::collection::vec(names.clone(), 0..4).prop_map(|names| Wish::Remove { names }),
        2 => (names.clone(), names.clone(), any::<bool>())
            .prop_map(|(from, to, replace)| Wish::Rename { from, to, replace }),
    ];
    let wish = prop_oneof![
        6 => put,
        4 => (1..7_u64, 1..4_u64, change).prop_map(|(client, sequence, wish)| {
            Wish::Request { client, sequence, wish: Box::new(wish) }
        }),
        1 => Just(Wish::KeepTime),
        2 => prop::collection::vec(names.clone(), 0..4).prop_map(|names| Wish::Remove { names }),
        2 => (names.clone(), names, any::<bool>())
            .prop_map(|(from, to, replace)| Wish::Rename { from, to, replace }),
        3 => (any::<usize>(), prop::collection::vec(0..8_u16, 0..4), any::<bool>())
            .prop_map(|(chunk, nodes, is_stale)| Wish::SetCopies { chunk, nodes, is_stale }),
        1 => (0..9_u8, 0..9_u8, any::<bool>())
            .prop_map(|(number, folder, replaces)| Wish::Member { number, folder, replaces }),
        1 => (0..9_u64).prop_map(|epoch| Wish::Epoch { epoch }),
        1 => (0..9_u64).prop_map(|more| Wish::Reserve { more }),
        1 => (0..4_u8).prop_map(|replication| Wish::Policy { replication }),
    ];
    prop::collection::vec(wish, 0..count)
}

impl Wish {
    /// The command, as the `number`th of its run.
    pub(crate) fn command(&self, catalog: &Catalog, number: usize) -> Command {
        match self.clone() {
            Self::Put { name, coding, chunks, replication, replace, late } => {
                let id = 50 * (number as u64 + 1).saturating_sub(late);
                let coding = [PLAIN, XOR, RS][coding];
                commit(id, NAMES[name], coding, chunks, replication, replace)
            }
            Self::Remove { names } => {
                Command::RemoveFiles { names: names.iter().map(|at| name(NAMES[*at])).collect() }
            }
            Self::Rename { from, to, replace } => {
                Command::Rename { from: name(NAMES[from]), to: name(NAMES[to]), replace }
            }
            Self::SetCopies { chunk, nodes, is_stale } => {
                let all: Vec<_> = (catalog.stripes())
                    .flat_map(|(stripe, _)| (0..stripe.chunks.len()).map(move |at| (stripe, at)))
                    .collect();
                let copies = nodes.into_iter().map(NodeIndex).collect();
                match all.get(chunk % all.len().max(1)) {
                    Some((stripe, slot)) if !is_stale => Command::SetCopies {
                        handle: stripe.handle(*slot),
                        expected: stripe.chunks[*slot].copies.iter().rev().copied().collect(),
                        copies,
                    },
                    _ => Command::SetCopies {
                        handle: Handle(chunk as u64 % 2000),
                        expected: Box::default(),
                        copies,
                    },
                }
            }
            Self::Member { number, folder, replaces } => Command::SetMember {
                id: NodeId::new(format!("n{number}")).expect("a good id"),
                folder: FolderId([folder; 16]),
                address: "here:1".to_owned(),
                zone: None,
                capacity: u64::from(folder),
                replaces,
            },
            Self::Epoch { epoch } => opened_run(epoch),
            Self::Reserve { more } => Command::ReserveNumbers { next_number: 99_995 + more },
            Self::Policy { replication } => {
                let Command::Found { mut policy, .. } = found() else { unreachable!() };
                policy.replication = replication;
                Command::SetPolicy { policy, placement: PlacementStrategy::Ring }
            }
            Self::Request { client, sequence, wish } => {
                let uptime_s = number as u64 * COMMAND_EVERY_S;
                requested(client, sequence, wish.command(catalog, number), uptime_s)
            }
            Self::KeepTime => {
                let uptime_s = number as u64 * COMMAND_EVERY_S;
                Command::KeepTime { retention: Retention { uptime_s, answers_max: 3 } }
            }
        }
    }
}

/// Applies commands one after the other; what is refused is left out.
/// Returns the changes of each.
pub(crate) fn run(catalog: &mut Catalog, wishes: &[Wish]) -> Vec<Vec<Change>> {
    let mut batches = Vec::new();
    for (number, wish) in wishes.iter().enumerate() {
        let mut changes = Vec::new();
        let _ = catalog.apply(&wish.command(catalog, number), &mut changes);
        batches.push(changes);
    }
    batches
}
