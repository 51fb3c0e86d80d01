//! Which layer of what goes to a subscriber whose line does not carry everything.

use crate::units::Bitrate;

/// Simulcast layers of one track, at most.
pub const MAX_LAYERS: usize = 4;

/// What matters most when a line gets narrow, in falling order. Pages and ink travel as pages, not here: `Slides` is a shared screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    Voice,
    Slides,
    LeadVideo,
    Stage,
    Wall,
}

/// One track that a subscriber wants, and what it gets of it.
#[derive(Clone, Debug)]
pub struct Item<K> {
    pub key: K,
    pub priority: Priority,
    /// Measured bitrate of each layer, lowest first; zero for a layer that is not being sent.
    pub layers: [Bitrate; MAX_LAYERS],
    /// The highest layer that is of use: what fits the size of the picture on the page.
    pub max_layer: u8,
    /// What was decided last; `None`: paused.
    pub layer: Option<u8>,
}
