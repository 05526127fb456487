//! What the command line says. Pure.

use std::{net::SocketAddr, time::Duration};

use lb_core::{Name, Weight};
use serde_json::Value;

use crate::{
    config::{AuthConfig, ConnectionConfig},
    registration::{Advert, Entry, Health, Probe, RegistrationConfig, SerfHandler},
};

/// The usage of the program.
pub const USAGE: &str = "\
Registers an endpoint in etcd under a lease: ready when it is healthy, draining when it leaves, gone when it is gone.

Usage:
  lb-register OPTIONS -- COMMAND [ARGUMENT...]   for as long as the command runs
  lb-register OPTIONS                            until SIGTERM or SIGINT, beside a container
  lb-register serf OPTIONS                       handles one event of a serf agent, as its -event-handler

Where etcd is:
  --etcd URL[,URL...]       its members (default http://127.0.0.1:2379)
  --ca FILE                 the authorities that sign its certificates
  --cert FILE --key FILE    our certificate
  --user NAME --password-file FILE

What is registered:
  --service NAME --address IP:PORT   an endpoint in lb's own layout
  --id NAME                 its name (default: the host's name)
  --prefix PREFIX           what the layout's keys begin with (default /lb)
  --weight N                0 to 256 (default 100)
  --metadata NAME=TEXT      for people and other programs; may be repeated
  --entry KEY=VALUE         a plain key instead, such as /proxy/frontend/web1=192.0.2.7:9001; may be repeated.
                            With serf, both sides may insert {name}, {address} and {tag.<tag>}

How:
  --check none|tcp|http:PATH   what admits the endpoint (default none)
  --check-address IP:PORT   whom to ask (default: the address)
  --check-interval TIME     how often (default 2s)
  --drain TIME              how long it serves on when it leaves (default 0s)
  --ttl TIME                how long its keys outlive a crash (default 10s)

With a command, SIGTERM and SIGINT first drain the endpoint, then end the command with SIGTERM; a second one does not
wait for the drain. The command's exit status is the program's. If it ends by itself, the endpoint is removed at once.
";

/// The arguments of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Args {
    /// The order to carry out.
    pub work: Work,
}

/// The work of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Work {
    /// Show how it is used.
    Help,
    /// Register an endpoint.
    Register {
        /// The registration.
        config: Box<RegistrationConfig>,
        /// For as long as this runs; empty: as long as the program itself.
        command: Vec<String>,
    },
    /// Handle an event of serf.
    Serf {
        /// The cluster.
        connection: Box<ConnectionConfig>,
        /// The handler that is written.
        handler: SerfHandler,
    },
}

/// A problem of a command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidArgs {
    /// An option that is needed is missing.
    #[error("{option} is missing, expected {expected}")]
    Missing {
        /// The option.
        option: &'static str,
        /// The text of what was expected.
        expected: &'static str,
    },
    /// There is no such option.
    #[error("{option:?} is no option, expected one that --help shows")]
    Unknown {
        /// The option that was given.
        option: String,
    },
    /// An option has a value that it cannot have.
    #[error("{option} is {value:?}, expected {expected}")]
    Value {
        /// The option.
        option: String,
        /// Its value.
        value: String,
        /// The text of what was expected.
        expected: String,
    },
}

#[derive(Default)]
struct Given {
    etcd: Vec<String>,
    ca: Option<String>,
    cert: Option<String>,
    key: Option<String>,
    user: Option<String>,
    password_file: Option<String>,
    service: Option<Name>,
    id: Option<Name>,
    address: Option<SocketAddr>,
    prefix: Option<String>,
    weight: Option<Weight>,
    metadata: Vec<(String, String)>,
    entries: Vec<(String, String)>,
    check: Option<String>,
    check_address: Option<SocketAddr>,
    check_interval: Option<Duration>,
    drain: Option<Duration>,
    ttl: Option<Duration>,
}

