//! Every message arrives as it was sent; damaged ones are errors or other
//! well-formed messages, never a panic.

use std::fmt::Debug;

use dfs_core::api::{
    Adopt, Allegiance, BadCopy, BeginPut, ChunkMap, ClusterStatus, Commit, Committed, Condition,
    CopyAt, CopyState, FileInfo, FileMap, Heartbeat, HeartbeatReply, HeldChunk, Hello,
    InventoryChanges, InventoryDigest, InventoryPage, List, ListEntry, ListPage, ListUnknown,
    Lookup, Met, NodeInfo, NodeReport, NodeSpace, NodeState, NodeStatus, Place, PolicyOverrides,
    Promise, PutMode, ReadRequest, Reason, ReasonKind, RebuildTask, Receipt, Remove, Removed,
    Rename, RepairStatus, Retarget, SealedChunk, SealedStripe, Stored, StripeHealth, StripeMap,
    StripeMember, StripePlacement, Target, Told, Unknown, UnknownCopy, UnknownPage, UploadGrant,
    Usage, Verdict, Word, WriteHeader,
};
use dfs_core::data::digest::Digest;
use dfs_core::id::{
    ClientNumber, ClusterId, FileId, FolderId, Handle, NodeId, RequestId, Run, SessionId,
};
use dfs_core::name::FileName;
use dfs_core::policy::{
    Code, Coding, Compression, ParitySpec, PlacementStrategy, Policy, PolicySpec, StripeShape,
};
use dfs_simulation::rng::Rng;
use prost::Message;

use super::{context, three_frames};
use crate::grpc::convert::{BadMessage, Checked, member, node, put, read};
use crate::grpc::wire;

/// How many damaged forms of each message are tried.
const DAMAGED_FORMS: u64 = 300;

/// Sends `message` through its wire form, as it is and damaged.
fn crosses<W, T>(message: T)
where
    T: Clone + PartialEq + Debug + TryFrom<W, Error = BadMessage>,
    W: Message + Default + From<T>,
{
    crosses_by(message, W::from, T::try_from);
}

fn crosses_by<T, W>(message: T, send: impl Fn(T) -> W, take: impl Fn(W) -> Checked<T>)
where
    T: Clone + PartialEq + Debug,
    W: Message + Default,
{
    let bytes = send(message.clone()).encode_to_vec();
    let arrived = take(W::decode(&bytes[..]).expect("it decodes"));
    assert_eq!(arrived.expect("it is well-formed"), message);

    let mut rng = Rng::new(bytes.len() as u64);
    for _ in 0..DAMAGED_FORMS {
        let mut damaged = bytes.clone();
        for _ in 0..=rng.below(4) {
            let at = usize::try_from(rng.below(damaged.len() as u64)).expect("an index");
            damaged[at] = rng.next_u64().to_le_bytes()[0];
        }
        if rng.chance(1, 3) {
            damaged.truncate(usize::try_from(rng.below(damaged.len() as u64)).expect("a length"));
        }
        // What still arrives is as good as any message: it crosses again.
        if let Some(Ok(other)) = W::decode(&damaged[..]).ok().map(&take) {
            assert_eq!(take(send(other.clone())), Ok(other));
        }
    }
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).expect("a good id")
}

fn name(text: &str) -> FileName {
    FileName::new(text).expect("a good name")
}

const RS: Coding = Coding { code: Code::ReedSolomon, data: 4, parity: 2 };
const SHAPE: StripeShape = StripeShape { coding: RS, data: 1 };
const POLICY: Policy =
    Policy { replication: 3, coding: RS, compression: Compression::Lz4, chunk_size: 64 << 20 };

fn target(number: u16) -> Target {
    Target { node: id(&format!("n{number}")), address: format!("127.0.0.1:{number}") }
}

fn info() -> NodeInfo {
    NodeInfo {
        id: id("n1"),
        folder: FolderId([7; 16]),
        session: SessionId(u64::MAX),
        address: "[::1]:4001".to_owned(),
        zone: Some("rack 1".to_owned()),
        cluster: Some(ClusterId([9; 16])),
        replaces: true,
        version: "1.2.3".to_owned(),
    }
}

fn file() -> FileInfo {
    FileInfo {
        name: name("ü/日本"),
        id: FileId(77),
        size: 1 << 50,
        policy: POLICY,
        created_ms: 1_767_225_600_000,
        stripes: 3,
        chunks: 9,
        stored_bytes: 5,
        raw_bytes: 6,
        spares: -1,
        copies_missing: 4,
        condition: Condition::Unreachable,
    }
}

