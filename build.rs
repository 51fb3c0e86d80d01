//! Rebuilds the server when what it embeds changes: migrations and the built web front end.

fn main() {
    // Cargo runs this script every time while a watched path is missing, so an unbuilt front end is an empty folder.
    std::fs::create_dir_all("web/dist").expect("the source tree is writable");
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=web/dist");
}
