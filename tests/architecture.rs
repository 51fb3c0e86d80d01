//! The order of the server's modules, as the map at the head of `src/main.rs` states it, held against
//! the `use` lines of the code. A module may import the modules to its left in its own row and all
//! modules of the rows below; with such an order no cycle of imports across features can exist.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A module's place in the map: rows count from the top, columns from the left.
type Place = (usize, usize);

/// An import that the map does not allow.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    importer: String,
    imported: String,
}

#[test]
fn modules_import_only_what_lies_below_them_in_the_map() {
    let map = read_map(&source("src/main.rs"));
    let mut violations = Vec::new();
    for path in rust_files(&root().join("src")) {
        let relative = path
            .strip_prefix(root().join("src"))
            .expect("a file below src");
        if relative == Path::new("main.rs") || is_test(relative) {
            continue;
        }
        let module = top_module(relative);
        let imports = imports(&fs::read_to_string(&path).expect("a readable source file"));
        for violation in forbidden(&map, &module, &imports) {
            violations.push(format!("{}: {violation:?}", path.display()));
        }
    }
    assert!(
        violations.is_empty(),
        "imports against the map of src/main.rs:\n{}",
        violations.join("\n")
    );
}

#[test]
fn every_module_stands_in_the_map_once() {
    let main = source("src/main.rs");
    let map = read_map(&main);
    let declared = main
        .lines()
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    let mut declared: Vec<&str> = declared.collect();
    let mut mapped: Vec<&str> = map.keys().map(String::as_str).collect();
    declared.sort_unstable();
    mapped.sort_unstable();
    assert_eq!(
        declared, mapped,
        "`mod` lines of src/main.rs and the modules of its map"
    );
}

#[test]
fn an_import_upwards_or_to_the_right_is_found() {
    let map = read_map("//! top       app\n//! features  schools library\n//! ground    ids\n");
    let code =
        "use crate::{ids, app::App};\nuse crate::library::{Reader, access};\n// use crate::app;\n";
    let found = forbidden(&map, "schools", &imports(code));
    let violation = |imported: &str| Violation {
        importer: "schools".into(),
        imported: imported.into(),
    };
    assert_eq!(found, [violation("app"), violation("library")]);
    assert!(
        forbidden(
            &map,
            "library",
            &imports("let id = crate::schools::find();")
        )
        .is_empty()
    );
    let inline_test = "use crate::ids;\n#[cfg(test)]\nmod tests {\n    use crate::app;\n}\n";
    assert_eq!(imports(inline_test), ["ids"]);
}

/// Reads the rows `//! NAME  module module …` of the map. The first word names the row.
fn read_map(main: &str) -> HashMap<String, Place> {
    const ROWS: [&str; 5] = ["top", "http", "features", "engines", "ground"];
    let mut map = HashMap::new();
    for line in main.lines().filter_map(|line| line.strip_prefix("//! ")) {
        let mut words = line.split_whitespace();
        let row = words
            .next()
            .and_then(|name| ROWS.iter().position(|row| *row == name));
        let Some(row) = row else { continue };
        for (column, module) in words.enumerate() {
            let known = map.insert(module.to_owned(), (row, column));
            assert_eq!(known, None, "{module} stands in the map twice");
        }
    }
    map
}

/// Imports of `module` that the map does not allow.
fn forbidden(map: &HashMap<String, Place>, module: &str, imports: &[String]) -> Vec<Violation> {
    let allowed = |imported: &str| match (map.get(module), map.get(imported)) {
        (Some((row, column)), Some((other_row, other_column))) => {
            other_row > row || (other_row == row && other_column < column)
        }
        _ => false,
    };
    imports
        .iter()
        .filter(|imported| *imported != module && !allowed(imported))
        .map(|imported| Violation {
            importer: module.to_owned(),
            imported: imported.clone(),
        })
        .collect()
}

/// Top-level modules that a file names after `crate::`, macros and inline tests excepted.
fn imports(code: &str) -> Vec<String> {
    let code = code
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    let without_comments: String = code
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = Vec::new();
    for (at, _) in without_comments.match_indices("crate::") {
        let is_own_word =
            !without_comments[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if is_own_word {
            found.extend(names(&without_comments[at + "crate::".len()..]));
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// First path segments behind `crate::`: one, or those of a braced list. A macro call names no module.
fn names(rest: &str) -> Vec<String> {
    let identifier = |text: &str| {
        let name: String = text
            .trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        let is_macro = text.trim_start()[name.len()..].starts_with('!');
        (!name.is_empty() && !is_macro).then_some(name)
    };
    let Some(list) = rest.strip_prefix('{') else {
        return identifier(rest).into_iter().collect();
    };
    let (mut depth, mut items) = (0, vec![String::new()]);
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(String::new()),
            _ if depth == 0 => items.last_mut().expect("never empty").push(c),
            _ => {}
        }
    }
    items.iter().filter_map(|item| identifier(item)).collect()
}

/// The module of `src/main.rs` that a file belongs to.
fn top_module(relative: &Path) -> String {
    let first = relative
        .components()
        .next()
        .expect("a file name")
        .as_os_str()
        .to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// Tests build whole servers, so they may import everything.
fn is_test(relative: &Path) -> bool {
    let mut parts = relative
        .components()
        .map(|part| part.as_os_str().to_string_lossy());
    parts.any(|part| part == "tests" || part == "tests.rs")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                rust_files(&path)
            } else {
                vec![path]
            }
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

fn source(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("a readable source file")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