fn sealed() -> SealedStripe {
    let chunk = |number: u8| SealedChunk {
        digest: Digest([number; 32]),
        raw_len: 10,
        stored_len: 22,
        holders: vec![id("n1"), id("n2")],
    };
    SealedStripe {
        index: 4,
        first_handle: Handle(100),
        shape: SHAPE,
        chunks: (0..3).map(chunk).collect(),
    }
}

fn placement() -> StripePlacement {
    StripePlacement {
        index: 0,
        first_handle: Handle(u64::MAX),
        shape: SHAPE,
        targets: vec![vec![target(1), target(2)], vec![target(3)], vec![]],
    }
}

#[test]
fn messages_of_the_node_arrive_as_they_were_sent() {
    let chunk = three_frames();
    crosses::<wire::AdoptRequest, _>(Adopt {
        context: context(),
        coordinator: "localhost:4000".to_owned(),
        replaces: Run::new(7, 3),
        has_ended: true,
        position: 12,
        numbers_end: u64::MAX,
    });
    let told = Told { run: Run::new(u64::MAX, u64::MAX), position: 12 };
    let allegiance = Allegiance {
        told,
        since_ms: 5,
        coordinator: Some("localhost:4000".to_owned()),
        numbers_end: 1 << 40,
        leased_ms: 6_300,
    };
    crosses::<wire::HelloReply, _>(Hello { info: info(), allegiance });
    crosses::<wire::HelloReply, _>(Hello { info: info(), allegiance: Allegiance::default() });
    crosses::<wire::NodeInfo, _>(info());
    crosses::<wire::NodeInfo, _>(NodeInfo { zone: None, cluster: None, replaces: false, ..info() });
    crosses::<wire::WriteHeader, _>(WriteHeader {
        context: context(),
        chunk: chunk.header.clone(),
    });
    crosses::<wire::ChunkSeal, _>(chunk.seal);
    crosses::<wire::ReadChunkRequest, _>(ReadRequest {
        cluster: context().cluster,
        handle: Handle(1),
        frames: 3..u32::MAX,
    });
    crosses::<wire::Receipt, _>(Receipt {
        handle: Handle(1),
        seal: chunk.seal,
        bytes_pulled: 5,
        from_parity: true,
    });
    let held = |handle| HeldChunk { handle: Handle(handle), stored_bytes: 9, is_good: handle > 1 };
    crosses::<wire::InventoryReply, _>(InventoryPage {
        version: 8,
        chunks: vec![held(1), held(2)],
        is_last: false,
    });
    crosses_by(
        (context(), vec![Handle(1), Handle(u64::MAX)]),
        |(context, handles)| node::delete_request(context, handles),
        node::deletion,
    );
    let member = StripeMember {
        position: 5,
        handle: Handle(6),
        digest: Digest([1; 32]),
        copies: vec!["a:1".to_owned(), "b:2".to_owned()],
    };
    let task = RebuildTask {
        chunk: chunk.header,
        digest: chunk.seal.digest,
        copies: vec!["127.0.0.1:4001".to_owned()],
        stripe: vec![member],
        bytes_per_second_max: 1 << 40,
    };
    let send = |(context, task)| node::rebuild_request(context, task);
    crosses_by((context(), task), send, node::rebuild);
}

#[test]
fn messages_of_members_arrive_as_they_were_sent() {
    let changes = InventoryChanges {
        since: 3,
        held: vec![HeldChunk { handle: Handle(5), stored_bytes: 6, is_good: true }],
        gone: vec![Handle(7), Handle(8)],
    };
    let heartbeat = Heartbeat {
        allegiance: Allegiance::default(),
        confirms: Some(8),
        info: info(),
        joins: true,
        space: NodeSpace { total: 3, free: 2, used: 1 },
        digest: InventoryDigest { version: 1, chunks: 2, quarantined: 3, fingerprint: u64::MAX },
        changes: Some(changes),
        trouble: Some("a disk that groans".to_owned()),
        is_volume_gone: true,
        refuses: Some("a higher epoch".to_owned()),
    };
    crosses::<wire::HeartbeatRequest, _>(heartbeat.clone());
    crosses::<wire::HeartbeatRequest, _>(Heartbeat {
        changes: None,
        trouble: None,
        is_volume_gone: false,
        refuses: None,
        joins: false,
        ..heartbeat
    });
    crosses::<wire::HeartbeatReply, _>(HeartbeatReply {
        answer: 9,
        position: 77,
        numbers_end: 1 << 20,
        context: context(),
        known_version: Some(0),
    });
    crosses::<wire::HeartbeatReply, _>(HeartbeatReply {
        context: context(),
        known_version: None,
        answer: 0,
        position: 0,
        numbers_end: 0,
    });
    crosses_by(
        (ClusterId([1; 16]), id("n1"), SessionId(2)),
        |(cluster, node, session)| member::leave_request(cluster, node, session),
        member::leaving,
    );
}