impl Args {
    /// Reads a command line, without the program's name. `host`: the name of this host.
    ///
    /// # Errors
    /// [`InvalidArgs`] names option, value and expectation.
    pub fn parse(
        arguments: impl IntoIterator<Item = String>,
        host: &str,
    ) -> Result<Self, InvalidArgs> {
        let mut arguments = arguments.into_iter().peekable();
        let serf = arguments.next_if(|first| first == "serf").is_some();
        let mut given = Given::default();
        let mut command = Vec::new();
        while let Some(option) = arguments.next() {
            match option.as_str() {
                "--" => {
                    command.extend(arguments);
                    break;
                }
                "-h" | "--help" => return Ok(Self { work: Work::Help }),
                _ => {}
            }
            let (option, value) = match option.split_once('=') {
                Some((option, value)) if option.starts_with("--") => {
                    (option.to_owned(), value.to_owned())
                }
                _ if option.starts_with("--") => {
                    let value = arguments.next().ok_or_else(|| InvalidArgs::Value {
                        option: option.clone(),
                        value: String::new(),
                        expected: "a value after it".to_owned(),
                    })?;
                    (option, value)
                }
                _ => return Err(InvalidArgs::Unknown { option }),
            };
            given.take(option, value)?;
        }
        let work = if serf {
            given.serf()?
        } else {
            given.register(command, host)?
        };
        Ok(Self { work })
    }
}

impl Given {
    fn take(&mut self, option: String, value: String) -> Result<(), InvalidArgs> {
        let invalid = |expected: &str| InvalidArgs::Value {
            option: option.clone(),
            value: value.clone(),
            expected: expected.to_owned(),
        };
        let pair = || {
            let (name, text) = value.split_once('=').ok_or_else(|| invalid("NAME=VALUE"))?;
            Ok((name.to_owned(), text.to_owned()))
        };
        let address = || {
            value
                .parse()
                .map_err(|_| invalid("an address such as 192.0.2.7:80"))
        };
        let time = || {
            lb_core::duration::parse(&value)
                .ok_or_else(|| invalid("a length of time such as 500ms, 10s or 1m30s"))
        };
        let name = || {
            let parsed: Result<Name, _> = value.parse();
            parsed.map_err(|error| invalid(&error.to_string()))
        };
        match option.as_str() {
            "--etcd" => self.etcd.extend(value.split(',').map(str::to_owned)),
            "--ca" => self.ca = Some(value),
            "--cert" => self.cert = Some(value),
            "--key" => self.key = Some(value),
            "--user" => self.user = Some(value),
            "--password-file" => self.password_file = Some(value),
            "--service" => self.service = Some(name()?),
            "--id" => self.id = Some(name()?),
            "--address" => self.address = Some(address()?),
            "--prefix" => self.prefix = Some(value),
            "--weight" => {
                let weight = value
                    .parse()
                    .ok()
                    .and_then(|weight| Weight::new(weight).ok());
                self.weight = Some(weight.ok_or_else(|| invalid("0 to 256"))?);
            }
            "--metadata" => self.metadata.push(pair()?),
            "--entry" => self.entries.push(pair()?),
            "--check" => self.check = Some(value),
            "--check-address" => self.check_address = Some(address()?),
            "--check-interval" => self.check_interval = Some(time()?),
            "--drain" => self.drain = Some(time()?),
            "--ttl" => self.ttl = Some(time()?),
            _ => return Err(InvalidArgs::Unknown { option }),
        }
        Ok(())
    }

    fn connection(&mut self) -> ConnectionConfig {
        if self.etcd.is_empty() {
            self.etcd.push("http://127.0.0.1:2379".to_owned());
        }
        let mut connection = ConnectionConfig::new(std::mem::take(&mut self.etcd));
        connection.tls.ca_file = self.ca.take().map(Into::into);
        connection.tls.cert_file = self.cert.take().map(Into::into);
        connection.tls.key_file = self.key.take().map(Into::into);
        connection.auth = self.user.take().map(|user| AuthConfig {
            user,
            password: None,
            password_file: self.password_file.take().map(Into::into),
        });
        connection
    }

    fn serf(mut self) -> Result<Work, InvalidArgs> {
        if self.entries.is_empty() {
            return Err(InvalidArgs::Missing {
                option: "--entry",
                expected: "a key and a value such as /proxy/frontend/{name}={address}:80",
            });
        }
        Ok(Work::Serf {
            connection: Box::new(self.connection()),
            handler: SerfHandler::new(std::mem::take(&mut self.entries)),
        })
    }

