//! Packets that the kernel dropped, on loopback too: a connection that fails for them says nothing of `lb` or HAProxy.

use std::fs;

/// The kernel's counters, a line for each processor. Missing where no firewall tracks connections.
const COUNTS: &str = "/proc/net/stat/nf_conntrack";

/// The count of packets that connection tracking dropped before a test began.
#[derive(Debug, Clone, Copy)]
pub struct Dropped {
    before: u64,
}

impl Dropped {
    /// Begins to count.
    #[must_use]
    pub fn begin() -> Self {
        Self { before: counted() }
    }

    /// Returns the cause and what helps, if packets were dropped since.
    #[must_use]
    pub fn since(self) -> Option<String> {
        let dropped = counted().saturating_sub(self.before);
        (dropped > 0).then(|| {
            format!(
                "the kernel dropped {dropped} packets meanwhile: its table of tracked connections was full; run the test by \
                 .ci/with-connections"
            )
        })
    }
}

fn counted() -> u64 {
    fs::read_to_string(COUNTS).map_or(0, |text| sum(&text))
}

/// The sum of the column `drop`, whose place depends on the kernel's version.
fn sum(text: &str) -> u64 {
    let mut lines = text.lines();
    let column = lines
        .next()
        .and_then(|names| names.split_whitespace().position(|name| name == "drop"));
    let Some(column) = column else {
        return 0;
    };
    lines
        .filter_map(|line| line.split_whitespace().nth(column))
        .filter_map(|count| u64::from_str_radix(count, 16).ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_packets_of_all_processors_are_counted_by_the_name_of_their_column() {
        let text = "entries  clashres found drop early_drop\n00000cac  00000000 00000000 000010c4 00000007\n\
                    00000cac  00000000 00000000 00000002 00000000\n";
        assert_eq!(sum(text), 0x10c6);
        assert_eq!(sum("entries found\n00000cac 00000001\n"), 0);
        assert_eq!(sum(""), 0);
    }
}
