//! Texts from outside, made fit for logs, terminals and status pages.
//!
//! Pure.

use std::{borrow::Cow, fmt::Write as _};

/// The most bytes of a value that is shown.
pub const VALUE: usize = 256;

/// The most bytes of an object's name that is shown.
pub const OBJECT: usize = 512;

/// The most bytes of a message.
pub const MESSAGE: usize = 1024;

/// The text with everything escaped that could forge a line, move a cursor, speak to a terminal or turn the direction of
/// reading, and cut to about `most` bytes. What was cut is counted.
///
/// ```
/// use lb_core::text::shown;
///
/// assert_eq!(shown("plain", 99), "plain");
/// assert_eq!(shown("a\nWARN forged \x1b[2J", 99), "a\\nWARN forged \\u{1b}[2J");
/// assert_eq!(shown(&"x".repeat(1000), 4), "xxxx… (1000 bytes)");
/// ```
#[must_use]
pub fn shown(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most && text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len().min(most) + 24);
    for c in text.chars() {
        if safe.len() + c.len_utf8() > most {
            let _never_fails = write!(safe, "… ({} bytes)", text.len());
            break;
        }
        match is_plain(c) {
            true => safe.push(c),
            false => safe.extend(escaped(c)),
        }
    }
    Cow::Owned(safe)
}

/// The same text where it is fit, else as [`shown`] makes it.
#[must_use]
pub fn cleaned(text: String, most: usize) -> String {
    match shown(&text, most) {
        Cow::Borrowed(_) => text,
        Cow::Owned(safe) => safe,
    }
}

/// The text with everything escaped but line feeds and tabs: for whole pages and answers of several lines.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    let fits = |c: char| is_plain(c) || matches!(c, '\n' | '\t');
    if text.chars().all(fits) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 24);
    for c in text.chars() {
        match fits(c) {
            true => safe.push(c),
            false => safe.extend(escaped(c)),
        }
    }
    Cow::Owned(safe)
}

fn escaped(c: char) -> impl Iterator<Item = char> {
    // What is not a control character, such as a change of direction, is named by its number too.
    let named = matches!(c, '\n' | '\r' | '\t');
    let by_name = named.then(|| c.escape_default());
    let by_number = (!named).then(|| c.escape_unicode());
    by_name
        .into_iter()
        .flatten()
        .chain(by_number.into_iter().flatten())
}

/// Returns `true` if a character is only itself wherever it is read.
fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(
            c,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any characters: a text that is drawn as such has no control characters.
    fn any_text() -> impl Strategy<Value = String> {
        let hostile = vec![
            '\n', '\r', '\t', '\0', '\u{7}', '\u{1b}', '\u{9b}', '\u{202e}', '\u{feff}',
        ];
        let any = prop_oneof![any::<char>(), prop::sample::select(hostile), Just('x')];
        prop::collection::vec(any, 0..40).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn case_h09_no_text_forges_a_line_or_speaks_to_a_terminal(text in any_text(), most in 0..64_usize) {
            let safe = shown(&text, most);
            prop_assert!(safe.chars().all(is_plain), "{safe:?}");
            prop_assert!(safe.len() <= most + 40);
            prop_assert!(lines(&text).chars().all(|c| is_plain(c) || c == '\n' || c == '\t'));
        }
    }

    #[test]
    fn case_h09_every_kind_of_escape_is_shown_as_text() {
        for (text, expected) in [
            ("a\u{7}b", "a\\u{7}b"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{1b}]0;owned\u{7}", "\\u{1b}]0;owned\\u{7}"),
            ("\u{202e}gnp.exe", "\\u{202e}gnp.exe"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("grün", "grün"),
        ] {
            assert_eq!(shown(text, 99), expected);
        }
        assert_eq!(shown("grün", 3), "gr… (5 bytes)");
        assert_eq!(lines("a\n\u{1b}b"), "a\n\\u{1b}b");
    }
}
