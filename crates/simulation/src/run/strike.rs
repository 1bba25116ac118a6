//! Every fault of a scenario, and its end.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::folder;
use super::hard;
use super::second;
use super::state::{BEYOND_POLICY, Run};
use crate::cluster::COORDINATOR;
use crate::disk::{Call, MemoryDisk};
use crate::host::Host;
use crate::net::Link;
use crate::rng::Rng;
use crate::scenario::{Fault, FaultKind, Harm};

/// How often it is looked whether a fault that destroys may strike.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How long damage lies before the operator looks for it, at most.
const DAMAGE_LIES_MS: u64 = 120_000;
/// What a disk sector holds.
const SECTOR_BYTES: u64 = 4096;
/// How fast a clock drifts: twice its speed.
const DRIFT_PPM: i64 = 1_000_000;

/// Waits until the fault is due, strikes if it may, and ends it.
pub(super) async fn strike(run: &Run<'_>, number: usize, fault: &Fault) {
    run.world.pass(fault.at.0).await;
    let until = Instant::now() + run.scenario.lasts.0.saturating_sub(fault.at.0);
    while run.guard.borrow().is_reserved {
        run.world.pass(LOOK_INTERVAL).await;
    }
    if fault.what.is_on_catalog() {
        return second::strike(run, number, fault, until).await;
    }
    if fault.what.is_on_folder() {
        return folder::strike(run, number, fault, until).await;
    }
    let hosts = run.scenario.hosts_named(&fault.host);
    let nodes: Vec<String> = hosts.iter().filter(|host| host.starts_with('n')).cloned().collect();
    let is_known = |host: &String| run.hosts().contains(host);
    if !hosts.iter().all(is_known) {
        return run.leave_out(number, fault, "there is no such host yet");
    }
    let harm = if nodes.is_empty() { Harm::None } else { fault.what.harm() };
    let from;
    match harm {
        Harm::Destroys if !run.scenario.beyond_tolerance => {
            let [node] = nodes.as_slice() else {
                return run.leave_out(number, fault, BEYOND_POLICY);
            };
            let Some(_nobody_works) = until_it_may_hurt(run).await else {
                return run.leave_out(number, fault, BEYOND_POLICY);
            };
            from = begin(run, number, fault);
            run.guard.borrow_mut().taint(node);
            damage(run, number, fault, node);
            run.forge(number, fault, node).await;
        }
        Harm::Destroys => {
            from = begin(run, number, fault);
            for node in &nodes {
                run.guard.borrow_mut().taint(node);
                damage(run, number, fault, node);
                run.forge(number, fault, node).await;
            }
        }
        Harm::Away => {
            let may_go = run.guard.borrow().may_go(&nodes) || run.scenario.beyond_tolerance;
            if !may_go {
                return run.leave_out(number, fault, BEYOND_POLICY);
            }
            if is_disk_being_filled(run, fault, &nodes) {
                return run.leave_out(
                    number,
                    fault,
                    "its disk is a replacement that is being filled",
                );
            }
            from = begin(run, number, fault);
            match is_about_hearing(fault, &hosts) {
                true => run.guard.borrow_mut().fall_silent(&nodes),
                false => run.guard.borrow_mut().leave(&nodes),
            }
            pass_through(run, number, fault, &hosts).await;
            run.guard.borrow_mut().come_back(&nodes);
        }
        Harm::None if fault.what == FaultKind::SlowRate => {
            from = begin(run, number, fault);
            run.guard.borrow_mut().slow_down(&fault.host);
            pass_through(run, number, fault, &hosts).await;
            run.guard.borrow_mut().speed_up(&fault.host);
        }
        Harm::None => {
            from = begin(run, number, fault);
            run.guard.borrow_mut().disturb();
            pass_through(run, number, fault, &hosts).await;
            run.guard.borrow_mut().calm_down();
        }
    }
    if harm == Harm::Destroys {
        after_damage(run, number, fault, &nodes).await;
    }
    run.note_fault_steps(from);
    run.tell("fault", format!("{} is over", describe(fault)));
}

/// Whether the fault would take away a disk that was put in as a replacement:
/// the operator would have the mount point filled instead, and the node would
/// rightly be refused once the disk is back.
fn is_disk_being_filled(run: &Run<'_>, fault: &Fault, nodes: &[String]) -> bool {
    let replaced = run.replaced.borrow();
    fault.what == FaultKind::Unmount && nodes.iter().any(|node| replaced.contains(node))
}

