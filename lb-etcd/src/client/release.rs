//! What an etcd release can be trusted with.

/// Returns `true` if answers to requests for progress keep their place among the events of a stream.
///
/// Before 3.4.25 and 3.5.8 such an answer can overtake events of revisions that it claims are told, so that it
/// proves only that the member lives.
pub(crate) fn progress_is_ordered(version: &str) -> bool {
    let mut numbers = version
        .split(['.', '-', '+'])
        .map(|number| number.parse::<u32>().ok());
    let (Some(Some(major)), Some(Some(minor)), Some(Some(patch))) =
        (numbers.next(), numbers.next(), numbers.next())
    else {
        return false;
    };
    match (major, minor) {
        (3, 4) => patch >= 25,
        (3, 5) => patch >= 8,
        (3, minor) => minor >= 6,
        (major, _) => major > 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_with_the_repair_are_trusted() {
        for (version, expected) in [
            ("3.4.23", false),
            ("3.4.25", true),
            ("3.5.7", false),
            ("3.5.16", true),
            ("3.6.0-rc.1", true),
            ("4.0.0", true),
            ("3.3.99", false),
            ("", false),
            ("3.5", false),
        ] {
            assert_eq!(progress_is_ordered(version), expected, "{version}");
        }
    }
}
