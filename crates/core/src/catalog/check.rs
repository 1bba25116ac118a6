//! What must hold for a row before it may be in the catalog. Commands and
//! rows loaded from the ledger pass the same checks.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::record::{ClusterRecord, FileRecord, MemberRecord, StripeRecord};
use super::refusal::Refusal;
use super::state::Catalog;
use super::{ADDRESS_LENGTH_MAX, STRIPES_PER_FILE_MAX, ZONE_LENGTH_MAX};
use crate::id::{FileId, Handle, NodeIndex};
use crate::name::FileName;
use crate::policy::{
    CHUNK_SIZE_MAX, CHUNK_SIZE_MIN, Code, Coding, ParitySpec, Policy, PolicySpec, REPLICATION_MAX,
    STRIPE_WIDTH_MAX,
};

impl Catalog {
    /// Checks a member's row against its neighbours; its own may be there.
    pub(super) fn check_member(&self, member: &MemberRecord) -> Result<(), Refusal> {
        let id = || member.id.clone();
        let length = member.address.len();
        if !(1..=ADDRESS_LENGTH_MAX).contains(&length) {
            return Err(Refusal::BadAddress { id: id(), length });
        }
        if let Some(length) = member.zone.as_ref().map(String::len)
            && !(1..=ZONE_LENGTH_MAX).contains(&length)
        {
            return Err(Refusal::BadZone { id: id(), length });
        }
        match self.member_by_folder(member.folder) {
            Some(owner) if owner.index != member.index => Err(Refusal::FolderTaken {
                folder: member.folder,
                owner: owner.id.clone(),
                id: id(),
            }),
            _ => Ok(()),
        }
    }

    /// Checks a file that is to become visible, stripes and all, except for
    /// what its name may do to other names.
    pub(super) fn check_file(
        &self,
        file: &FileRecord,
        stripes: &[StripeRecord],
    ) -> Result<(), Refusal> {
        let next_number = self.cluster.as_ref().ok_or(Refusal::NotFounded)?.next_number;
        check_policy(&file.policy)?;
        check_number(file.id.0, next_number)?;
        if self.is_taken(file.id.0, file.id.0) {
            return Err(Refusal::NumberTaken(file.id.0));
        }
        if stripes.len() > STRIPES_PER_FILE_MAX {
            return Err(Refusal::TooManyStripes { name: file.name.clone(), count: stripes.len() });
        }
        if file.stripes.len() != stripes.len() {
            let (named, given) = (file.stripes.len(), stripes.len());
            return Err(Refusal::StripeCount { name: file.name.clone(), named, given });
        }
        let mut taken = BTreeMap::from([(file.id.0, file.id.0)]);
        let mut sum: u64 = 0;
        for (index, (stripe, named)) in stripes.iter().zip(&file.stripes).enumerate() {
            let rule = match stripe_rule(file, stripe, index) {
                None if stripe.first_handle != *named => Some("the file names another handle"),
                rule => rule,
            };
            if let Some(rule) = rule {
                let (name, handle) = (file.name.clone(), stripe.first_handle);
                return Err(Refusal::BadStripe { name, index, handle, rule });
            }
            self.check_handles(stripe, next_number, &mut taken)?;
            for (slot, chunk) in stripe.chunks.iter().enumerate() {
                self.check_copies(stripe.handle(slot), &chunk.copies)?;
            }
            let data = stripe.chunks.iter().take(usize::from(stripe.shape.data));
            sum = data.fold(sum, |sum, chunk| sum.saturating_add(u64::from(chunk.raw_len)));
        }
        if sum == file.size {
            Ok(())
        } else {
            Err(Refusal::SizeMismatch { name: file.name.clone(), size: file.size, sum })
        }
    }

    /// Whether a new file may take a name; for whoever wants to know before
    /// it sends the file's bytes.
    ///
    /// # Errors
    /// The refusal that its commit would meet now.
    pub fn check_new_name(&self, name: &FileName, replace: bool) -> Result<(), Refusal> {
        match self.file(name) {
            Some(_) if !replace => Err(Refusal::Exists(name.clone())),
            Some(file) => self.check_name(name, Some(file.id)),
            None => self.check_name(name, None),
        }
    }

    /// A name may not be a folder of another one: the files of a listing can
    /// then always be written into a tree of real folders. `passing` is a
    /// file that is about to leave its name.
    pub(super) fn check_name(
        &self,
        name: &FileName,
        passing: Option<FileId>,
    ) -> Result<(), Refusal> {
        let text = name.as_str();
        for (slash, _) in text.match_indices('/') {
            let folder = text.get(..slash).unwrap_or_default();
            if let Some((file, id)) = self.names.get_key_value(folder)
                && Some(*id) != passing
            {
                return Err(Refusal::FileInTheWay { name: name.clone(), file: file.clone() });
            }
        }
        let folder = format!("{text}/");
        let inside = (self.names.iter_from(Bound::Included(&*folder)))
            .take_while(|(inside, _)| inside.as_str().starts_with(&folder))
            .find(|(_, id)| Some(**id) != passing);
        match inside {
            None => Ok(()),
            Some((inside, _)) => {
                Err(Refusal::IsFolder { name: name.clone(), inside: inside.clone() })
            }
        }
    }

