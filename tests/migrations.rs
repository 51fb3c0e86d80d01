//! Migrations that have landed are immutable: a database that has applied one refuses to start with
//! another text of it (sqlx compares checksums).

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};

/// SHA-256 of every migration. Add a line with a new file; never change one.
const LANDED: [(&str, &str); 8] = [
    (
        "0001_base.sql",
        "21f7653fae4a7fa073a6e3a63b5a29b487e87d67b69376404eba30b3ded04451",
    ),
    (
        "0100_recording.sql",
        "5c3918ce0d2518bab913e6fe3686bafdc5c04ebf71c168243fec254f869284dc",
    ),
    (
        "0200_live.sql",
        "4d18569401d151ad2b06e859948cbc366bde8f0452270b6a278af36a8278253d",
    ),
    (
        "0210_attended.sql",
        "451cb7f9623aa9237e1dce06d97fa0e9a5ae2b33071cefedfcde4bd3dc3604f9",
    ),
    (
        "0300_library.sql",
        "c6d299ff97ef3a2f13a5134bce8474c73c7bed0006d06b726cfea0e34300dcd6",
    ),
    (
        "0310_search.sql",
        "691133a819206e68595693a41f8353b90693e36a088ecbd75d7fa1f9aa99c1a0",
    ),
    (
        "0320_shelf.sql",
        "d0089b3444a984426aaf61679eb1a6097d86de9b6ac944f4c32d077dc413a6a2",
    ),
    (
        "0400_accounts.sql",
        "5584123eadbe54eae8a62f81fb3b18fa5f2f64a711e7950d9d4228fe50a9e5ba",
    ),
];

#[test]
fn landed_migrations_are_never_edited() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let files = std::fs::read_dir(folder).expect("the folder of migrations");
    let present: BTreeMap<String, String> = files
        .map(|file| {
            let path = file.expect("an entry").path();
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (
                name,
                hex::encode(Sha256::digest(std::fs::read(&path).expect("readable"))),
            )
        })
        .collect();
    let landed = LANDED.map(|(name, hash)| (name.to_owned(), hash.to_owned()));
    assert_eq!(
        present,
        BTreeMap::from(landed),
        "add new files to LANDED; never change a landed one"
    );
}
