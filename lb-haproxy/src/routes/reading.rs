//! The readings of a request's path: as it was sent, and as other programs normalise it.
//!
//! Programs differ in what they make of `//`, `.` and `..`, of encoded characters and of what follows a `;`. A request is
//! served only if all of its readings lead where the path leads as it was sent. So no spelling of a path reaches a route
//! that another spelling of it does not reach.

/// The variable that says that a path may have more than one reading.
const ODD: &str = "txn.lb_odd";

/// The parts of a path that may have more than one reading.
const ODD_PARTS: [&str; 5] = ["//", "/.", "%", ";", "#"];

/// The most `..` of a path that are resolved. A path with more is refused.
const MAX_PARENTS: usize = 8;

/// Codes that Traefik compares as they are: of characters that RFC 3986 reserves, and of `%`.
const RESERVED: &str = "%(2[13-9abcfABCF]|3[abdfABDF]|40|5[bdBD])";

/// Codes of all but the characters that RFC 3986 calls unreserved.
const NOT_UNRESERVED: &str =
    "%([0189a-fA-F][0-9a-fA-F]|2[0-9a-cA-CfF]|3[a-fA-F]|40|5[b-eB-E]|60|7[b-dB-DfF])";

/// The action that refuses a request. HAProxy's own page of 400 would close the connection.
pub(crate) const REFUSE: &str =
    "http-request return status 400 content-type text/plain string 'path is ambiguous'";

/// The longest path with more than one reading that a route takes its prefix off: encoded once more it fits a buffer.
const MAX_STRIPPED: usize = 4096;

/// One way to read a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// As Traefik reads it: characters that are not reserved are decoded, `//`, `.` and `..` are resolved.
    Clean,
    /// As nginx reads it: all is decoded, then `//`, `.` and `..` are resolved.
    Decoded,
    /// As servers read it that take what follows a `;` for parameters of a segment; otherwise as [`Clean`](Self::Clean).
    Bare,
}

impl Reading {
    pub(crate) const ALL: [Self; 3] = [Self::Clean, Self::Decoded, Self::Bare];

    /// The variable of a frontend that has it, with `/?` at its end.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Self::Clean => "txn.lb_clean",
            Self::Decoded => "txn.lb_decoded",
            Self::Bare => "txn.lb_bare",
        }
    }

    /// The condition that a request has it.
    pub(crate) fn condition(self) -> String {
        format!("{{ var({}) -m found }}", self.variable())
    }

    /// The sample expression of it.
    ///
    /// No step makes a path longer, but for the end, so that none is cut off at the size of a buffer.
    fn expression(self) -> String {
        let decoded = match self {
            // No route has a `#`.
            Self::Clean | Self::Bare => format!("path,regsub(\"{RESERVED}\",#,g),url_dec"),
            Self::Decoded => "path,url_dec".to_owned(),
        };
        let bare = match self {
            Self::Bare => ",regsub(;[^/]*,,g)",
            Self::Clean | Self::Decoded => "",
        };
        let (before, after) = match self {
            // Of nginx, a path that ends in a dot segment ends in a slash.
            Self::Decoded => (",regsub(\"(/[.][.]?)$\",\"\\1/\")", ""),
            Self::Clean | Self::Bare => ("", ",regsub(^/$,//)"),
        };
        format!(
            "{decoded}{bare},regsub(//+,/,g){before},concat(/),{}{after},concat(?)",
            resolve()
        )
    }

    /// The path in this reading with `/?` at its end, as [`expression`](Self::expression) computes it. `None` where a
    /// frontend refuses the path, or where `..` are left that it refuses.
    fn of(self, path: &str) -> Option<String> {
        let mut text = match self {
            Self::Clean | Self::Bare => decode(path, |code| is_reserved(code).then_some(b'#'))?,
            Self::Decoded => decode(path, |_| None)?,
        };
        if self == Self::Bare {
            text = without_parameters(&text);
        }
        text = merged(&text);
        if self == Self::Decoded && (text.ends_with("/.") || text.ends_with("/..")) {
            text.push('/');
        }
        text.push('/');
        text = resolved(text)?;
        if self != Self::Decoded && text == "/" {
            text.push('/');
        }
        text.push('?');
        Some(text)
    }
}

