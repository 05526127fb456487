//! What a file may say. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    marker::PhantomData,
    net::SocketAddr,
};

use serde::{
    Deserialize, Deserializer,
    de::{self, Error, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{
    model::{
        Endpoint, EndpointState, Mode, Name, OnDown, PathMatch, Route, RouteHost, ServiceOptions,
        Weight, parse_route,
    },
    source::{Record, RecordKey},
};

/// A whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with `services`")]
pub(super) struct Document {
    /// Required, so that a file cut to nothing is broken and not empty.
    services: Services,
}

#[derive(Debug)]
struct Services(BTreeMap<Name, ServiceEntry>);

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a service: a table with `mode`, `exclusive`, `on_down`, `endpoints`, `routes`"
)]
struct ServiceEntry {
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    exclusive: Option<bool>,
    #[serde(default)]
    on_down: Option<OnDown>,
    #[serde(default)]
    endpoints: Endpoints,
    #[serde(default)]
    routes: Vec<Short<RouteEntry>>,
}

#[derive(Debug, Default)]
struct Endpoints(Vec<(Name, Endpoint)>);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndpointEntry {
    #[serde(default)]
    id: Option<Name>,
    address: Address,
    #[serde(default)]
    weight: WeightEntry,
    #[serde(default)]
    state: StateEntry,
    #[serde(default)]
    check_port: Option<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "RouteFields")]
struct RouteEntry {
    host: RouteHost,
    path: PathMatch,
    priority: i32,
    strip_prefix: bool,
    redirect_https: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteFields {
    host: Option<RouteHost>,
    #[serde(default)]
    path: PathMatch,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    strip_prefix: bool,
    #[serde(default)]
    redirect_https: bool,
}

#[derive(Debug)]
struct Address(SocketAddr);

#[derive(Debug, Default)]
struct WeightEntry(Weight);

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateEntry {
    Pending,
    #[default]
    Ready,
    Draining,
    Down,
}

/// Something that can be written short, as a text, or as a table.
#[derive(Debug)]
struct Short<T>(T);

/// A value that can be written short.
trait FromShort: Sized {
    const EXPECTED: &'static str;
    fn from_short(text: &str) -> Result<Self, String>;
}

impl Document {
    /// The records that the file named `file` asks for.
    pub(super) fn records(self, file: &str) -> Vec<Record> {
        let mut records = Vec::new();
        for (service, entry) in self.services.0 {
            let options = ServiceOptions::default()
                .exclusive(entry.exclusive)
                .on_down(entry.on_down);
            let routes: Vec<Route> = entry
                .routes
                .into_iter()
                .map(|Short(route)| {
                    Route::new(route.host, route.path, service.clone())
                        .with_priority(route.priority)
                        .with_strip_prefix(route.strip_prefix)
                        .with_redirect_https(route.redirect_https)
                })
                .collect();
            // One record of the file declares the service, so that its routes live however its endpoints come and
            // go; a name of the file's own lets several files add to one service.
            let key = RecordKey::new(service.clone(), Name::from_text(&format!(":{file}")));
            records.push(
                Record::declare(key)
                    .with_mode(entry.mode)
                    .with_options(options)
                    .with_routes(routes),
            );
            records.extend(entry.endpoints.0.into_iter().map(|(id, endpoint)| {
                Record::new(RecordKey::new(service.clone(), id), endpoint).with_mode(entry.mode)
            }));
        }
        records
    }
}

impl EndpointEntry {
    fn endpoint(self) -> (Name, Endpoint) {
        let Address(address) = self.address;
        let state = match self.state {
            StateEntry::Pending => EndpointState::Pending,
            StateEntry::Ready => EndpointState::Ready,
            StateEntry::Draining => EndpointState::Draining { grace: None },
            StateEntry::Down => EndpointState::Down,
        };
        let id = self
            .id
            .unwrap_or_else(|| Name::from_text(&address.to_string()));
        let endpoint = Endpoint::new(address)
            .with_weight(self.weight.0)
            .with_state(state)
            .with_check_port(self.check_port);
        (id, endpoint)
    }
}

impl FromShort for EndpointEntry {
    const EXPECTED: &'static str = "an address such as 10.0.0.7:8080, or a table with `address`, `id`, `weight`, `state`, `check_port`";

