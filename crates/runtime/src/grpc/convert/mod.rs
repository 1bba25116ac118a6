//! Wire types to and from the messages of the core. Inwards everything is
//! checked for form: ids, lengths, counts, enums, ranges.

pub(crate) mod member;
pub(crate) mod node;
mod policy;
pub(crate) mod put;
pub(crate) mod read;
mod status;
mod unknown;

use bytes::Bytes;
use dfs_core::data::digest::Digest;
use dfs_core::id::{ClusterId, FolderId, NodeId};
use dfs_core::name::FileName;

use super::error::cut;
use super::limit::{ADDRESS_BYTES_MAX, TEXT_BYTES_MAX, ZONE_BYTES_MAX};

/// A message that breaks a rule of its form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {found}")]
#[allow(
    unreachable_pub,
    reason = "the error of conversions between public types may not be private"
)]
pub struct BadMessage {
    field: &'static str,
    found: String,
}

/// What a checked value is, or which rule it broke.
/// The longest path that is taken, in bytes: that of Linux.
const FOLDER_BYTES_MAX: usize = 4096;

pub(crate) type Checked<T> = Result<T, BadMessage>;

pub(crate) fn bad<T>(field: &'static str, found: impl Into<String>) -> Checked<T> {
    Err(BadMessage { field, found: found.into() })
}

/// A part that may not be missing, checked.
pub(crate) fn need<W, T>(field: &'static str, value: Option<W>) -> Checked<T>
where
    T: TryFrom<W, Error = BadMessage>,
{
    match value {
        Some(value) => T::try_from(value),
        None => bad(field, "is missing"),
    }
}

/// A part that may be missing, checked.
pub(crate) fn maybe<W, T>(value: Option<W>) -> Checked<Option<T>>
where
    T: TryFrom<W, Error = BadMessage>,
{
    value.map(T::try_from).transpose()
}

/// A bounded list, each item checked.
pub(crate) fn list<W, T>(field: &'static str, items: Vec<W>, max: usize) -> Checked<Vec<T>>
where
    T: TryFrom<W, Error = BadMessage>,
{
    bounded(field, items.len(), max)?;
    items.into_iter().map(T::try_from).collect()
}

/// A bounded list of texts, each made into something by `check`.
pub(crate) fn texts<T>(
    field: &'static str,
    items: Vec<String>,
    max: usize,
    check: impl Fn(&'static str, String) -> Checked<T>,
) -> Checked<Vec<T>> {
    bounded(field, items.len(), max)?;
    items.into_iter().map(|item| check(field, item)).collect()
}

pub(crate) fn bounded(field: &'static str, found: usize, max: usize) -> Checked<()> {
    if found <= max {
        Ok(())
    } else {
        bad(field, format!("has {found} items, at most {max} are allowed"))
    }
}

/// The messages of the core as a wire list.
pub(crate) fn wires<T, W: From<T>>(items: impl IntoIterator<Item = T>) -> Vec<W> {
    items.into_iter().map(W::from).collect()
}

fn array<const N: usize>(field: &'static str, bytes: &[u8]) -> Checked<[u8; N]> {
    bytes.try_into().or_else(|_| bad(field, format!("has {} bytes, {N} are needed", bytes.len())))
}

pub(crate) fn cluster(field: &'static str, bytes: &[u8]) -> Checked<ClusterId> {
    array(field, bytes).map(ClusterId)
}

pub(crate) fn folder(field: &'static str, bytes: &[u8]) -> Checked<FolderId> {
    array(field, bytes).map(FolderId)
}

pub(crate) fn digest(field: &'static str, bytes: &[u8]) -> Checked<Digest> {
    array(field, bytes).map(Digest)
}

pub(crate) fn id_bytes(id: &[u8]) -> Bytes {
    Bytes::copy_from_slice(id)
}

pub(crate) fn byte(field: &'static str, value: u32) -> Checked<u8> {
    u8::try_from(value).or_else(|_| bad(field, format!("is {value}, at most 255 is allowed")))
}

pub(crate) fn node_id(field: &'static str, text: String) -> Checked<NodeId> {
    NodeId::new(text).or_else(|refusal| bad(field, cut(&refusal.to_string(), TEXT_BYTES_MAX)))
}

pub(crate) fn file_name(field: &'static str, text: String) -> Checked<FileName> {
    FileName::new(text).or_else(|refusal| bad(field, refusal.to_string()))
}

/// A prefix or path: no more than a name with a `/` behind it.
pub(crate) fn prefix(field: &'static str, text: String) -> Checked<String> {
    let max = FileName::LENGTH_MAX + 1;
    if text.len() <= max {
        Ok(text)
    } else {
        bad(field, format!("has {} bytes, at most {max} are allowed", text.len()))
    }
}

/// The path of a folder on the receiver's machine.
pub(crate) fn folder_path(text: String) -> Checked<String> {
    let is_path = !text.is_empty() && !text.chars().any(char::is_control);
    if is_path && text.len() <= FOLDER_BYTES_MAX {
        return Ok(text);
    }
    bad("folder", format!("is no path of at most {FOLDER_BYTES_MAX} bytes"))
}

/// `host:port`.
pub(crate) fn address(field: &'static str, text: String) -> Checked<String> {
    let port = text.rsplit_once(':').and_then(|(host, port)| {
        let is_host = !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic());
        (is_host && !host.contains(['/', '@', '?', '#'])).then(|| port.parse::<u16>().ok())?
    });
    if text.len() <= ADDRESS_BYTES_MAX && port.is_some() {
        Ok(text)
    } else {
        bad(field, format!("{:?} is not host:port", cut(&text, ADDRESS_BYTES_MAX)))
    }
}

pub(crate) fn zone(field: &'static str, text: String) -> Checked<String> {
    if (1..=ZONE_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control) {
        Ok(text)
    } else {
        bad(field, format!("a zone has 1 to {ZONE_BYTES_MAX} bytes and no control characters"))
    }
}

/// Text for people, cut where it is too long.
pub(crate) fn text(text: String) -> String {
    if text.len() <= TEXT_BYTES_MAX { text } else { cut(&text, TEXT_BYTES_MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port() {
        for good in ["127.0.0.1:4001", "[::1]:4001", "node-1.example:80", "localhost:0"] {
            assert_eq!(address("address", good.to_owned()), Ok(good.to_owned()));
        }
        let long = format!("{}:1", "a".repeat(300));
        for wrong in ["", "a", ":1", "a:", "a:b", "a:65536", "a b:1", "a/b:1", "u@h:1", &long] {
            assert!(address("address", wrong.to_owned()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn ids_of_another_length_are_refused() {
        for length in [0, 15, 17, 32] {
            assert!(cluster("cluster", &vec![0; length]).is_err(), "{length}");
        }
        assert!(digest("digest", &[0; 31]).is_err());
    }
}