    /// Checks which nodes shall hold a chunk. None is for the caller to judge.
    pub(super) fn check_copies(&self, handle: Handle, copies: &[NodeIndex]) -> Result<(), Refusal> {
        if copies.len() > usize::from(REPLICATION_MAX) {
            return Err(Refusal::TooManyCopies { handle, count: copies.len() });
        }
        for (place, node) in copies.iter().enumerate() {
            if !self.members.contains_key(node) {
                return Err(Refusal::NoMember(*node));
            }
            if copies.iter().skip(place + 1).any(|other| other == node) {
                return Err(Refusal::DoubleCopy { handle, node: *node });
            }
        }
        Ok(())
    }

    /// Checks that a stripe's numbers were set aside and are nobody else's:
    /// neither in the catalog nor among `taken` (first to last).
    fn check_handles(
        &self,
        stripe: &StripeRecord,
        next_number: u64,
        taken: &mut BTreeMap<u64, u64>,
    ) -> Result<(), Refusal> {
        let (first, last) = (stripe.first_handle.0, stripe.last_handle().0);
        check_number(last, next_number)?;
        let among_taken = taken.range(..=last).next_back().is_some_and(|(_, end)| *end >= first);
        if among_taken || self.is_taken(first, last) {
            return Err(Refusal::NumberTaken(first));
        }
        taken.insert(first, last);
        Ok(())
    }

    /// Whether a file or a stripe has a number from `first` to `last`.
    fn is_taken(&self, first: u64, last: u64) -> bool {
        let is_file = self.files.at_or_below(&FileId(last)).is_some_and(|(id, _)| id.0 >= first);
        let below = self.stripes.at_or_below(&Handle(last));
        is_file || below.is_some_and(|(_, stripe)| stripe.last_handle().0 >= first)
    }
}

/// Checks what the catalog knows of itself.
pub(super) fn check_cluster(cluster: &ClusterRecord) -> Result<(), Refusal> {
    check_spec(&cluster.policy)
}

/// Checks a policy as it is asked for.
pub(super) fn check_spec(spec: &PolicySpec) -> Result<(), Refusal> {
    let coding = match spec.parity {
        ParitySpec::None => Coding { code: Code::None, data: 1, parity: 0 },
        ParitySpec::XorAuto => Coding { code: Code::Xor, data: 1, parity: 1 },
        ParitySpec::Xor { data } => Coding { code: Code::Xor, data, parity: 1 },
        ParitySpec::ReedSolomon { data, parity } => {
            Coding { code: Code::ReedSolomon, data, parity }
        }
    };
    let PolicySpec { replication, compression, chunk_size, .. } = *spec;
    check_policy(&Policy { replication, coding, compression, chunk_size })
}

fn check_policy(policy: &Policy) -> Result<(), Refusal> {
    let Coding { code, data, parity } = policy.coding;
    let rule = if !(1..=REPLICATION_MAX).contains(&policy.replication) {
        "1 to 32 copies are allowed"
    } else if data == 0 || u16::from(data) + u16::from(parity) > u16::from(STRIPE_WIDTH_MAX) {
        "a stripe has 1 to 32 chunks, one of them with data"
    } else if match code {
        Code::None => data != 1 || parity != 0,
        Code::Xor => parity != 1,
        Code::ReedSolomon => parity == 0,
    } {
        "the numbers of data and parity chunks do not fit its code"
    } else if !(CHUNK_SIZE_MIN..=CHUNK_SIZE_MAX).contains(&policy.chunk_size) {
        "chunk sizes from 64 KiB to 1 GiB are allowed"
    } else {
        return Ok(());
    };
    Err(Refusal::BadPolicy(rule))
}

fn check_number(number: u64, next_number: u64) -> Result<(), Refusal> {
    if number < next_number { Ok(()) } else { Err(Refusal::NotReserved { number, next_number }) }
}

/// Which rule a stripe breaks by itself, if any.
fn stripe_rule(file: &FileRecord, stripe: &StripeRecord, index: usize) -> Option<&'static str> {
    let (shape, coding) = (stripe.shape, file.policy.coding);
    let data = usize::from(shape.data);
    let fits = |raw_len: u32| (1..=file.policy.chunk_size).contains(&raw_len);
    if stripe.file != file.id {
        Some("it belongs to another file")
    } else if usize::try_from(stripe.index) != Ok(index) {
        Some("it is out of order")
    } else if shape.coding != coding {
        Some("its code is not its file's")
    } else if !(1..=coding.data).contains(&shape.data) {
        Some("it has no data chunks, or more than its code")
    } else if stripe.chunks.len() != shape.chunks() {
        Some("its shape has another number of chunks")
    } else if !stripe.chunks.iter().take(data).all(|chunk| fits(chunk.raw_len)) {
        Some("a data chunk is empty or longer than the chunk size")
    } else if stripe.chunks.iter().filter(|chunk| !chunk.copies.is_empty()).count() < data {
        Some("fewer of its chunks are stored than are needed to read it")
    } else {
        None
    }
}
