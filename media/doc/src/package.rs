//! Bounded reader for zip containers: OOXML and ODF packages and plain archives.
//!
//! A false header or a zip bomb costs at most the limits; nothing is unpacked to disk.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use memchr::memmem;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::error::Error;
use crate::limits::{ENTRIES, PACKAGE_BYTES, XML_BYTES};

/// Open zip file.
pub struct Package {
    zip: ZipArchive<BufReader<File>>,
    /// Unpacked bytes that may still be read.
    remaining: u64,
}

impl Package {
    /// Opens a zip file and reads its central directory.
    pub fn open(path: &Path) -> Result<Package, Error> {
        let mut file = File::open(path).map_err(Error::input(path))?;
        // Checked before the library allocates memory for the claimed number of entries.
        if claimed_entries(&mut file).map_err(Error::input(path))? > ENTRIES {
            return Err(Error::TooMany("parts"));
        }
        let zip = ZipArchive::new(BufReader::new(file)).map_err(map_zip_error)?;
        if zip.len() as u64 > ENTRIES {
            return Err(Error::TooMany("parts"));
        }
        Ok(Package {
            zip,
            remaining: PACKAGE_BYTES,
        })
    }

    /// Returns true if any entry name matches; invalid UTF-8 in names is replaced.
    pub fn has_entry(&self, matches: impl Fn(&str) -> bool) -> bool {
        self.zip
            .file_names_raw()
            .any(|name| matches(&String::from_utf8_lossy(name)))
    }

    /// Unpacks one part; `None` if there is none of this name.
    pub fn read(&mut self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(index) = self.zip.index_for_name_raw(name.as_bytes()) else {
            return Ok(None);
        };
        self.read_at(index).map(Some)
    }

    /// Unpacks a part that the format requires.
    pub fn require(&mut self, name: &str) -> Result<Vec<u8>, Error> {
        self.read(name)?
            .ok_or_else(|| Error::Broken(format!("it lacks {name}")))
    }

    /// Lists the entries of the central directory: raw name, claimed size in bytes, encrypted or
    /// not.
    pub fn list(&mut self) -> Result<Vec<(Vec<u8>, u64, bool)>, Error> {
        (0..self.zip.len())
            .map(|index| {
                let entry = self.zip.by_index_raw(index).map_err(map_zip_error)?;
                Ok((entry.name_raw().to_vec(), entry.size(), entry.encrypted()))
            })
            .collect()
    }

    /// Unpacks all parts once and applies the limits, because LibreOffice and calamine do not.
    pub fn validate(&mut self) -> Result<(), Error> {
        for index in 0..self.zip.len() {
            let name = self
                .zip
                .name_for_index(index)
                .and_then(Result::ok)
                .unwrap_or_default()
                .to_ascii_lowercase();
            if [".xml", ".rels", ".vml"]
                .iter()
                .any(|end| name.ends_with(end))
            {
                reject_entities(&self.read_at(index)?)?;
            } else {
                self.skip_at(index)?;
            }
        }
        Ok(())
    }

    fn read_at(&mut self, index: usize) -> Result<Vec<u8>, Error> {
        let room = self.remaining.min(XML_BYTES);
        let entry = self.zip.by_index(index).map_err(map_zip_error)?;
        let mut part = Vec::new();
        entry
            .take(room + 1)
            .read_to_end(&mut part)
            .map_err(Error::broken)?;
        self.spend(part.len() as u64, room)?;
        Ok(part)
    }

    fn skip_at(&mut self, index: usize) -> Result<(), Error> {
        let room = self.remaining;
        let entry = self.zip.by_index(index).map_err(map_zip_error)?;
        let bytes = std::io::copy(&mut entry.take(room + 1), &mut std::io::sink())
            .map_err(Error::broken)?;
        self.spend(bytes, room)
    }

    /// Subtracts unpacked bytes from the remaining budget.
    fn spend(&mut self, bytes: u64, room: u64) -> Result<(), Error> {
        if bytes > room {
            return Err(Error::TooLarge(
                "it unpacks to more than an office file may hold".into(),
            ));
        }
        self.remaining -= bytes;
        Ok(())
    }
}

fn map_zip_error(error: ZipError) -> Error {
    match error {
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) | ZipError::InvalidPassword => {
            Error::Encrypted
        }
        ZipError::UnsupportedArchive(_) => {
            Error::Unsupported("its parts are packed in a way that office files never are")
        }
        other => Error::broken(other),
    }
}

/// Rejects XML with entity declarations. Office programs write none; entity expansion attacks
/// ("billion laughs") and external entities need them.
fn reject_entities(part: &[u8]) -> Result<(), Error> {
    const NEEDLE: &str = "<!ENTITY";
    let little: Vec<u8> = NEEDLE.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = NEEDLE.encode_utf16().flat_map(u16::to_be_bytes).collect();
    match [NEEDLE.as_bytes(), &little, &big]
        .iter()
        .any(|needle| memmem::find(part, needle).is_some())
    {
        true => Err(Error::Hostile("XML entities")),
        false => Ok(()),
    }
}

/// Number of entries that the end of central directory record claims (APPNOTE 4.3.14, 4.3.16); 0
/// without such a record.
fn claimed_entries(file: &mut File) -> std::io::Result<u64> {
    const END_RECORD_BYTES: u64 = 22;
    const MAX_COMMENT_BYTES: u64 = 65_535;
    // Zip64 record (56) and locator (20), which precede the end record.
    const ZIP64_BYTES: u64 = 76;
    let size = file.seek(SeekFrom::End(0))?;
    let from = size.saturating_sub(END_RECORD_BYTES + MAX_COMMENT_BYTES + ZIP64_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    file.rewind()?;
    let number = |at: usize, bytes: usize| {
        let field = tail.get(at..at + bytes).unwrap_or_default();
        field
            .iter()
            .rev()
            .fold(0, |number, byte| (number << 8) | u64::from(*byte))
    };
    let claimed = memmem::rfind(&tail, b"PK\x05\x06").map_or(0, |at| number(at + 10, 2));
    let zip64 = memmem::rfind(&tail, b"PK\x06\x06").map_or(0, |at| number(at + 32, 8));
    Ok(if claimed == 0xffff {
        zip64.max(claimed)
    } else {
        claimed
    })
}