/// Steps that resolve the `.` and `..` of a path that ends in a slash.
fn resolve() -> String {
    // Any segment but `..` itself.
    let parent = ",regsub(\"/([^/]*[^./][^/]*|[.][.][.]+)/[.][.]/\",/)";
    format!("regsub(\"/([.]/)+\",/,g){}", parent.repeat(MAX_PARENTS))
}

/// The lines that set `txn.lb_clean`, `txn.lb_decoded` and `txn.lb_bare`, the paths of a request as other programs read them,
/// where these may differ from the path as it was sent. They work from HAProxy 2.2 on.
///
/// Each ends in `/?`. A path that has no such reading is refused with 400: one with a `%` that begins no code, with `%00`,
/// with `..` that lead above the root, or with more than 8 of them.
#[must_use]
pub fn http_path_lines() -> Vec<String> {
    let odd = format!("{{ var({ODD}) -m found }}");
    let parts = ODD_PARTS.map(quoted).join(" ");
    let mut lines = vec![
        format!("http-request set-var({ODD}) int(1) if {{ path -m sub {parts} }}"),
        format!("{REFUSE} if {odd} {{ path -m sub %00 }}"),
    ];
    for reading in Reading::ALL {
        let with = match reading {
            Reading::Bare => " { path -m sub ; }",
            Reading::Clean | Reading::Decoded => "",
        };
        lines.push(format!(
            "http-request set-var({}) '{}' if {odd}{with}",
            reading.variable(),
            reading.expression()
        ));
    }
    // A code that is none has no reading.
    lines.push(format!("{REFUSE} if {odd} !{}", Reading::Clean.condition()));
    for reading in Reading::ALL {
        let variable = reading.variable();
        lines.push(format!("{REFUSE} if {{ var({variable}) -m sub /./ /../ }}"));
    }
    lines
}

/// The lines that refuse a request with 400 where `found`, which the path as it was sent leads to, is not what `of` names
/// for one of the readings.
pub(crate) fn agreement_lines(found: &str, of: impl Fn(Reading) -> String) -> Vec<String> {
    Reading::ALL
        .map(|reading| {
            format!(
                "{REFUSE} if {} {{ var({found}) -m found }} !{{ var({found}),strcmp({}) eq 0 }}",
                reading.condition(),
                of(reading)
            )
        })
        .into()
}

/// The lines that set `variable` to the path that a prefix is taken off, where `condition` holds: in normal form, with all
/// encoded that must be.
pub(crate) fn tidy_lines(variable: &str, condition: &str) -> Vec<String> {
    let odd = format!("{{ var({ODD}) -m found }}");
    let expression = format!(
        "path,regsub(\"{NOT_UNRESERVED}\",\"%25\\1\",g),url_dec,regsub(//+,/,g),concat(/),{},regsub(/$,)",
        resolve()
    );
    vec![
        format!("http-request set-var({variable}) path if {condition}"),
        format!("{REFUSE} if {odd} {condition} {{ path,length gt {MAX_STRIPPED} }}"),
        format!("http-request set-var({variable}) '{expression}' if {odd} {condition}"),
    ]
}

fn quoted(part: &str) -> String {
    part.replace('#', "\\#")
}

/// The readings of a path beside the one as it was sent, with `/?` at their ends. `None`: it is refused.
pub(super) fn readings(path: &str) -> Option<Vec<String>> {
    if !ODD_PARTS.iter().any(|part| path.contains(part)) {
        return Some(Vec::new());
    }
    if path.contains("%00") {
        return None;
    }
    Reading::ALL
        .into_iter()
        .filter(|reading| *reading != Reading::Bare || path.contains(';'))
        .map(|reading| reading.of(path))
        .collect()
}

