//! What an endpoint is asked for and what it must answer, known to both sides. Pure.

use std::{fmt, time::Duration};

use bytes::Bytes;

/// The content that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ask {
    /// The endpoint's address, at once.
    #[default]
    Identity,
    /// The endpoint's address, after this time.
    Slow(Duration),
    /// A body of known length and content, sent over this time.
    Download(Duration),
}

/// A download comes in pieces of this many bytes.
pub(super) const PIECE: usize = 1024;
/// One piece of a download is sent every so often.
pub(super) const PIECE_EVERY: Duration = Duration::from_millis(25);
/// No request takes longer than this.
const LONGEST: Duration = Duration::from_secs(120);

impl Ask {
    /// The request that a path means; `None` for a path that means none.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let ask = match path.split_once("?ms=") {
            None if path == "/" => Self::Identity,
            Some(("/slow", ms)) => Self::Slow(Duration::from_millis(ms.parse().ok()?)),
            Some(("/download", ms)) => Self::Download(Duration::from_millis(ms.parse().ok()?)),
            _ => return None,
        };
        (ask.takes() <= LONGEST).then_some(ask)
    }

    /// The time the answer takes, by intention.
    #[must_use]
    pub fn takes(self) -> Duration {
        match self {
            Self::Identity => Duration::ZERO,
            Self::Slow(time) | Self::Download(time) => time,
        }
    }

    /// The number of pieces the download has; 0 for other requests.
    pub(super) fn pieces(self) -> usize {
        match self {
            Self::Identity | Self::Slow(_) => 0,
            Self::Download(time) => {
                usize::try_from(time.as_millis() / PIECE_EVERY.as_millis()).unwrap_or(0) + 1
            }
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity => f.write_str("/"),
            Self::Slow(time) => write!(f, "/slow?ms={}", time.as_millis()),
            Self::Download(time) => write!(f, "/download?ms={}", time.as_millis()),
        }
    }
}

/// Piece `number` of a download: its bytes tell where in the body they stand.
pub(super) fn piece(number: usize) -> Bytes {
    (number * PIECE..(number + 1) * PIECE)
        .map(byte_at)
        .collect()
}

/// The byte at one position of a download. 251 is prime, so no piece looks like another at a wrong place.
pub(super) fn byte_at(position: usize) -> u8 {
    u8::try_from((position + position / 251) % 251).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_as_it_is_written() {
        for ask in [
            Ask::Identity,
            Ask::Slow(Duration::from_millis(7)),
            Ask::Download(Duration::from_millis(5000)),
        ] {
            assert_eq!(Ask::parse(&ask.to_string()), Some(ask));
        }
        for bad in [
            "",
            "/x",
            "/slow",
            "/slow?ms=",
            "/slow?ms=-1",
            "/download?ms=999999999",
        ] {
            assert_eq!(Ask::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_lost_or_repeated_piece_changes_the_content() {
        assert_eq!(piece(3).len(), PIECE);
        assert_ne!(piece(3), piece(4));
        assert_ne!(piece(0), piece(1));
        assert_eq!(Ask::Download(Duration::from_secs(5)).pieces(), 201);
    }
}