#[test]
fn messages_of_an_upload_arrive_as_they_were_sent() {
    for parity in [
        None,
        Some(ParitySpec::None),
        Some(ParitySpec::XorAuto),
        Some(ParitySpec::Xor { data: 31 }),
        Some(ParitySpec::ReedSolomon { data: 30, parity: 2 }),
    ] {
        crosses::<wire::BeginPutRequest, _>(BeginPut {
            name: name("a/b"),
            size: parity.map(|_| 0),
            policy: PolicyOverrides {
                replication: parity.map(|_| 2),
                parity,
                compression: parity.map(|_| Compression::None),
                chunk_size: parity.map(|_| 1 << 20),
            },
            mode: if parity.is_some() { PutMode::IfAbsent } else { PutMode::Replace },
            is_strict: parity.is_none(),
            allow_unsafe: parity.is_some(),
            from: None,
        });
    }
    crosses::<wire::BeginPutReply, _>(UploadGrant {
        context: context(),
        upload: FileId(5),
        policy: POLICY,
        first: Some(placement()),
    });
    crosses::<wire::PlaceRequest, _>(Place {
        upload: FileId(5),
        first_stripe: 9,
        stripes: vec![1, 4],
        sealed: vec![sealed()],
        failed: vec![id("n9")],
        chunk_bytes_max: Some(1 << 20),
    });
    crosses_by(vec![placement(), placement()], put::place_reply, put::placed);
    crosses::<wire::RetargetRequest, _>(Retarget {
        upload: FileId(5),
        handle: Handle(6),
        failed: id("n2"),
        reason: "it burns".to_owned(),
        is_slow: true,
    });
    crosses::<wire::CommitRequest, _>(Commit {
        upload: FileId(5),
        size: 9,
        sealed: vec![sealed()],
        request: Some(RequestId { client: ClientNumber(7), sequence: 8 }),
    });
    crosses::<wire::CommitReply, _>(Committed { info: file(), copies_missing: 2 });
}

#[test]
fn messages_about_names_arrive_as_they_were_sent() {
    let states = [
        (NodeState::Unknown, CopyState::Unknown),
        (NodeState::Online, CopyState::Held),
        (NodeState::Suspect, CopyState::Bad),
        (NodeState::Offline, CopyState::Missing),
        (NodeState::Absent, CopyState::Held),
        (NodeState::NoVolume, CopyState::Held),
        (NodeState::CutOff, CopyState::Held),
    ];
    let copies = states.map(|(state, presence)| CopyAt {
        node: id("n1"),
        address: "a:1".to_owned(),
        state,
        presence,
        is_slow: state == NodeState::Online,
    });
    let chunk =
        ChunkMap { digest: Digest([3; 32]), raw_len: 1, stored_len: 13, copies: copies.to_vec() };
    let stripe = StripeMap {
        first_handle: Handle(5),
        shape: SHAPE,
        chunks: vec![chunk.clone(), chunk.clone(), chunk],
    };
    crosses::<wire::LookupReply, _>(FileMap {
        may_be_old: true,
        context: context(),
        info: file(),
        stripes: vec![stripe],
    });
    crosses::<wire::LookupRequest, _>(Lookup {
        name: name("a"),
        version: Some(FileId(1)),
        first_stripe: 64,
    });
    let list = List {
        prefix: "a/".to_owned(),
        after: Some("a/b".to_owned()),
        limit: 1000,
        by_folder: true,
    };
    crosses::<wire::ListRequest, _>(list.clone());
    crosses::<wire::ListRequest, _>(List {
        prefix: String::new(),
        after: None,
        limit: 1,
        by_folder: false,
    });
    let folder = ListEntry::Folder { prefix: "a/".to_owned(), files: 3, bytes: 4 };
    let entries = vec![ListEntry::File(file()), folder];
    crosses::<wire::ListReply, _>(ListPage {
        entries,
        next: Some("x".to_owned()),
        may_be_old: true,
    });
    crosses::<wire::RemoveRequest, _>(Remove {
        path: "a/b".to_owned(),
        is_recursive: true,
        is_dry_run: false,
        request: Some(RequestId { client: ClientNumber(u64::MAX), sequence: 1 }),
    });
    crosses::<wire::RemoveReply, _>(Removed { files: 1, bytes: 2 });
    crosses::<wire::RenameRequest, _>(Rename {
        from: name("a"),
        to: name("b"),
        mode: PutMode::Replace,
        request: Some(RequestId { client: ClientNumber(1), sequence: u64::MAX }),
    });
    let node = || NodeId::new("n1").expect("an id");
    crosses::<wire::ListUnknownRequest, _>(ListUnknown { after: Some((node(), Handle(7))) });
    crosses::<wire::ListUnknownReply, _>(UnknownPage {
        copies: vec![UnknownCopy {
            node: node(),
            address: "127.0.0.1:4001".to_owned(),
            handle: Handle(7),
            stored_bytes: 8,
            is_good: false,
        }],
        has_more: true,
    });
    crosses::<wire::ReportBadRequest, _>(BadCopy {
        handle: Handle(1),
        node: id("n1"),
        reason: "frame 3".to_owned(),
    });
    let report = |name, met| NodeReport { node: id(name), met };
    let reports = vec![
        report("n1", Met::Speed { is_slow: true }),
        report("n2", Met::Speed { is_slow: false }),
        report("n3", Met::Unreachable("connection refused".to_owned())),
    ];
    crosses_by(reports, read::node_reports_request, read::node_reports);
    let none = wire::ListRequest { limit: 0, ..list.clone().into() };
    assert!(List::try_from(none).is_err());
    let many = wire::ListRequest { limit: 1001, ..list.into() };
    assert!(List::try_from(many).is_err());
}

