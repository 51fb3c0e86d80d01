//! OLE compound files (MS-CFB) of Office 97 to 2003 and of WPS Office: type detection, metadata,
//! text.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use cfb::CompoundFile;

use crate::content::Content;
use crate::error::Error;
use crate::excel;
use crate::file_type::FileType;
use crate::limits::STREAM_BYTES;
use crate::office_binary;

/// Detects the format by the streams of the container.
pub fn detect(path: &Path) -> Result<FileType, Error> {
    let mut container = open(path)?;
    let comp_obj = read_stream(&mut container, "\u{1}CompObj")?.unwrap_or_default();
    let written_by = |names: &[&str]| {
        names
            .iter()
            .any(|name| memchr::memmem::find(&comp_obj, name.as_bytes()).is_some())
    };
    let has = |name: &str| container.is_stream(name);
    Ok(match () {
        // An encrypted OOXML package is a stream of a compound file (MS-OFFCRYPTO §2.3).
        () if has("EncryptedPackage") => return Err(Error::Encrypted),
        () if has("WordDocument") && written_by(&["KWPS", "WPS.Doc"]) => FileType::Wps,
        () if has("WordDocument") => FileType::Doc,
        () if has("PowerPoint Document") && written_by(&["KWPP", "WPP."]) => FileType::Dps,
        () if has("PowerPoint Document") => FileType::Ppt,
        () if (has("Workbook") || has("Book")) && written_by(&["KET.", "ET."]) => FileType::Et,
        () if has("Workbook") || has("Book") => FileType::Xls,
        // Microsoft Works also uses the extension .wps.
        () if has("MatOST") || has("MN0") => FileType::Wps,
        () => FileType::Unknown,
    })
}

/// Reads metadata and text of a document, presentation or workbook. LibreOffice renders the rest.
pub fn read(path: &Path, file_type: FileType) -> Result<Content, Error> {
    let mut container = open(path)?;
    let mut content = Content::default();
    if let Some(summary) = read_stream(&mut container, "\u{5}SummaryInformation")? {
        (content.title, content.author) = office_binary::summary_information(&summary);
    }
    if ["Macros", "_VBA_PROJECT_CUR"]
        .iter()
        .any(|name| container.is_storage(name))
    {
        content.notes.insert("macros");
    }
    match file_type {
        FileType::Doc | FileType::Wps => read_doc(&mut container, &mut content)?,
        FileType::Ppt | FileType::Dps => read_ppt(&mut container, &mut content)?,
        _ => {
            drop(container);
            excel::read_xls(path, &mut content)?;
        }
    }
    Ok(content)
}

fn read_doc(container: &mut CompoundFile<File>, content: &mut Content) -> Result<(), Error> {
    // A Microsoft Works document has no such stream.
    let Some(main) = read_stream(container, "WordDocument")? else {
        return Ok(());
    };
    let fib = office_binary::fib_base(&main)
        .ok_or_else(|| Error::Broken("its first block is damaged".into()))?;
    if fib.encrypted {
        return Err(Error::Encrypted);
    }
    let table = read_stream(container, fib.table_stream)?
        .ok_or_else(|| Error::Broken(format!("it lacks {}", fib.table_stream)))?;
    office_binary::read_doc_text(&main, &table, &mut content.text);
    Ok(())
}

fn read_ppt(container: &mut CompoundFile<File>, content: &mut Content) -> Result<(), Error> {
    let user = read_stream(container, "Current User")?.unwrap_or_default();
    if office_binary::is_encrypted_ppt(&user) {
        return Err(Error::Encrypted);
    }
    let records = read_stream(container, "PowerPoint Document")?.unwrap_or_default();
    office_binary::read_ppt_text(&records, content);
    Ok(())
}

fn open(path: &Path) -> Result<CompoundFile<File>, Error> {
    cfb::open(path).map_err(Error::broken)
}

/// Reads a stream; `None` if the container lacks it.
fn read_stream<F: Read + Seek>(
    container: &mut CompoundFile<F>,
    name: &str,
) -> Result<Option<Vec<u8>>, Error> {
    if !container.is_stream(name) {
        return Ok(None);
    }
    let stream = container.open_stream(name).map_err(Error::broken)?;
    let mut bytes = Vec::new();
    stream
        .take(STREAM_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::broken)?;
    match bytes.len() as u64 > STREAM_BYTES {
        true => Err(Error::TooLarge(
            "one of its streams is longer than a document's".into(),
        )),
        false => Ok(Some(bytes)),
    }
}
