//! Gives a target its corpus, for the tests of the workspace.

use std::path::Path;

/// Every file of a target's corpus, and what is left of it when it is cut anywhere. `crate_dir` is that of a crate of
/// the workspace.
pub fn replay(crate_dir: &str, target: &str, run: fn(&[u8])) {
    let corpus = Path::new(crate_dir).join("../fuzz/corpus").join(target);
    let mut count = 0;
    let entries = match std::fs::read_dir(&corpus) {
        Ok(entries) => entries,
        Err(error) => panic!("no corpus of {target} in {}: {error}", corpus.display()),
    };
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => panic!("{} cannot be listed: {error}", corpus.display()),
        };
        println!("{}", path.display());
        let data = match std::fs::read(&path) {
            Ok(data) => data,
            Err(error) => panic!("{} cannot be read: {error}", path.display()),
        };
        run(&data);
        for end in 0..data.len().min(600) {
            run(&data[..end]);
        }
        count += 1;
    }
    assert!(
        count >= 3,
        "{target} has {count} seeds, at least 3 were expected"
    );
}
