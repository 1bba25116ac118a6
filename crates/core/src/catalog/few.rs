//! Short lists, kept where they stand: most chunks have up to three copies,
//! most files one stripe, and there are many millions of both.

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{Handle, NodeIndex};

/// The nodes of a chunk's copies.
#[derive(Clone)]
pub struct Copies(Nodes);

#[derive(Clone)]
enum Nodes {
    /// The first so many of these.
    Few(u8, [NodeIndex; FEW_COPIES]),
    Many(Box<[NodeIndex]>),
}

/// As many as fit beside a box's own bytes.
const FEW_COPIES: usize = 3;

/// The first handles of a file's stripes.
#[derive(Clone)]
pub struct Firsts(Handles);

#[derive(Clone)]
enum Handles {
    One(Handle),
    Many(Box<[Handle]>),
}

impl Deref for Copies {
    type Target = [NodeIndex];

    fn deref(&self) -> &[NodeIndex] {
        match &self.0 {
            Nodes::Few(count, nodes) => nodes.get(..usize::from(*count)).unwrap_or_default(),
            Nodes::Many(nodes) => nodes,
        }
    }
}

impl Deref for Firsts {
    type Target = [Handle];

    fn deref(&self) -> &[Handle] {
        match &self.0 {
            Handles::One(handle) => std::slice::from_ref(handle),
            Handles::Many(handles) => handles,
        }
    }
}

impl DerefMut for Firsts {
    fn deref_mut(&mut self) -> &mut [Handle] {
        match &mut self.0 {
            Handles::One(handle) => std::slice::from_mut(handle),
            Handles::Many(handles) => handles,
        }
    }
}

impl From<&[NodeIndex]> for Copies {
    fn from(nodes: &[NodeIndex]) -> Self {
        let mut few = [NodeIndex(0); FEW_COPIES];
        Self(match (few.get_mut(..nodes.len()), u8::try_from(nodes.len())) {
            (Some(first), Ok(count)) => {
                first.copy_from_slice(nodes);
                Nodes::Few(count, few)
            }
            _ => Nodes::Many(nodes.into()),
        })
    }
}

impl From<Vec<NodeIndex>> for Copies {
    fn from(nodes: Vec<NodeIndex>) -> Self {
        if nodes.len() > FEW_COPIES { Self(Nodes::Many(nodes.into())) } else { Self::from(&*nodes) }
    }
}

impl<const N: usize> From<[NodeIndex; N]> for Copies {
    fn from(nodes: [NodeIndex; N]) -> Self {
        Self::from(nodes.as_slice())
    }
}

impl From<Vec<Handle>> for Firsts {
    fn from(handles: Vec<Handle>) -> Self {
        Self(match *handles {
            [handle] => Handles::One(handle),
            _ => Handles::Many(handles.into()),
        })
    }
}

impl FromIterator<NodeIndex> for Copies {
    fn from_iter<I: IntoIterator<Item = NodeIndex>>(nodes: I) -> Self {
        Self::from(nodes.into_iter().collect::<Vec<_>>())
    }
}

impl FromIterator<Handle> for Firsts {
    fn from_iter<I: IntoIterator<Item = Handle>>(handles: I) -> Self {
        Self::from(handles.into_iter().collect::<Vec<_>>())
    }
}

impl<'a> IntoIterator for &'a Copies {
    type Item = &'a NodeIndex;
    type IntoIter = std::slice::Iter<'a, NodeIndex>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a Firsts {
    type Item = &'a Handle;
    type IntoIter = std::slice::Iter<'a, Handle>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl AsRef<[NodeIndex]> for Copies {
    fn as_ref(&self) -> &[NodeIndex] {
        self
    }
}

impl Default for Copies {
    fn default() -> Self {
        Self::from([])
    }
}

impl Default for Firsts {
    fn default() -> Self {
        Self::from(Vec::new())
    }
}

impl PartialEq for Copies {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Copies {}

impl PartialEq for Firsts {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Firsts {}

impl fmt::Debug for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl fmt::Debug for Firsts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

// Written down as any list is.

impl Serialize for Copies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

impl Serialize for Firsts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

impl<'de> Deserialize<'de> for Copies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}

impl<'de> Deserialize<'de> for Firsts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_lists_take_no_more_than_a_box_and_nothing_elsewhere() {
        assert_eq!((size_of::<Copies>(), size_of::<Firsts>()), (16, 16));
        let is_here = |copies: &Copies| matches!(copies.0, Nodes::Few(..));
        assert!((0..4).all(|count| is_here(&vec![NodeIndex(7); count].into())));
        assert!(matches!(Firsts::from(vec![Handle(7)]).0, Handles::One(_)));
    }

    #[test]
    fn they_are_written_as_plain_lists_are() {
        for count in 0..6 {
            let nodes: Vec<NodeIndex> = (0..count).map(NodeIndex).collect();
            let copies = Copies::from(nodes.clone());
            assert_eq!(*copies, *nodes);
            let plain = postcard::to_allocvec(&nodes).expect("it can be written");
            assert_eq!(postcard::to_allocvec(&copies).as_ref(), Ok(&plain));
            assert_eq!(postcard::from_bytes(&plain), Ok(copies));
            let handles: Vec<Handle> = (0..u64::from(count)).map(Handle).collect();
            let firsts = Firsts::from(handles.clone());
            let plain = postcard::to_allocvec(&handles).expect("it can be written");
            assert_eq!(postcard::to_allocvec(&firsts).as_ref(), Ok(&plain));
            assert_eq!(postcard::from_bytes(&plain), Ok(firsts));
        }
    }
}
