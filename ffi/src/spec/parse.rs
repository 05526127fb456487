//! Reads a text and says where it is wrong.

use std::{fmt, marker::PhantomData};

use lb_haproxy::Policy;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_path_to_error::{Path, Segment, Track};

use super::{
    document::Spec,
    error::{Invalid, Position},
    origin::{Format, Origin},
    source::SourceKind,
    target::{TargetKind, TargetSpec},
};

/// A table of which only `kind` is read.
#[derive(Debug, Deserialize)]
pub(super) struct Tag<K> {
    pub(super) kind: K,
}

/// The same where `kind` may be missing.
#[derive(Debug, Deserialize)]
pub(super) struct DefaultTag<K: Default> {
    #[serde(default)]
    pub(super) kind: K,
}

impl<K> Tag<K> {
    pub(super) fn seed() -> PhantomData<Self> {
        PhantomData
    }
}

impl<K: Default> DefaultTag<K> {
    pub(super) fn seed() -> PhantomData<Self> {
        PhantomData
    }
}

/// The kinds of all sources and targets, which say how to read them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Outline {
    sources: Vec<Tag<SourceKind>>,
    targets: Vec<DefaultTag<TargetKind>>,
}

/// Reads a whole configuration.
pub(super) fn spec(origin: &Origin) -> Result<Spec, Invalid> {
    let outline = read(origin, PhantomData::<Outline>)?;
    read(origin, SpecSeed(&outline))
}

/// Reads a text as whatever `seed` reads.
pub(super) fn read<'t, S>(origin: &'t Origin, seed: S) -> Result<S::Value, Invalid>
where
    S: DeserializeSeed<'t>,
{
    let mut track = Track::new();
    match origin.format {
        Format::Json => {
            let mut input = serde_json::Deserializer::from_str(&origin.text);
            let tracked = serde_path_to_error::Deserializer::new(&mut input, &mut track);
            let result = seed
                .deserialize(tracked)
                .and_then(|value| input.end().map(|()| value));
            result.map_err(|error| {
                let position = Position::of_bytes(&origin.text, error.line(), error.column());
                let suffix = format!(" at line {} column {}", error.line(), error.column());
                let message = error.to_string();
                let message = message.strip_suffix(&suffix).unwrap_or(&message);
                invalid(origin, Some(position), track.path(), message)
            })
        }
        Format::Toml => {
            let result = toml::Deserializer::parse(&origin.text).and_then(|input| {
                seed.deserialize(serde_path_to_error::Deserializer::new(input, &mut track))
            });
            result.map_err(|error| {
                let position = error
                    .span()
                    .map(|span| Position::of_offset(&origin.text, span.start));
                invalid(origin, position, track.path(), error.message())
            })
        }
    }
}

fn invalid(origin: &Origin, position: Option<Position>, path: Path, message: &str) -> Invalid {
    let field = path.to_string();
    // A dot is the whole, a question mark what was not read yet.
    let field = match field.trim_end_matches('?').trim_end_matches('.') {
        "" => String::new(),
        known => known.to_owned(),
    };
    // One line, whatever the parser says.
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let message = match may_be_secret(&path, &message) {
        true => lb_core::credentials::without_quoted(&message),
        false => message,
    };
    origin.invalid(position, field, message)
}

/// Returns `true` if a value that the message shows may be a secret: it stands in a table that has one, in the place of a
/// whole table, or in a URL.
fn may_be_secret(path: &Path, message: &str) -> bool {
    const TABLES: [&str; 4] = ["auth", "connection", "password", "tls"];
    let secret = path
        .iter()
        .any(|segment| matches!(segment, Segment::Map { key } if TABLES.contains(&key.as_str())));
    let of_table = ["struct", "a map", "a table", "map"]
        .iter()
        .any(|kind| message.contains(&format!("expected {kind}")));
    let in_url = message.contains("://") && message.contains('@');
    secret || of_table || in_url
}

struct SpecSeed<'o>(&'o Outline);

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Agent,
    Guard,
    Haproxy,
    InitialLimit,
    PassLimit,
    Resync,
    Settle,
    Sources,
    Targets,
    Waves,
}

impl<'de> DeserializeSeed<'de> for SpecSeed<'_> {
    type Value = Spec;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Spec, D::Error> {
        input.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for SpecSeed<'_> {
    type Value = Spec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a configuration with sources and targets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Spec, A::Error> {
        let mut spec = Spec::default();
        while let Some(field) = map.next_key()? {
            match field {
                Field::Agent => spec.agent = map.next_value()?,
                Field::Guard => spec.guard = map.next_value()?,
                Field::Haproxy => spec.haproxy = Some(map.next_value()?),
                Field::InitialLimit => spec.initial_limit = map.next_value_seed(Time)?,
                Field::PassLimit => spec.pass_limit = map.next_value_seed(Time)?,
                Field::Resync => spec.resync = map.next_value_seed(Time)?,
                Field::Settle => spec.settle = map.next_value_seed(Time)?,
                Field::Waves => spec.waves = map.next_value()?,
                Field::Sources => {
                    let kinds = self.0.sources.iter().map(|tag| tag.kind).collect();
                    spec.sources = map.next_value_seed(Each(kinds))?;
                }
                Field::Targets => {
                    let kinds = self.0.targets.iter().map(|tag| tag.kind).collect();
                    spec.targets = map.next_value_seed(Each(kinds))?;
                }
            }
        }
        let usual = Policy::default().resync;
        for target in &mut spec.targets {
            let TargetSpec::Haproxy(config) = target;
            // Looking at a target includes reading it again, unless it has a time of its own.
            if config.policy.resync == usual {
                config.policy.resync = spec.resync;
            }
        }
        Ok(spec)
    }
}

/// Reads a length of time.
struct Time;

impl<'de> DeserializeSeed<'de> for Time {
    type Value = std::time::Duration;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        lb_core::duration::deserialize(input)
    }
}

/// Reads a list whose elements are read by these.
struct Each<S>(Vec<S>);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Each<S> {
    type Value = Vec<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        input.deserialize_seq(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Each<S> {
    type Value = Vec<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        for seed in self.0 {
            let Some(value) = list.next_element_seed(seed)? else {
                break;
            };
            values.push(value);
        }
        // A JSON list must be read to its end.
        while list.next_element::<serde::de::IgnoredAny>()?.is_some() {}
        Ok(values)
    }
}
