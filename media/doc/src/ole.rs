//! The OLE containers of Office 97 to 2003 and of WPS Office: which format is inside, who wrote it, what it says.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use cfb::CompoundFile;

use crate::error::Error;
use crate::kind::Kind;
use crate::legacy;
use crate::limits::STREAM_BYTES;
use crate::sheets;
use crate::words::Content;

/// Which format a container holds, by its streams.
pub fn kind(path: &Path) -> Result<Kind, Error> {
    let mut container = open(path)?;
    let program = stream(&mut container, "\u{1}CompObj")?.unwrap_or_default();
    let made_by = |names: &[&str]| {
        names
            .iter()
            .any(|name| memchr::memmem::find(&program, name.as_bytes()).is_some())
    };
    let has = |name: &str| container.is_stream(name);
    Ok(match () {
        // ECMA-376 packages are encrypted inside one of these (MS-OFFCRYPTO §2.3).
        () if has("EncryptedPackage") => return Err(Error::Encrypted),
        () if has("WordDocument") && made_by(&["KWPS", "WPS.Doc"]) => Kind::Wps,
        () if has("WordDocument") => Kind::Doc,
        () if has("PowerPoint Document") && made_by(&["KWPP", "WPP."]) => Kind::Dps,
        () if has("PowerPoint Document") => Kind::Ppt,
        () if (has("Workbook") || has("Book")) && made_by(&["KET.", "ET."]) => Kind::Et,
        () if has("Workbook") || has("Book") => Kind::Xls,
        // Microsoft Works, the other owner of the ending.
        () if has("MatOST") || has("MN0") => Kind::Wps,
        () => Kind::Unknown,
    })
}

/// What it says, as far as we read it ourselves; LibreOffice knows more.
pub fn read(path: &Path, kind: Kind) -> Result<Content, Error> {
    let mut container = open(path)?;
    let mut content = Content::default();
    if let Some(summary) = stream(&mut container, "\u{5}SummaryInformation")? {
        (content.title, content.author) = legacy::summary(&summary);
    }
    if ["Macros", "_VBA_PROJECT_CUR"]
        .iter()
        .any(|name| container.is_storage(name))
    {
        content.notes.insert("macros");
    }
    match kind {
        Kind::Doc | Kind::Wps => document(&mut container, &mut content)?,
        Kind::Ppt | Kind::Dps => presentation(&mut container, &mut content)?,
        _ => {
            drop(container);
            sheets::read_binary(path, &mut content)?;
        }
    }
    Ok(content)
}

fn document(container: &mut CompoundFile<File>, content: &mut Content) -> Result<(), Error> {
    // A text of Microsoft Works has no such stream.
    let Some(main) = stream(container, "WordDocument")? else {
        return Ok(());
    };
    let head = legacy::document_head(&main)
        .ok_or_else(|| Error::Broken("its first block is damaged".into()))?;
    if head.encrypted {
        return Err(Error::Encrypted);
    }
    let table = stream(container, head.table)?
        .ok_or_else(|| Error::Broken(format!("it lacks {}", head.table)))?;
    legacy::document_text(&main, &table, &mut content.text);
    Ok(())
}

fn presentation(container: &mut CompoundFile<File>, content: &mut Content) -> Result<(), Error> {
    let user = stream(container, "Current User")?.unwrap_or_default();
    if legacy::is_encrypted_presentation(&user) {
        return Err(Error::Encrypted);
    }
    let records = stream(container, "PowerPoint Document")?.unwrap_or_default();
    legacy::presentation_text(&records, content);
    Ok(())
}

fn open(path: &Path) -> Result<CompoundFile<File>, Error> {
    cfb::open(path).map_err(Error::broken)
}

fn stream<F: Read + Seek>(
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
