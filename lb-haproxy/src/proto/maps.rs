//! `show map`: which maps there are, and what is in them.

use serde::Serialize;

use super::{BoundedText, MapVersion, ParseError};

/// One map as `show map` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MapInfo {
    /// Its number, which may be another one after a reload; `None` where HAProxy gives none.
    pub id: Option<u32>,
    /// The file that the configuration names, empty for a list without file.
    ///
    /// It is what HAProxy prints, not a [`MapName`](super::MapName): it may have what that cannot.
    pub file: String,
    /// The version in use (2.4+).
    pub current_version: Option<MapVersion>,
    /// The version last prepared (2.4+).
    pub next_version: Option<MapVersion>,
    /// The number of entries it has (2.4+).
    pub entries: Option<u64>,
}

/// One entry of a map.
///
/// Key and value are what HAProxy prints: a map file may have blanks where a typed value cannot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct MapEntry {
    /// The key that is looked up.
    pub key: String,
    /// The value that is found, empty where the entry has none.
    pub value: String,
}

/// Reads the reply to `show map` without a map's name.
///
/// Lines that are no map's are left out: HAProxy describes other lists in other words.
///
/// # Errors
/// [`ParseError::Header`] for another reply.
pub fn parse_maps(text: &str) -> Result<Vec<MapInfo>, ParseError> {
    if !text.starts_with("# id") {
        return Err(header(text));
    }
    Ok(text.lines().skip(1).filter_map(map_info).collect())
}

/// Reads the entries of one map, in their order, which is the order of lookup.
///
/// A key with a blank, which only a map file can bring in, is cut there, as HAProxy prints no end of it.
///
/// # Errors
/// [`ParseError::Header`] for another reply.
pub fn parse_map_entries(text: &str) -> Result<Vec<MapEntry>, ParseError> {
    text.lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let rest = line.strip_prefix("0x").ok_or_else(|| header(line))?;
            let (_, entry) = rest.split_once(' ').ok_or_else(|| header(line))?;
            let (key, value) = entry.split_once(' ').unwrap_or((entry, ""));
            Ok(MapEntry {
                key: key.to_owned(),
                value: value.to_owned(),
            })
        })
        .collect()
}

fn map_info(line: &str) -> Option<MapInfo> {
    let (id, rest) = line.split_once(" (")?;
    // A file's name may have a parenthesis, the description that follows has one fixed beginning.
    let (file, description) = rest
        .split_once(") pattern loaded from file")
        .or_else(|| rest.split_once(") "))?;
    let counter = |name: &str| -> Option<u64> {
        let (_, after) = description.rsplit_once(name)?;
        let (_, number) = after.split_once('=').filter(|(gap, _)| gap.is_empty())?;
        number.split_ascii_whitespace().next()?.parse().ok()
    };
    let version = |name| {
        counter(name)
            .and_then(|number| number.try_into().ok())
            .map(MapVersion::new)
    };
    Some(MapInfo {
        id: id.trim().parse().ok(),
        file: file.to_owned(),
        current_version: version("curr_ver"),
        next_version: version("next_ver"),
        entries: counter("entry_cnt"),
    })
}

fn header(text: &str) -> ParseError {
    ParseError::Header {
        reply: "show map",
        found: BoundedText::new(text),
    }
}