/// True when all that the fault does is that the coordinator does not hear
/// nodes: neither their heartbeats nor their answers.
fn is_about_hearing(fault: &Fault, hosts: &[String]) -> bool {
    let are_nodes = hosts.iter().all(|host| host.starts_with('n'));
    fault.what == FaultKind::Cut && fault.to == COORDINATOR && are_nodes
}

/// What it is, for a person.
pub(super) fn describe(fault: &Fault) -> String {
    let mut text = fault.what.name().to_owned();
    let mut add = |part: String| {
        text.push(' ');
        text.push_str(&part);
    };
    if !fault.host.is_empty() {
        add(format!("of {}", fault.host));
    }
    if !fault.to.is_empty() {
        add(format!("to {}", fault.to));
    }
    if let Some(count) = fault.count {
        add(format!("({count} {})", if count == 1 { "time" } else { "times" }));
    }
    if let Some(share) = fault.per_mille {
        add(format!("({share} ‰)"));
    }
    if let Some(latency) = fault.latency {
        add(format!("by {latency}"));
    }
    if let Some(rate) = fault.rate {
        add(format!("to {rate} a second"));
    }
    if let Some(jump) = fault.jump {
        add(format!("by {jump}"));
    }
    if let Some(free) = fault.free {
        add(format!("to {free} free"));
    }
    text
}

/// Tells that a fault begins; gives the step of the world.
pub(super) fn begin(run: &Run<'_>, number: usize, fault: &Fault) -> u64 {
    run.count_struck(number, fault);
    let lasts = fault.lasts.map(|lasts| format!(" for {lasts}")).unwrap_or_default();
    run.tell("fault", format!("{}{lasts}", describe(fault)));
    run.world.steps()
}

/// Waits for a moment in which no put is under way and nothing else is wrong,
/// and keeps clients still. `None` when there is none.
async fn until_it_may_hurt<'r>(run: &'r Run<'_>) -> Option<tokio::sync::RwLockWriteGuard<'r, ()>> {
    if run.guard.borrow().tolerance == 0 {
        return None;
    }
    loop {
        if run.guard.borrow().may_be_hurt() && run.is_settled().await {
            let nobody_works = run.quiet.write().await;
            if run.guard.borrow().may_be_hurt() && run.is_settled_for_a_while().await {
                return Some(nobody_works);
            }
        }
        run.world.pass(LOOK_INTERVAL).await;
    }
}

/// Makes the fault, lets its time pass, and ends it.
async fn pass_through(run: &Run<'_>, number: usize, fault: &Fault, hosts: &[String]) {
    let machines: Vec<_> = hosts.iter().map(|host| run.world.host(host)).collect();
    let lasts = fault.lasts.map_or(Duration::ZERO, |lasts| lasts.0);
    let each = |act: &dyn Fn(&Host)| machines.iter().for_each(|host| act(host));
    let count = fault.count.unwrap_or(1);
    let latency_us = fault.latency.map_or(0, |latency| latency.as_millis() * 1000);
    match fault.what {
        FaultKind::Kill | FaultKind::PowerCut | FaultKind::Leave => {
            if fault.what == FaultKind::Leave {
                for host in hosts {
                    run.let_leave(host).await;
                }
            }
            hold(run, hosts, true);
            match fault.what {
                FaultKind::PowerCut => each(&Host::crash),
                _ => each(&Host::kill),
            }
            run.world.pass(lasts).await;
            hold(run, hosts, false);
        }
        FaultKind::Pause => {
            each(&Host::pause);
            run.world.pass(lasts).await;
            each(&Host::resume);
        }
        FaultKind::Isolate
        | FaultKind::Cut
        | FaultKind::Loss
        | FaultKind::Delay
        | FaultKind::Double
        | FaultKind::Reset
        | FaultKind::LoseAnswers
        | FaultKind::Deaf
        | FaultKind::SlowRate
        | FaultKind::SlowLink => {
            run.link_faults.borrow_mut().insert(number, fault.clone());
            set_links(run);
            run.world.pass(lasts).await;
            run.link_faults.borrow_mut().remove(&number);
            set_links(run);
        }
        FaultKind::SlowDisk => {
            each(&|host| host.set_disk_latency_us(latency_us));
            run.world.pass(lasts).await;
            each(&|host| host.set_disk_latency_us(0));
        }
        FaultKind::FullDisk => {
            let free = fault.free.map_or(0, |free| free.0);
            each(&|host| host.disk().set_capacity(host.disk().used().saturating_add(free)));
            run.world.pass(lasts).await;
            each(&|host| host.disk().set_capacity(run.scenario.cluster.disk.0));
        }
        FaultKind::CrowdedDisk => {
            let free = fault.free.map_or(0, |free| free.0);
            each(&|host| host.disk().crowd(free));
            run.world.pass(lasts).await;
            each(&|host| host.disk().uncrowd());
            // Another such fault may begin before the next look.
            run.see_ledger_room();
        }
        FaultKind::FailSync
        | FaultKind::FailRead
        | FaultKind::FailWrite
        | FaultKind::FlipRead
        | FaultKind::MisdirectRead => {
            each(&|host| plan_calls(host.disk(), fault.what, count));
            run.world.pass(lasts).await;
            each(&|host| plan_calls(host.disk(), fault.what, 0));
        }
        FaultKind::ReadOnly => {
            each(&|host| host.disk().set_read_only(true));
            run.world.pass(lasts).await;
            each(&|host| host.disk().set_read_only(false));
        }
        FaultKind::Unmount => {
            each(&|host| host.disk().set_unmounted(true));
            run.world.pass(lasts).await;
            // A volume is mounted again before its process is started.
            each(&|host| host.disk().set_unmounted(false));
            each(&Host::kill);
        }
        FaultKind::ClockJump => {
            let jump = fault.jump.map_or(0, |jump| jump.as_millis());
            each(&|host| host.set_wall_skew_ms(i64::try_from(jump).unwrap_or(i64::MAX)));
        }
        FaultKind::ClockDrift => {
            each(&|host| host.set_wall_drift_ppm(DRIFT_PPM));
            run.world.pass(lasts).await;
            each(&|host| host.set_wall_drift_ppm(0));
        }
        FaultKind::ClockStop => {
            each(&|host| host.set_wall_frozen(true));
            run.world.pass(lasts).await;
            each(&|host| host.set_wall_frozen(false));
        }
        FaultKind::Join => run.join().await,
        FaultKind::LoseLedger => run.lose_ledger(number, lasts).await,
        FaultKind::TwinCoordinator
        | FaultKind::Usurp
        | FaultKind::OldCatalog
        | FaultKind::SwapFolders
        | FaultKind::TwinNode
        | FaultKind::BitRot
        | FaultKind::BadSector
        | FaultKind::LoseWrite
        | FaultKind::MisdirectWrite
        | FaultKind::ForgeCopy
        | FaultKind::CloseFile
        | FaultKind::Wipe => {}
    }
}

