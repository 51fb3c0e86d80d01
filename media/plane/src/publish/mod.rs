//! What comes in: the packets of one publisher, what is missing of them, and what is reported back.

pub mod nack;
pub mod reception;
pub mod ring;
pub mod track;
pub mod twcc;
