//! A command line cut into commands and words, as HAProxy cuts it.

/// Splits a line at `;`, leaving escapes in place.
pub(super) fn commands(line: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut escaped = false;
    let mut start = 0;
    for (at, byte) in line.iter().enumerate() {
        if *byte == b';' && !escaped {
            parts.push(line.get(start..at).unwrap_or_default());
            start = at + 1;
        }
        escaped = *byte == b'\\' && !escaped;
    }
    parts.push(line.get(start..).unwrap_or_default());
    parts
}

/// Splits a command into words and takes escapes away. A NUL ends it.
pub(super) fn words(command: &[u8]) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut escaped = false;
    for byte in command {
        if *byte == 0 {
            break;
        }
        let blank = matches!(byte, b' ' | b'\t' | b'\r');
        if blank && !escaped {
            words.extend(word.take());
        } else if *byte == b'\\' && !escaped {
            escaped = true;
            word.get_or_insert_default();
            continue;
        } else {
            word.get_or_insert_default().push(*byte);
        }
        escaped = false;
    }
    words.extend(word.take());
    words
        .into_iter()
        .map(|word| String::from_utf8_lossy(&word).into_owned())
        .collect()
}
