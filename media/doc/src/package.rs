//! Zip containers, bounded: a lying header, a bomb or a name with `..` costs no more than the limits say, and nothing is written to disk.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use memchr::memmem;
use zip::ZipArchive;
use zip::result::ZipError;

use crate::error::Error;
use crate::limits::{ENTRIES, PACKAGE_BYTES, XML_BYTES};

/// An open zip file.
pub struct Package {
    zip: ZipArchive<BufReader<File>>,
    /// Unpacked bytes that may still be asked for.
    left: u64,
}

impl Package {
    /// Reads the list of entries.
    pub fn open(path: &Path) -> Result<Package, Error> {
        let mut file = File::open(path).map_err(Error::input(path))?;
        // Asked before the library makes room for as many as the file claims.
        if promised_entries(&mut file).map_err(Error::input(path))? > ENTRIES {
            return Err(Error::TooMany("parts"));
        }
        let zip = ZipArchive::new(BufReader::new(file)).map_err(unreadable)?;
        if zip.len() as u64 > ENTRIES {
            return Err(Error::TooMany("parts"));
        }
        Ok(Package {
            zip,
            left: PACKAGE_BYTES,
        })
    }

    /// The names as they are written.
    pub fn names(&self) -> Vec<String> {
        self.zip
            .file_names_raw()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect()
    }

    /// One part, unpacked; `None` if there is none of this name.
    pub fn read(&mut self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(index) = self.zip.index_for_name_raw(name.as_bytes()) else {
            return Ok(None);
        };
        self.read_at(index).map(Some)
    }

    /// A part that the format demands.
    pub fn demand(&mut self, name: &str) -> Result<Vec<u8>, Error> {
        self.read(name)?
            .ok_or_else(|| Error::Broken(format!("it lacks {name}")))
    }

    /// What the list says of each entry: raw name, claimed size, whether it is encrypted.
    pub fn list(&mut self) -> Result<Vec<(Vec<u8>, u64, bool)>, Error> {
        (0..self.zip.len())
            .map(|index| {
                let entry = self.zip.by_index_raw(index).map_err(unreadable)?;
                Ok((entry.name_raw().to_vec(), entry.size(), entry.encrypted()))
            })
            .collect()
    }

    /// Unpacks everything once, for the programs that will do the same without our limits.
    pub fn check(&mut self) -> Result<(), Error> {
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
                refuse_entities(&self.read_at(index)?)?;
            } else {
                self.count(index)?;
            }
        }
        Ok(())
    }

    fn read_at(&mut self, index: usize) -> Result<Vec<u8>, Error> {
        let room = self.left.min(XML_BYTES);
        let entry = self.zip.by_index(index).map_err(unreadable)?;
        let mut part = Vec::new();
        entry
            .take(room + 1)
            .read_to_end(&mut part)
            .map_err(Error::broken)?;
        self.spend(part.len() as u64, room)?;
        Ok(part)
    }

    fn count(&mut self, index: usize) -> Result<(), Error> {
        let room = self.left;
        let entry = self.zip.by_index(index).map_err(unreadable)?;
        let bytes = std::io::copy(&mut entry.take(room + 1), &mut std::io::sink())
            .map_err(Error::broken)?;
        self.spend(bytes, room)
    }

    fn spend(&mut self, bytes: u64, room: u64) -> Result<(), Error> {
        if bytes > room {
            return Err(Error::TooLarge(
                "it unpacks to more than an office file may hold".into(),
            ));
        }
        self.left -= bytes;
        Ok(())
    }
}

fn unreadable(error: ZipError) -> Error {
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

/// No office program writes entities; billion laughs and reading of foreign files need them.
fn refuse_entities(part: &[u8]) -> Result<(), Error> {
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

/// How many entries the end of the central directory promises (APPNOTE 4.3.14, 4.3.16); 0 where there is no such end.
fn promised_entries(file: &mut File) -> std::io::Result<u64> {
    const END: usize = 22;
    const COMMENT: u64 = 65_535;
    let size = file.seek(SeekFrom::End(0))?;
    let from = size.saturating_sub(END as u64 + COMMENT + 76);
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
    let plain = memmem::rfind(&tail, b"PK\x05\x06").map_or(0, |at| number(at + 10, 2));
    let large = memmem::rfind(&tail, b"PK\x06\x06").map_or(0, |at| number(at + 32, 8));
    Ok(if plain == 0xffff {
        large.max(plain)
    } else {
        plain
    })
}