    fn from_short(text: &str) -> Result<Self, String> {
        Ok(Self {
            id: None,
            address: address(text)?,
            weight: WeightEntry::default(),
            state: StateEntry::default(),
            check_port: None,
        })
    }
}

impl TryFrom<RouteFields> for RouteEntry {
    type Error = &'static str;

    fn try_from(fields: RouteFields) -> Result<Self, Self::Error> {
        // Nothing is published on every host because a host was forgotten.
        let host = fields.host.ok_or(
            "host is not set, expected a host name such as shop.example, *.example, or * for every host",
        )?;
        Ok(Self {
            host,
            path: fields.path,
            priority: fields.priority,
            strip_prefix: fields.strip_prefix,
            redirect_https: fields.redirect_https,
        })
    }
}

impl FromShort for RouteEntry {
    const EXPECTED: &'static str = "a route such as shop.example/api, or a table with `host`, `path`, `priority`, `strip_prefix`, `redirect_https`";

    fn from_short(text: &str) -> Result<Self, String> {
        let (host, path) = parse_route(text).map_err(|error| error.to_string())?;
        Ok(Self {
            host,
            path,
            priority: 0,
            strip_prefix: false,
            redirect_https: false,
        })
    }
}

fn address(text: &str) -> Result<Address, String> {
    text.parse().map(Address).map_err(|_| {
        "expected an IP address and a port such as 10.0.0.7:8080 or [fd00::7]:8080".to_owned()
    })
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Address;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an IP address and a port such as 10.0.0.7:8080")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Address, E> {
                address(text).map_err(E::custom)
            }
        }
        input.deserialize_str(Text)
    }
}

impl<'de> Deserialize<'de> for WeightEntry {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = WeightEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a weight of 0 to 256")
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<WeightEntry, E> {
                let weight = u16::try_from(value)
                    .ok()
                    .and_then(|value| Weight::new(value).ok());
                let unexpected = de::Unexpected::Unsigned(value);
                weight
                    .map(WeightEntry)
                    .ok_or_else(|| E::invalid_value(unexpected, &self))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<WeightEntry, E> {
                match u64::try_from(value) {
                    Ok(value) => self.visit_u64(value),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(value), &self)),
                }
            }
        }
        // Whatever is written there, the answer says what a weight is.
        input.deserialize_any(Number)
    }
}

impl<'de, T: FromShort + Deserialize<'de>> Deserialize<'de> for Short<T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: FromShort + Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = Short<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::EXPECTED)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Short<T>, E> {
                T::from_short(text).map(Short).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Short<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Short)
            }
        }
        input.deserialize_any(Either(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Endpoints {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Endpoints;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of endpoints")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Endpoints, A::Error> {
                let mut ids = BTreeSet::new();
                let mut all = Vec::new();
                while let Some(Short(entry)) = list.next_element::<Short<EndpointEntry>>()? {
                    let (id, endpoint) = entry.endpoint();
                    if !ids.insert(id.clone()) {
                        return Err(A::Error::custom(format_args!(
                            "endpoint id {id} is there twice, expected each endpoint to have an `id` of its own"
                        )));
                    }
                    all.push((id, endpoint));
                }
                Ok(Endpoints(all))
            }
        }
        input.deserialize_seq(List)
    }
}

impl<'de> Deserialize<'de> for Services {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Table;
        impl<'de> Visitor<'de> for Table {
            type Value = Services;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of services by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Services, A::Error> {
                let mut all = BTreeMap::new();
                while let Some(name) = map.next_key::<Name>()? {
                    if all.contains_key(&name) {
                        return Err(A::Error::custom(format_args!(
                            "service {name} is there twice, expected each service once"
                        )));
                    }
                    let entry = map.next_value()?;
                    all.insert(name, entry);
                }
                Ok(Services(all))
            }
        }
        input.deserialize_map(Table)
    }
}
