//! What SECURITY.md says has tests, and they are there.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap().to_owned()
}

fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

fn sources(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// The tests that a paragraph or a row names.
fn tests(part: &str) -> Vec<&str> {
    part.split_once("Tests: ")
        .map(|(_, tests)| tests.split('`').skip(1).step_by(2).collect())
        .unwrap_or_default()
}

/// The rows of the threat table, and the paragraphs that promise something.
fn promises(page: &str) -> Vec<String> {
    let mut parts = Vec::new();
    for section in page.split("\n## ").skip(1) {
        let (title, body) = section.split_once('\n').unwrap();
        // How to report, and assumptions.
        if title == "Reporting" || title == "What lb trusts" {
            continue;
        }
        for block in body
            .split("\n\n")
            .map(str::trim)
            .filter(|block| !block.is_empty())
        {
            match block.starts_with('|') {
                false => parts.push(block.to_owned()),
                true if title.starts_with("Who could attack") => {
                    parts.extend(block.lines().skip(2).map(str::to_owned));
                }
                // A table of what to configure: the paragraph after it has the tests.
                true => {}
            }
        }
    }
    parts
}

#[test]
fn each_threat_and_each_promise_names_a_test_that_is_there() {
    let page = text("SECURITY.md");
    let mut code = String::new();
    sources(&root(), &mut code);
    let parts = promises(&page);
    assert!(parts.len() > 20, "{parts:?}");
    for part in parts {
        let named = tests(&part);
        assert!(!named.is_empty(), "no test is named by: {part}");
        for test in named {
            assert!(code.contains(&format!("fn {test}(")), "no test {test}");
        }
    }
}

/// The pages that users read speak of machines, and of people by what they do.
#[test]
fn the_pages_name_what_they_speak_of() {
    let avoided: BTreeSet<&str> =
        ["whoever", "whom", "nobody", "somebody", "wish", "wishes"].into();
    for file in ["SECURITY.md", "README.md", "CHANGELOG.md"] {
        for (number, line) in text(file).lines().enumerate() {
            // What stands in code is a name.
            let prose: Vec<&str> = line.split('`').step_by(2).collect();
            let lower = prose.join(" ").to_lowercase();
            let mut words = lower.split(|c: char| !c.is_alphanumeric());
            let found = words.find(|word| avoided.contains(word));
            assert_eq!(found, None, "{file}:{}: {line}", number + 1);
        }
    }
}

#[test]
fn dependencies_are_locked_and_of_one_registry() {
    let lock = text("Cargo.lock");
    let mut foreign = 0;
    let mut sources = BTreeSet::new();
    for package in lock.split("[[package]]").skip(1) {
        let Some((_, source)) = package.split_once("source = \"") else {
            continue;
        };
        foreign += 1;
        let (source, _) = source.split_once('"').unwrap();
        assert!(source.starts_with("registry+https://"), "{package}");
        sources.insert(source);
        assert!(package.contains("\nchecksum = \""), "{package}");
    }
    assert!(foreign > 50, "{foreign}");
    assert_eq!(sources.len(), 1, "{sources:?}");
    for name in [
        "protobuf-src",
        "protoc-bin-vendored",
        "openssl-sys",
        "native-tls",
    ] {
        let entry = format!("\nname = \"{name}\"\n");
        assert!(!lock.contains(&entry), "{name} is linked");
    }
    let deny = text("deny.toml");
    for line in [
        "unknown-registry = \"deny\"",
        "unknown-git = \"deny\"",
        "[licenses]",
    ] {
        assert!(deny.contains(line), "{line}");
    }
}
