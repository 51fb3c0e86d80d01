//! Receiving side of the plane: packet rings, loss detection and feedback to publishers.

pub mod nack;
pub mod reception;
pub mod ring;
pub mod track;
pub mod twcc;
