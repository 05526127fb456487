//! Reads one configuration out of a table that has keys of its own besides.

use std::{fmt, marker::PhantomData};

use lb_core::Name;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, IntoDeserializer, MapAccess, Visitor},
    forward_to_deserialize_any,
};

use super::bounds::Bounds;

/// Reads a `T` out of a table, leaving out `kind`, what bounds a source, and `name` where that is taken apart.
///
/// The `T` may deny unknown fields, and its errors keep their places in the text: nothing is buffered.
pub(super) struct Sieve<'n, T> {
    name: Option<&'n mut Option<Name>>,
    bounds: Option<&'n mut Bounds>,
    reads: PhantomData<T>,
}

impl<'n, T> Sieve<'n, T> {
    /// Leaves out `kind`.
    pub(super) fn kind() -> Self {
        Self {
            name: None,
            bounds: None,
            reads: PhantomData,
        }
    }

    /// Leaves out what bounds a source too, and puts it here.
    pub(super) fn bounds(mut self, bounds: &'n mut Bounds) -> Self {
        self.bounds = Some(bounds);
        self
    }

    /// Leaves out `kind`, and puts `name` here.
    pub(super) fn kind_and_name(name: &'n mut Option<Name>) -> Self {
        Self {
            name: Some(name),
            bounds: None,
            reads: PhantomData,
        }
    }
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Sieve<'_, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<T, D::Error> {
        T::deserialize(Sieved {
            input,
            name: self.name,
            bounds: self.bounds,
        })
    }
}

/// Any input, read as a map without the keys that are left out.
struct Sieved<'n, D> {
    input: D,
    name: Option<&'n mut Option<Name>>,
    bounds: Option<&'n mut Bounds>,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Sieved<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.input.deserialize_map(SievedVisitor {
            visitor,
            name: self.name,
            bounds: self.bounds,
        })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct SievedVisitor<'n, V> {
    visitor: V,
    name: Option<&'n mut Option<Name>>,
    bounds: Option<&'n mut Bounds>,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for SievedVisitor<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(SievedMap {
            map,
            name: self.name,
            bounds: self.bounds,
        })
    }
}

struct SievedMap<'n, A> {
    map: A,
    name: Option<&'n mut Option<Name>>,
    bounds: Option<&'n mut Bounds>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for SievedMap<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        mut seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        loop {
            let key = KeySeed {
                seed,
                takes_name: self.name.is_some(),
                takes_bounds: self.bounds.is_some(),
            };
            match self.map.next_key_seed(key)? {
                None => return Ok(None),
                Some(Key::Other(value)) => return Ok(Some(value)),
                Some(Key::Kind(unused)) => {
                    self.map.next_value::<IgnoredAny>()?;
                    seed = unused;
                }
                Some(Key::Bound(field, unused)) => {
                    if let Some(bounds) = self.bounds.as_deref_mut() {
                        bounds.read(field, &mut self.map)?;
                    }
                    seed = unused;
                }
                Some(Key::Name(unused)) => {
                    let found = self.map.next_value()?;
                    if let Some(name) = self.name.as_deref_mut() {
                        *name = Some(found);
                    }
                    seed = unused;
                }
            }
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// A key: left out, so that its seed is still unused, or read.
enum Key<K, V> {
    Bound(&'static str, K),
    Kind(K),
    Name(K),
    Other(V),
}

struct KeySeed<K> {
    seed: K,
    takes_name: bool,
    takes_bounds: bool,
}

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for KeySeed<K> {
    type Value = Key<K, K::Value>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        input.deserialize_identifier(self)
    }
}

impl<'de, K: DeserializeSeed<'de>> Visitor<'de> for KeySeed<K> {
    type Value = Key<K, K::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
        match key {
            "kind" => Ok(Key::Kind(self.seed)),
            "name" if self.takes_name => Ok(Key::Name(self.seed)),
            _ => match Bounds::FIELDS.iter().find(|field| **field == key) {
                Some(field) if self.takes_bounds => Ok(Key::Bound(field, self.seed)),
                _ => self
                    .seed
                    .deserialize(key.into_deserializer())
                    .map(Key::Other),
            },
        }
    }
}