/// Plans that the next `count` calls of a disk go wrong; 0 takes it back.
fn plan_calls(disk: &MemoryDisk, what: FaultKind, count: u32) {
    match what {
        FaultKind::FailSync => disk.fail_next_syncs(count),
        FaultKind::FailRead => disk.fail_next(Call::Read, io::ErrorKind::Other, count),
        FaultKind::FailWrite => disk.fail_next(Call::Write, io::ErrorKind::Other, count),
        FaultKind::FlipRead => disk.flip_next_reads(count),
        FaultKind::MisdirectRead => disk.misdirect_next_reads(count),
        _ => {}
    }
}

/// Damages what a node holds, or plans that its next writes do.
fn damage(run: &Run<'_>, number: usize, fault: &Fault, node: &str) {
    let host = run.world.host(node);
    let disk = host.disk();
    let count = fault.count.unwrap_or(1);
    let mut rng = Rng::derive(run.world.seed(), &format!("damage {number}"));
    disk.reseed_faults(rng.next_u64());
    match fault.what {
        FaultKind::FailRead | FaultKind::FlipRead | FaultKind::MisdirectRead => {
            plan_calls(disk, fault.what, count);
        }
        FaultKind::CloseFile => {
            let holds = |path: &str| path.starts_with("chunks/") || path.starts_with("packs/");
            let files: Vec<_> = disk.files().into_iter().filter(|(path, _)| holds(path)).collect();
            for _ in 0..count.min(u32::try_from(files.len()).unwrap_or(u32::MAX)) {
                let at = usize::try_from(rng.below(files.len() as u64)).expect("it is in memory");
                disk.close_file(&files[at].0);
            }
        }
        FaultKind::LoseWrite => disk.lose_next_writes(count),
        FaultKind::MisdirectWrite => disk.misdirect_next_writes(count),
        FaultKind::Wipe => {
            hold(run, &[node.to_owned()], true);
            host.kill();
            disk.wipe();
            run.replaced.borrow_mut().insert(node.to_owned());
        }
        FaultKind::BitRot | FaultKind::BadSector => {
            for _ in 0..count {
                let files = disk.files();
                let bytes: u64 = files.iter().map(|(_, len)| len).sum();
                let mut at = rng.below(bytes);
                let place = files.iter().find(|(_, len)| match at.checked_sub(*len) {
                    Some(rest) => {
                        at = rest;
                        false
                    }
                    None => true,
                });
                let Some((path, len)) = place else { continue };
                if fault.what == FaultKind::BitRot {
                    let bit = u8::try_from(rng.below(8)).expect("below 8");
                    disk.flip(path, at, bit);
                } else {
                    let start = at - at % SECTOR_BYTES;
                    disk.make_unreadable(path, start..(start + SECTOR_BYTES).min(*len));
                }
            }
        }
        _ => {}
    }
}

