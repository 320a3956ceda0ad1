//! `make generate`: writes the committed completion scripts and manual pages anew, and removes those that are no longer made.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut kept = BTreeSet::new();
    for (path, text) in openclaw::cli::generated::files() {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
            fs::write(&path, text)?;
            println!("wrote {}", path.display());
        }
        kept.insert(path);
    }
    let directories: BTreeSet<PathBuf> = kept
        .iter()
        .filter_map(|path| path.parent().map(Path::to_owned))
        .collect();
    for directory in directories {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if !kept.contains(&path) {
                fs::remove_file(&path)?;
                println!("removed {}", path.display());
            }
        }
    }
    Ok(())
}
