//! Configurations of a control plane, as hostile as they can be. Each function panics where what it states does not hold.

use lb::spec::{Format, Spec, SpecError};

/// The first byte chooses how it is written, the rest is a configuration.
///
/// What is refused is refused in one line, at a place that the text has. What is read is read again as the same, and what
/// is generated from it has no character that HAProxy would take for more than a word.
pub fn spec(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    let format = match choice % 2 {
        0 => Format::Toml,
        _ => Format::Json,
    };
    let text = String::from_utf8_lossy(rest);
    let spec = match Spec::parse(&text, format) {
        Ok(spec) => spec,
        Err(error) => return refused(&text, &error),
    };
    let Ok(again) = Spec::parse(&text, format) else {
        panic!("it was read before");
    };
    assert_eq!(format!("{spec:?}"), format!("{again:?}"), "a second look");
    let Some(haproxy) = spec.haproxy else {
        return;
    };
    for version in ["2.2.9", "2.6.12", "3.2.0", "3.4.0"] {
        let Ok(version) = version.parse() else {
            panic!("{version} is a version");
        };
        if let Ok(written) = haproxy.config(&version).render(&version) {
            for line in written.lines().filter(|line| !is_fixed(line)) {
                let quoted = line.contains(['#', '"', '\'', '\\', '$', '\t', '\r', '\0']);
                assert!(!quoted, "{line}");
            }
        }
    }
}

/// Returns `true` for the lines that read the path of a request: they have quotes of their own, and no word of a
/// configuration.
fn is_fixed(line: &str) -> bool {
    let reads = line
        .trim_start()
        .starts_with("http-request set-var(txn.lb_");
    reads && !line.contains("map") || line.contains(" string 'path is ambiguous' if ")
}

fn refused(text: &str, error: &SpecError) {
    let SpecError::Invalid(invalid) = error else {
        panic!("{error} is no fault of a text");
    };
    assert!(!invalid.message.is_empty());
    let shown = invalid.to_string();
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
    if let Some(position) = invalid.position {
        let lines = text.split('\n').count();
        assert!(
            (1..=lines + 1).contains(&position.line) && position.column >= 1,
            "{shown}"
        );
    }
}
