//! Takes the programs out of the pages that show them, so that tests run what a reader copies.

use std::{env, error::Error, fs, path::Path};

/// A page, the file that its program is written to, and what the tests put in the place of what differs from machine to
/// machine: each text stands in the program exactly once.
type Page = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const SOCKET: (&str, &str) = ("\"/run/haproxy/admin.sock\"", "super::socket()");
const ENDPOINT: (&str, &str) = ("\"10.0.0.7:8080\"", "super::endpoint()");

const PAGES: [Page; 3] = [
    (
        "README.md",
        "readme.rs",
        &[
            SOCKET,
            ENDPOINT,
            ("// in effect, and read back from HAProxy", "super::look();"),
        ],
    ),
    (
        "lb-core/src/lib.rs",
        "core_page.rs",
        &[
            (
                "Print(\"printer\".parse()?)",
                "super::instead_of(Print(\"printer\".parse()?))",
            ),
            ENDPOINT,
            (
                "assert!(done.is_complete());",
                "assert!(done.is_complete(), \"{done:?}\"); super::look();",
            ),
        ],
    ),
    (
        "lb-haproxy/src/lib.rs",
        "haproxy_page.rs",
        &[
            SOCKET,
            ENDPOINT,
            ("// in effect, and read back from HAProxy", "super::look();"),
        ],
    ),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("..");
    let out = env::var("OUT_DIR")?;
    for (page, file, replaced) in PAGES {
        let path = root.join(page);
        println!("cargo::rerun-if-changed={}", path.display());
        let text = fs::read_to_string(path)?;
        let mut program = block(&text, "rust").ok_or_else(|| format!("{page} shows no program"))?;
        for (from, to) in replaced {
            if program.matches(from).count() != 1 {
                return Err(format!("{page}: its program has {from} not exactly once").into());
            }
            program = program.replace(from, to);
        }
        fs::write(Path::new(&out).join(file), program)?;
    }
    let readme = fs::read_to_string(root.join("README.md"))?;
    let config = block(&readme, "haproxy").ok_or("README.md shows no haproxy.cfg")?;
    fs::write(Path::new(&out).join("readme.cfg"), config)?;
    Ok(())
}

/// The first block of code of a language, in Markdown or in the comment that documents a Rust file.
fn block(text: &str, language: &str) -> Option<String> {
    let mut body: Option<String> = None;
    let mut is_inside = false;
    for line in text.lines() {
        let line = line
            .strip_prefix("//!")
            .map_or(line, |line| line.strip_prefix(' ').unwrap_or(line));
        match (line.strip_prefix("```"), &mut body) {
            (Some(_), Some(body)) => return Some(std::mem::take(body)),
            (Some(info), None) if !is_inside => {
                // A documented block without a language is Rust.
                let is_rust = info.is_empty() || info.starts_with("no_run");
                let is_wanted = info.starts_with(language) || (language == "rust" && is_rust);
                body = is_wanted.then(String::new);
                is_inside = !is_wanted;
            }
            (Some(_), None) => is_inside = false,
            (None, Some(body)) => {
                body.push_str(line);
                body.push('\n');
            }
            (None, None) => {}
        }
    }
    None
}
