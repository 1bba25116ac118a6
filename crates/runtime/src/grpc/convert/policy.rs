//! Policies, codes and shapes.

use dfs_core::api::{Context, PolicyOverrides};
use dfs_core::id::Run;
use dfs_core::policy::{
    CHUNK_SIZE_MAX, CHUNK_SIZE_MIN, Code, Coding, Compression, ParitySpec, PlacementStrategy,
    Policy, PolicySpec, REPLICATION_MAX, STRIPE_WIDTH_MAX, StripeShape,
};

use super::super::wire::{self, parity_spec};
use super::{BadMessage, Checked, bad, byte, cluster, id_bytes, maybe, need};

impl From<Context> for wire::Context {
    fn from(context: Context) -> Self {
        let (epoch, tag) = (context.run.epoch.0, context.run.tag.0);
        Self { cluster: id_bytes(&context.cluster.0), epoch, tag }
    }
}

impl TryFrom<wire::Context> for Context {
    type Error = BadMessage;

    fn try_from(wire: wire::Context) -> Checked<Self> {
        let run = Run::new(wire.epoch, wire.tag);
        Ok(Self { cluster: cluster("context.cluster", &wire.cluster)?, run })
    }
}

impl From<Run> for wire::Run {
    fn from(run: Run) -> Self {
        Self { epoch: run.epoch.0, tag: run.tag.0 }
    }
}

impl TryFrom<wire::Run> for Run {
    type Error = BadMessage;

    fn try_from(wire: wire::Run) -> Checked<Self> {
        Ok(Self::new(wire.epoch, wire.tag))
    }
}

impl From<Coding> for wire::Coding {
    fn from(coding: Coding) -> Self {
        let code = match coding.code {
            Code::None => wire::Code::None,
            Code::Xor => wire::Code::Xor,
            Code::ReedSolomon => wire::Code::ReedSolomon,
        };
        Self { code: code.into(), data: coding.data.into(), parity: coding.parity.into() }
    }
}

impl TryFrom<wire::Coding> for Coding {
    type Error = BadMessage;

    fn try_from(wire: wire::Coding) -> Checked<Self> {
        let code = match wire.code() {
            wire::Code::None => Code::None,
            wire::Code::Xor => Code::Xor,
            wire::Code::ReedSolomon => Code::ReedSolomon,
            wire::Code::Unspecified => return bad("coding.code", format!("is {}", wire.code)),
        };
        let coding = Self {
            code,
            data: byte("coding.data", wire.data)?,
            parity: byte("coding.parity", wire.parity)?,
        };
        let fits = match code {
            Code::None => (coding.data, coding.parity) == (1, 0),
            Code::Xor => is_code(coding.data, coding.parity) && coding.parity == 1,
            Code::ReedSolomon => is_code(coding.data, coding.parity),
        };
        if fits { Ok(coding) } else { bad("coding", format!("{coding:?} is no code")) }
    }
}

fn is_code(data: u8, parity: u8) -> bool {
    let width = u32::from(data) + u32::from(parity);
    data >= 1 && parity >= 1 && width <= u32::from(STRIPE_WIDTH_MAX)
}

impl From<StripeShape> for wire::StripeShape {
    fn from(shape: StripeShape) -> Self {
        Self { coding: Some(shape.coding.into()), data: shape.data.into() }
    }
}

impl TryFrom<wire::StripeShape> for StripeShape {
    type Error = BadMessage;

    fn try_from(wire: wire::StripeShape) -> Checked<Self> {
        let coding: Coding = need("shape.coding", wire.coding)?;
        let data = byte("shape.data", wire.data)?;
        if !(1..=coding.data).contains(&data) {
            return bad("shape.data", format!("is {data}, 1 to {} are allowed", coding.data));
        }
        Ok(Self { coding, data })
    }
}

impl From<Compression> for wire::Compression {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::Lz4 => Self::Lz4,
            Compression::None => Self::None,
        }
    }
}

impl TryFrom<wire::Compression> for Compression {
    type Error = BadMessage;

    fn try_from(wire: wire::Compression) -> Checked<Self> {
        match wire {
            wire::Compression::Lz4 => Ok(Self::Lz4),
            wire::Compression::None => Ok(Self::None),
            wire::Compression::Unspecified => bad("compression", "is not a known one"),
        }
    }
}

impl From<PlacementStrategy> for wire::PlacementStrategy {
    fn from(placement: PlacementStrategy) -> Self {
        match placement {
            PlacementStrategy::RoundRobin => Self::RoundRobin,
            PlacementStrategy::Ring => Self::Ring,
        }
    }
}

impl TryFrom<wire::PlacementStrategy> for PlacementStrategy {
    type Error = BadMessage;

    fn try_from(wire: wire::PlacementStrategy) -> Checked<Self> {
        match wire {
            wire::PlacementStrategy::RoundRobin => Ok(Self::RoundRobin),
            wire::PlacementStrategy::Ring => Ok(Self::Ring),
            wire::PlacementStrategy::Unspecified => bad("placement", "is not a known one"),
        }
    }
}

