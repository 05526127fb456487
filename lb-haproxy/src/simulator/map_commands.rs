//! The commands about maps.

use std::fmt::Write as _;

use super::{
    command::{Answer, error, info},
    maps::Map,
    worker::Worker,
};

const UNKNOWN: &str = "Unknown map identifier. Please use #<id> or <file>.";

impl Worker {
    /// Answers a command that begins with `… map`; `None` where there is no such command.
    pub(super) fn map_command(&mut self, words: &[&str], payload: Option<&str>) -> Option<Answer> {
        let reach = self.profile.reaches_prepared_versions();
        let transactions = self.profile.has_map_transactions();
        let (verb, rest) = (words.first().copied()?, words.get(2..)?);
        let (version, rest) = match rest.split_first() {
            Some((first, rest))
                if transactions && verb != "get" && verb != "set" && verb != "del" =>
            {
                match first.strip_prefix('@') {
                    Some(number) => (Some(leading_number(number)), rest),
                    None => (None, words.get(2..)?),
                }
            }
            _ => (None, rest),
        };
        let arg = |at: usize| rest.get(at).copied().unwrap_or_default();
        Some(match verb {
            "show" if arg(0).is_empty() && version.is_none() => Answer::Dump(self.list_maps()),
            "show" => self.with_map(arg(0), |map| {
                let mut out = String::new();
                let version = version.unwrap_or(map.current);
                for (at, entry) in map.of(version).enumerate() {
                    let _ = writeln!(out, "{:#x} {} {}", 0x55d0_0000_1000 + 64 * at, entry.key, entry.value);
                }
                Answer::Dump(out)
            }),
            "get" if arg(0).is_empty() || arg(1).is_empty() => {
                error("'get map' expects two parameters: map identifier and key.")
            }
            "get" => self.with_map(arg(0), |map| {
                let key = arg(1);
                Answer::Dump(match map.get(key) {
                    Some(value) => format!(
                        "type=str, case=sensitive, found=yes, idx=tree, key=\"{key}\", value=\"{value}\", type=\"str\"\n"
                    ),
                    None => "type=str, case=sensitive, found=no\n".to_owned(),
                })
            }),
            "set" if arg(0).is_empty() || arg(1).is_empty() || arg(2).is_empty() => {
                error("'set map' expects three parameters: map identifier, key and value.")
            }
            "set" => self.with_map(arg(0), |map| match arg(1) {
                key if key.starts_with('#') => error("key or pattern not found."),
                key if map.set(key, arg(2), reach) => Answer::Done,
                _ => error("entry not found."),
            }),
            "del" if arg(0).is_empty() || arg(1).is_empty() => {
                error("This command expects two parameters: map identifier and key.")
            }
            "del" => {
                let only_one = self.profile.deletes_one_entry();
                self.with_map(arg(0), |map| match map.delete(arg(1), only_one, reach) {
                    true => Answer::Done,
                    false => error("Key not found."),
                })
            }
            "clear" if arg(0).is_empty() => error("Missing map identifier."),
            "clear" => {
                let only_lowest = self.profile.clears_the_lowest_version_only();
                self.with_map(arg(0), |map| {
                    map.clear(version.unwrap_or(map.current), only_lowest);
                    Answer::Done
                })
            }
            "add" => self.add_map(rest, version, payload),
            "prepare" if transactions => {
                self.with_map(arg(0), |map| info(format!("New version created: {}", map.prepare())))
            }
            "commit" if transactions => match version {
                None => error("Missing version number."),
                Some(version) => self.with_map(arg(0), |map| match map.commit(version) {
                    true => Answer::Done,
                    false => error("Version number out of range."),
                }),
            },
            _ => return None,
        })
    }

    fn add_map(&mut self, rest: &[&str], version: Option<u32>, payload: Option<&str>) -> Answer {
        let arg = |at: usize| rest.get(at).copied().unwrap_or_default();
        let incomplete = match payload {
            Some(_) => arg(0).is_empty(),
            None => arg(0).is_empty() || arg(1).is_empty() || arg(2).is_empty(),
        };
        if incomplete {
            return error(
                "'add map' expects three parameters (map identifier, key and value) or one parameter (map \
                 identifier) and a payload",
            );
        }
        self.with_map(arg(0), |map| {
            let version = version.unwrap_or(map.current);
            if version > map.next {
                return error("Version number in the future, please use 'prepare map' before.");
            }
            let Some(payload) = payload else {
                map.add(version, arg(1), arg(2));
                return Answer::Done;
            };
            for line in payload.lines() {
                let (key, value) = line.split_once([' ', '\t']).unwrap_or((line, ""));
                let value = value.trim_start_matches([' ', '\t']);
                if value.is_empty() {
                    return error(format!("Missing value for key '{key}'."));
                }
                map.add(version, key, value);
            }
            Answer::Done
        })
    }

    fn with_map(&mut self, name: &str, then: impl FnOnce(&mut Map) -> Answer) -> Answer {
        match self.maps.iter_mut().find(|map| map.is(name)) {
            Some(map) => then(map),
            None => error(UNKNOWN),
        }
    }

    fn list_maps(&self) -> String {
        let mut out = "# id (file) description\n".to_owned();
        for map in &self.maps {
            let _ = write!(out, "{} ({}) {}", map.id, map.file, map.description);
            if self.profile.has_map_transactions() {
                let _ = write!(
                    out,
                    ". curr_ver={} next_ver={} entry_cnt={}",
                    map.current,
                    map.next,
                    map.entries.len()
                );
            }
            out.push('\n');
        }
        out
    }
}

/// The number that C's `atoi` makes of a text.
pub(super) fn leading_number(text: &str) -> u32 {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.get(..digits)
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}