    fn register(mut self, command: Vec<String>, host: &str) -> Result<Work, InvalidArgs> {
        let connection = self.connection();
        let drain = self.drain.unwrap_or_default();
        let mut entries: Vec<Entry> = self
            .entries
            .iter()
            .map(|(key, value)| Entry::plain(key, value))
            .collect();
        match (self.service.take(), self.address) {
            (Some(service), Some(address)) => {
                let id = self.id.take().unwrap_or_else(|| Name::from_text(host));
                let mut advert = Advert::new(service, id, address);
                if let Some(prefix) = self.prefix.take() {
                    advert.prefix = prefix;
                }
                advert.weight = self.weight.unwrap_or_default();
                advert.drain = drain;
                advert.metadata = self
                    .metadata
                    .drain(..)
                    .map(|(name, text)| (name, Value::from(text)))
                    .collect();
                entries.push(advert.entry());
            }
            (Some(_), None) => {
                return Err(InvalidArgs::Missing {
                    option: "--address",
                    expected: "where the endpoint serves",
                });
            }
            (None, _) if entries.is_empty() => {
                return Err(InvalidArgs::Missing {
                    option: "--service",
                    expected: "a service with --address, or --entry",
                });
            }
            (None, _) => {}
        }
        let health = self.health()?;
        let mut config = RegistrationConfig::new(connection, entries);
        config.drain = drain;
        config.health = health;
        if let Some(ttl) = self.ttl {
            config.ttl = ttl;
        }
        Ok(Work::Register {
            config: Box::new(config),
            command,
        })
    }

    fn health(&self) -> Result<Health, InvalidArgs> {
        let check = self.check.as_deref().unwrap_or("none");
        if check == "none" {
            return Ok(Health::Assumed);
        }
        let address = self
            .check_address
            .or(self.address)
            .ok_or(InvalidArgs::Missing {
                option: "--check-address",
                expected: "whom to ask",
            })?;
        let mut probe = Probe::new(address);
        if let Some(interval) = self.check_interval {
            probe.interval = interval;
        }
        match check.strip_prefix("http:") {
            Some(path)
                if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) =>
            {
                Ok(Health::Http {
                    probe,
                    path: path.to_owned(),
                })
            }
            None if check == "tcp" => Ok(Health::Tcp(probe)),
            _ => Err(InvalidArgs::Value {
                option: "--check".to_owned(),
                value: check.to_owned(),
                expected: "none, tcp or http:/path".to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Work, String> {
        let words = line.split_whitespace().map(str::to_owned);
        Args::parse(words, "host-7")
            .map(|args| args.work)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_endpoint_is_described() {
        let line = "--etcd http://a:1,http://b:2 --service web --address 192.0.2.7:80 --check http:/healthz \
                    --drain 5s --ttl=3s -- sleep 1";
        let Ok(Work::Register { config, command }) = parse(line) else {
            panic!("{:?}", parse(line));
        };
        assert_eq!(command, ["sleep", "1"]);
        assert_eq!(config.entries[0].key, "/lb/endpoints/web/host-7");
        assert_eq!(config.connection.endpoints, ["http://a:1", "http://b:2"]);
        assert_eq!(
            (config.drain, config.ttl),
            (Duration::from_secs(5), Duration::from_secs(3))
        );
        assert!(matches!(config.health, Health::Http { path, .. } if path == "/healthz"));
    }

    #[test]
    fn refusals_name_option_and_value() {
        for (line, expected) in [
            ("", "--service is missing"),
            ("--service web", "--address is missing"),
            ("--service a/b", "--service is \"a/b\""),
            ("--address web:80", "--address is \"web:80\""),
            ("--weight 300", "--weight is \"300\""),
            ("--drain 5", "--drain is \"5\""),
            ("--nonsense x", "\"--nonsense\" is no option"),
            ("nonsense", "\"nonsense\" is no option"),
            ("--etcd", "--etcd is \"\""),
            ("serf", "--entry is missing"),
            ("--entry /k=v --check tcp", "--check-address is missing"),
            (
                "--entry /k=v --check x --check-address 192.0.2.7:80",
                "--check is \"x\"",
            ),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