impl From<ParitySpec> for wire::ParitySpec {
    fn from(spec: ParitySpec) -> Self {
        use parity_spec::{None, ReedSolomon, Spec, Xor, XorAuto};
        let spec = match spec {
            ParitySpec::None => Spec::None(None {}),
            ParitySpec::XorAuto => Spec::XorAuto(XorAuto {}),
            ParitySpec::Xor { data } => Spec::Xor(Xor { data: data.into() }),
            ParitySpec::ReedSolomon { data, parity } => {
                Spec::ReedSolomon(ReedSolomon { data: data.into(), parity: parity.into() })
            }
        };
        Self { spec: Some(spec) }
    }
}

impl TryFrom<wire::ParitySpec> for ParitySpec {
    type Error = BadMessage;

    fn try_from(wire: wire::ParitySpec) -> Checked<Self> {
        use parity_spec::Spec;
        let (spec, data, parity) = match wire.spec {
            None => return bad("parity", "is missing or not a known one"),
            Some(Spec::None(_)) => return Ok(Self::None),
            Some(Spec::XorAuto(_)) => return Ok(Self::XorAuto),
            Some(Spec::Xor(xor)) => {
                let data = byte("parity.data", xor.data)?;
                (Self::Xor { data }, data, 1)
            }
            Some(Spec::ReedSolomon(rs)) => {
                let data = byte("parity.data", rs.data)?;
                let parity = byte("parity.parity", rs.parity)?;
                (Self::ReedSolomon { data, parity }, data, parity)
            }
        };
        if is_code(data, parity) { Ok(spec) } else { bad("parity", format!("{spec:?} is no code")) }
    }
}

pub(super) fn replication(value: u32) -> Checked<u8> {
    match u8::try_from(value) {
        Ok(copies) if (1..=REPLICATION_MAX).contains(&copies) => Ok(copies),
        _ => bad("replication", format!("is {value}, 1 to {REPLICATION_MAX} are allowed")),
    }
}

pub(super) fn chunk_size(value: u32) -> Checked<u32> {
    if (CHUNK_SIZE_MIN..=CHUNK_SIZE_MAX).contains(&value) {
        Ok(value)
    } else {
        bad(
            "chunk_size_bytes",
            format!("is {value}, {CHUNK_SIZE_MIN} to {CHUNK_SIZE_MAX} are allowed"),
        )
    }
}

impl From<Policy> for wire::Policy {
    fn from(policy: Policy) -> Self {
        Self {
            replication: policy.replication.into(),
            coding: Some(policy.coding.into()),
            compression: wire::Compression::from(policy.compression).into(),
            chunk_size_bytes: policy.chunk_size,
        }
    }
}

impl TryFrom<wire::Policy> for Policy {
    type Error = BadMessage;

    fn try_from(wire: wire::Policy) -> Checked<Self> {
        Ok(Self {
            replication: replication(wire.replication)?,
            compression: wire.compression().try_into()?,
            coding: need("policy.coding", wire.coding)?,
            chunk_size: chunk_size(wire.chunk_size_bytes)?,
        })
    }
}

impl From<PolicySpec> for wire::PolicySpec {
    fn from(policy: PolicySpec) -> Self {
        Self {
            replication: policy.replication.into(),
            parity: Some(policy.parity.into()),
            compression: wire::Compression::from(policy.compression).into(),
            chunk_size_bytes: policy.chunk_size,
        }
    }
}

impl TryFrom<wire::PolicySpec> for PolicySpec {
    type Error = BadMessage;

    fn try_from(wire: wire::PolicySpec) -> Checked<Self> {
        Ok(Self {
            replication: replication(wire.replication)?,
            compression: wire.compression().try_into()?,
            parity: need("policy.parity", wire.parity)?,
            chunk_size: chunk_size(wire.chunk_size_bytes)?,
        })
    }
}

impl From<PolicyOverrides> for wire::PolicyOverrides {
    fn from(policy: PolicyOverrides) -> Self {
        Self {
            replication: policy.replication.map(u32::from),
            parity: policy.parity.map(Into::into),
            compression: policy.compression.map(|it| wire::Compression::from(it).into()),
            chunk_size_bytes: policy.chunk_size,
        }
    }
}

impl TryFrom<wire::PolicyOverrides> for PolicyOverrides {
    type Error = BadMessage;

    /// Ranges that a person may get wrong are left to the coordinator, whose
    /// refusal says what to do; only what cannot be held is refused here.
    fn try_from(wire: wire::PolicyOverrides) -> Checked<Self> {
        let compression = wire.compression.map(|_| wire.compression().try_into()).transpose()?;
        Ok(Self {
            replication: wire.replication.map(|it| byte("replication", it)).transpose()?,
            parity: maybe(wire.parity)?,
            compression,
            chunk_size: wire.chunk_size_bytes,
        })
    }
}
