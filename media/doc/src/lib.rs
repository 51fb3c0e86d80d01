//! The parts of `tongke-doc`; the program's head comment says which is which.

mod archive;
mod draw;
mod error;
mod glyphs;
mod grid;
mod html;
pub mod inspect;
pub mod kind;
mod legacy;
mod limits;
mod odf;
mod office;
mod ole;
mod package;
mod pdf;
mod picture;
mod plain;
pub mod report;
mod separated;
mod sheets;
mod slides;
mod strip;
pub mod supervise;
mod word;
mod words;
mod xml;

pub mod fuzzing;

pub use error::Error;
pub use inspect::{Drawing, Inspection};