/// Damage has its time; then the operator looks for it.
async fn after_damage(run: &Run<'_>, number: usize, fault: &Fault, nodes: &[String]) {
    let mut rng = Rng::derive(run.world.seed(), &format!("after damage {number}"));
    match fault.lasts {
        Some(lasts) => run.world.pass(lasts.0).await,
        None => run.world.pass(Duration::from_millis(rng.below(DAMAGE_LIES_MS))).await,
    }
    for node in nodes {
        plan_calls(run.world.host(node).disk(), fault.what, 0);
    }
    if fault.what == FaultKind::Wipe {
        hold(run, nodes, false);
    }
    if run.scenario.beyond_tolerance {
        return;
    }
    for node in nodes {
        run.mend(node).await;
    }
}

/// Holds hosts down, or no longer.
pub(super) fn hold(run: &Run<'_>, hosts: &[String], is_held: bool) {
    let mut held = run.held.borrow_mut();
    for host in hosts {
        let faults = held.entry(host.clone()).or_default();
        *faults = if is_held { *faults + 1 } else { faults.saturating_sub(1) };
    }
}

/// Makes every link as the faults that go on now want it.
pub(super) fn set_links(run: &Run<'_>) {
    let net = run.world.net();
    net.heal();
    net.set_all(hard::hard_link(run.scenario));
    let all = run.hosts();
    for fault in run.link_faults.borrow().values() {
        let change = |link: &mut Link| {
            let share = fault.per_mille.unwrap_or(0);
            let latency_us = fault.latency.map_or(0, |latency| latency.as_millis() * 1000);
            match fault.what {
                FaultKind::Isolate | FaultKind::Cut => link.is_cut = true,
                FaultKind::LoseAnswers => link.reply_loss_per_mille = share,
                FaultKind::Loss => link.loss_per_mille = share,
                FaultKind::Double => link.double_per_mille = share,
                FaultKind::Reset => link.reset_per_mille = share,
                FaultKind::Delay => {
                    (link.delay_per_mille, link.delay_us) = (share, latency_us);
                }
                FaultKind::SlowLink => link.latency_us = latency_us,
                FaultKind::SlowRate => {
                    link.bytes_per_second = fault.rate.map_or(0, |rate| rate.0);
                }
                _ => {}
            }
        };
        let set = |from: &str, to: &str| {
            let mut link = net.link(from, to);
            change(&mut link);
            net.set_link(from, to, link);
        };
        let these =
            if fault.host.is_empty() { all.clone() } else { run.scenario.hosts_named(&fault.host) };
        if fault.what == FaultKind::Deaf {
            // Everybody's calls to it, also those of other nodes.
            for to in &these {
                for from in all.iter().filter(|from| *from != to) {
                    let mut link = net.link(from, to);
                    link.takes_no_calls = true;
                    net.set_link(from, to, link);
                }
            }
            continue;
        }
        let is_one_way = fault.what == FaultKind::Cut;
        let those = if is_one_way { run.scenario.hosts_named(&fault.to) } else { all.clone() };
        for from in &these {
            for to in those.iter().filter(|to| *to != from) {
                set(from, to);
                if !is_one_way {
                    set(to, from);
                }
            }
        }
    }
}

/// Ends every fault that goes on.
pub(super) fn end_all(run: &Run<'_>) {
    run.link_faults.borrow_mut().clear();
    set_links(run);
    run.held.borrow_mut().clear();
    run.put_ledger_back();
    run.put_folders_back();
    for name in run.hosts() {
        let host = run.world.host(&name);
        let was_unmounted = host.disk().is_unmounted();
        host.disk().plan_no_faults();
        if was_unmounted {
            host.kill();
        }
        if name != COORDINATOR && name.starts_with('n') {
            host.disk().set_capacity(run.scenario.cluster.disk.0);
        } else {
            host.disk().set_capacity(crate::disk::CAPACITY_DEFAULT_BYTES);
        }
        host.set_disk_latency_us(0);
        host.set_wall_drift_ppm(0);
        host.set_wall_frozen(false);
        host.resume();
    }
    run.guard.borrow_mut().end_all();
}