#[test]
fn messages_about_the_whole_arrive_as_they_were_sent() {
    let usage = Usage { files: 1, chunks: 2, logical_bytes: 3, stored_bytes: 4, raw_bytes: 5 };
    crosses::<wire::UsageReply, _>(usage);
    let node = NodeStatus {
        id: id("n1"),
        address: "a:1".to_owned(),
        zone: None,
        state: NodeState::Suspect,
        heard_ms_ago: Some(7000),
        space: NodeSpace { total: 3, free: 2, used: 1 },
        chunks: 5,
        quarantined: 1,
        version: "1.0".to_owned(),
        trouble: Some("refused: another cluster's".to_owned()),
        is_slow: true,
    };
    crosses::<wire::StatusReply, _>(ClusterStatus {
        cluster: ClusterId([2; 16]),
        run: Run::new(8, 9),
        leased: 2,
        counted: 3,
        makes_no_changes: Some("why".to_owned()),
        kept_handles: vec![(Handle(1), Handle(1 << 40))],
        unknown: Unknown { copies: 7, bytes: 8 },
        version: "1.0".to_owned(),
        now_ms: 9,
        uptime_s: 10,
        policy: PolicySpec {
            replication: 2,
            parity: ParitySpec::XorAuto,
            compression: Compression::Lz4,
            chunk_size: 64 << 20,
        },
        placement: PlacementStrategy::Ring,
        is_relaxed: true,
        verdict: Verdict {
            word: Word::Unreachable,
            reasons: vec![Reason {
                kind: ReasonKind::NodeCutOff,
                node: Some(id("n1")),
                count: 1,
                sentence: "n1 is cut-off".to_owned(),
            }],
        },
        stored: Stored { spares_min: Some(-1), files: 2, sentence: "2 files".to_owned() },
        nodes_expected: 3,
        promise: Promise {
            nodes_lost_max: Some(2),
            zones_lost_max: None,
            sentence: "any 2 of 5 nodes may be lost".to_owned(),
        },
        nodes: vec![node],
        usage,
        health: StripeHealth {
            full: 1,
            degraded: 2,
            at_risk: 3,
            unreachable: 4,
            unknown: 5,
            lost: 6,
        },
        repair: RepairStatus {
            waiting: 1,
            running: 2,
            done: 3,
            moved: 7,
            bytes_pulled: 4,
            failed: 5,
            begins_in_s: Some(6),
        },
        garbage_bytes: 11,
    });
}

#[test]
fn codes_that_are_none_are_refused() {
    for (code, data, parity) in [
        (0, 1, 0),
        (9, 1, 1),
        (wire::Code::None as i32, 2, 0),
        (wire::Code::None as i32, 1, 1),
        (wire::Code::Xor as i32, 4, 2),
        (wire::Code::Xor as i32, 0, 1),
        (wire::Code::ReedSolomon as i32, 31, 2),
        (wire::Code::ReedSolomon as i32, 4, 0),
        (wire::Code::ReedSolomon as i32, 256 + 4, 2),
    ] {
        let coding = wire::Coding { code, data, parity };
        assert!(Coding::try_from(coding).is_err(), "{code}:{data}+{parity}");
    }
}