/// Decodes the codes of a text, but for those that `instead` replaces; `None` for a `%` without a code.
fn decode(text: &str, instead: impl Fn(u8) -> Option<u8>) -> Option<String> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
        let code = high << 4 | low;
        bytes.push(instead(code).unwrap_or(code));
    }
    // What is no text is in no route.
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn is_reserved(code: u8) -> bool {
    b":/?#[]@!$&'()*+,;=%".contains(&code)
}

fn without_parameters(text: &str) -> String {
    let bare = text
        .split('/')
        .map(|segment| segment.split(';').next().unwrap_or_default());
    bare.collect::<Vec<_>>().join("/")
}

fn merged(text: &str) -> String {
    let mut merged = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '/' || !merged.ends_with('/') {
            merged.push(c);
        }
    }
    merged
}

/// Resolves the `.` and `..` of a path that ends in one or two slashes; `None` where some are left.
fn resolved(text: String) -> Option<String> {
    let mut text = text;
    while let Some(at) = text.find("/./") {
        text.replace_range(at..at + 2, "");
    }
    for _ in 0..MAX_PARENTS {
        // The first segment that is followed by `..`.
        let segments: Vec<&str> = text.split('/').collect();
        let Some(at) = (2..segments.len().saturating_sub(1)).find(|at| {
            let before = segments
                .get(at - 1)
                .is_some_and(|its| !matches!(*its, "" | ".."));
            before && segments.get(*at) == Some(&"..")
        }) else {
            break;
        };
        let kept = |(index, segment): (usize, &&str)| {
            (index != at && index + 1 != at).then(|| (*segment).to_owned())
        };
        let kept: Vec<String> = segments.iter().enumerate().filter_map(kept).collect();
        text = kept.join("/");
    }
    (!text.contains("/../")).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_other_programs_read_them() {
        for (path, clean, decoded) in [
            ("//admin", "/admin/?", "/admin/?"),
            ("/%61dmin", "/admin/?", "/admin/?"),
            ("/x/../admin", "/admin/?", "/admin/?"),
            ("/./admin", "/admin/?", "/admin/?"),
            ("/x%2f..%2Fadmin", "/x#..#admin/?", "/admin/?"),
            ("/x%2fy/%2e%2E/admin", "/admin/?", "/x/admin/?"),
            ("/a%20b%3Bc", "/a b#c/?", "/a b;c/?"),
            ("/a/./././b/.", "/a/b/?", "/a/b//?"),
            ("/a/b/..", "/a/?", "/a//?"),
            ("/a/..", "//?", "//?"),
            ("/a/../", "//?", "//?"),
            ("/a//", "/a//?", "/a//?"),
            ("/a/b/c/../../d", "/a/d/?", "/a/d/?"),
            (
                "/.well-known/..x",
                "/.well-known/..x/?",
                "/.well-known/..x/?",
            ),
        ] {
            let found = readings(path).unwrap();
            assert_eq!(found, [clean, decoded], "{path}");
        }
        assert_eq!(readings("/a-b/c").unwrap(), [""; 0]);
        let bare = readings("/a;x/..;/b;y=1/c").unwrap();
        assert_eq!(bare[0], "/a;x/..;/b;y=1/c/?");
        assert_eq!(bare[2], "/b/c/?");
    }

    #[test]
    fn paths_that_no_program_reads_alike_are_refused() {
        let deep = format!("/{}", "a/../".repeat(MAX_PARENTS + 1));
        for path in [
            "/%",
            "/%6",
            "/%zz",
            "/a%00b",
            "/../x",
            "/a/../../x",
            "/%2e%2e/x",
            "/../../x",
            "/a/../../../x",
            &deep,
        ] {
            assert_eq!(readings(path), None, "{path}");
        }
    }
}
