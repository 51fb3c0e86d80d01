//! Typed indices into the collections of the plane, one type per collection: a track's index cannot
//! be passed as a peer's.
//!
//! Unlike the [ids](crate::ids), an index is valid only inside its owner and is reused after a
//! removal. The types cost nothing: each is an integer at run time.

use std::marker::PhantomData;
use std::ops;

/// Maximum number of simulcast layers of one track: low, medium, high and a spare one. Each costs a
/// packet ring of memory.
pub const MAX_LAYERS: usize = 4;

/// An index type of this module.
pub trait Ix: Copy + Eq + std::fmt::Debug {
    /// Makes an index from a position in its collection.
    fn new(position: usize) -> Self;

    /// Returns the position in the collection.
    fn position(self) -> usize;
}

macro_rules! index_types {
    ($($(#[$doc:meta])* $name:ident($repr:ty);)+) => {$(
        $(#[$doc])*
        #[repr(transparent)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($repr);

        impl $name {
            /// Makes an index from a position in its collection.
            pub const fn new(position: usize) -> $name {
                debug_assert!(position <= <$repr>::MAX as usize, "the collection is bounded below this");
                $name(position as $repr)
            }

            /// Returns the position in the collection.
            pub const fn position(self) -> usize {
                self.0 as usize
            }
        }

        impl Ix for $name {
            fn new(position: usize) -> $name {
                $name::new(position)
            }

            fn position(self) -> usize {
                $name::position(self)
            }
        }
    )+};
}

index_types! {
    /// Index of a shard (one media thread) in its plane.
    ShardIx(u32);
    /// Index of a peer in its shard.
    PeerIx(u32);
    /// Index of a track in a shard that owns or imports it.
    TrackIx(u32);
    /// Index of a slot (an m-line that the server sends) in its subscriber.
    SlotIx(u32);
    /// Index of an accepted m-line in its publisher.
    MediaIx(u32);
}

/// A [`slab::Slab`] whose keys have a type of their own.
pub(crate) struct IndexSlab<I, T> {
    entries: slab::Slab<T>,
    index: PhantomData<I>,
}

impl<I: Ix, T> IndexSlab<I, T> {
    pub(crate) fn new() -> IndexSlab<I, T> {
        IndexSlab {
            entries: slab::Slab::new(),
            index: PhantomData,
        }
    }

    /// Returns the index that the next [`IndexSlab::insert`] will use.
    pub(crate) fn vacant_index(&self) -> I {
        I::new(self.entries.vacant_key())
    }

    pub(crate) fn insert(&mut self, entry: T) -> I {
        I::new(self.entries.insert(entry))
    }

    /// Removes an entry that exists; panics otherwise.
    pub(crate) fn remove(&mut self, index: I) -> T {
        self.entries.remove(index.position())
    }

    pub(crate) fn try_remove(&mut self, index: I) -> Option<T> {
        self.entries.try_remove(index.position())
    }

    pub(crate) fn get(&self, index: I) -> Option<&T> {
        self.entries.get(index.position())
    }

    pub(crate) fn get_mut(&mut self, index: I) -> Option<&mut T> {
        self.entries.get_mut(index.position())
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns an upper bound of all positions in use.
    pub(crate) fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().map(|(_, entry)| entry)
    }
}

impl<I: Ix, T> ops::Index<I> for IndexSlab<I, T> {
    type Output = T;

    fn index(&self, index: I) -> &T {
        &self.entries[index.position()]
    }
}

impl<I: Ix, T> ops::IndexMut<I> for IndexSlab<I, T> {
    fn index_mut(&mut self, index: I) -> &mut T {
        &mut self.entries[index.position()]
    }
}
