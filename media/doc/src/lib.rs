//! Library of `tongke-doc`. The module docs of `main.rs` list the parts.

mod archive;
mod content;
mod csv;
mod docx;
mod error;
mod excel;
pub mod file_type;
mod grid;
mod html;
mod image_file;
pub mod inspect;
mod libreoffice;
mod limits;
mod odf;
mod office_binary;
mod ole;
mod package;
mod pdf;
mod pdf_text;
mod plain_text;
mod pptx;
mod render;
pub mod report;
mod strip_metadata;
pub mod supervise;
mod xml;

pub mod fuzzing;

pub use error::Error;
pub use inspect::{Inspection, RenderOptions};
