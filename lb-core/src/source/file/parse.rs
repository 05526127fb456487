//! From the bytes of a file to its records, or to what is wrong with it and where. Pure.

use serde::Deserialize;
use serde_path_to_error::{Deserializer, Path, Segment, Track};

use super::schema::Document;
use crate::{
    credentials::without_quoted,
    source::{Diagnostic, Record, Severity},
};

/// The longest value that is shown of a file that is wrong.
const SHOWN: usize = 80;

/// The most endpoints of a file that no target can serve that are reported one by one.
const MOST_UNSERVABLE: usize = 32;

/// The format of a file, by its extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Toml,
    Yaml,
}

impl Format {
    /// The format of a file of this name.
    pub(super) fn of(file: &str) -> Option<Self> {
        match file.rsplit_once('.')?.1 {
            "json" => Some(Self::Json),
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }
}

/// The problem of a file, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    /// Line and column, from 1; `None` for the file as a whole.
    at: Option<(usize, usize)>,
    field: Option<String>,
    value: Option<String>,
    message: String,
    severity: Severity,
}

impl Broken {
    pub(super) fn whole(message: String) -> Self {
        Self {
            at: None,
            field: None,
            value: None,
            message,
            severity: Severity::Failed,
        }
    }

    /// The same without anything of the file's content, unless it is a file of services: it may have got here by mistake.
    fn discreet(mut self) -> Self {
        let of_services = self
            .field
            .as_ref()
            .is_some_and(|field| field.starts_with("services."));
        if !of_services {
            self.field = self.field.filter(|field| field == "services");
            self.value = None;
            self.message = without_quoted(&self.message);
        }
        // What an unknown field or a whole table has in it may be anything.
        let is_unknown = self.message.starts_with("unknown field");
        self.value = self
            .value
            .filter(|value| !is_unknown && !value.starts_with(['{', '[']));
        self
    }

    /// The same for people and programs, naming the file by its path.
    pub(super) fn diagnostic(&self, path: &str) -> Diagnostic {
        let object = match self.at {
            Some((line, column)) => format!("{path}:{line}:{column}"),
            None => path.to_owned(),
        };
        Diagnostic {
            object,
            field: self.field.clone(),
            value: self.value.clone(),
            message: self.message.clone(),
            severity: self.severity,
        }
    }
}

/// The endpoints that no target can serve. They are left out by themselves; the rest of the file is in effect.
pub(super) fn unservable(bytes: &[u8], records: &[Record]) -> Vec<Broken> {
    let text = String::from_utf8_lossy(bytes);
    records
        .iter()
        .filter_map(|record| {
            let wrong = record.endpoint.as_ref()?.check().err()?;
            // As it is written there, unless it is written in an unusual way.
            let at = text.find(wrong.value()).map(|at| position(&text, at));
            let (service, id) = (&record.key.service, &record.key.id);
            Some(Broken {
                at,
                field: Some(format!(
                    "services.{service}.endpoints.{id}.{}",
                    wrong.field()
                )),
                value: Some(wrong.value().to_owned()),
                message: format!("no target can serve it, expected {}", wrong.expected()),
                severity: Severity::Error,
            })
        })
        .take(MOST_UNSERVABLE)
        .collect()
}

/// The records of the file named `file`.
pub(super) fn parse(file: &str, bytes: &[u8]) -> Result<Vec<Record>, Broken> {
    let Some(format) = Format::of(file) else {
        return Err(Broken::whole(
            "the extension says no format, expected .toml, .json, .yaml or .yml".to_owned(),
        ));
    };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let valid = String::from_utf8_lossy(valid);
        Broken {
            at: Some(position(&valid, valid.len())),
            ..Broken::whole("not UTF-8 text".to_owned())
        }
    })?;
    let document = match format {
        Format::Json => json(text),
        Format::Toml => toml(text),
        Format::Yaml => yaml(text),
    };
    let document = document.map_err(Broken::discreet)?;
    Ok(document.records(file))
}

fn toml(text: &str) -> Result<Document, Broken> {
    let broken = |error: &toml::de::Error, track: Track| {
        let span = error.span();
        Broken {
            at: span.as_ref().map(|span| position(text, span.start)),
            field: field(&track.path()),
            value: span.and_then(|span| shown(text.get(span)?)),
            message: error.message().to_owned(),
            severity: Severity::Failed,
        }
    };
    let input = toml::Deserializer::parse(text).map_err(|error| broken(&error, Track::new()))?;
    let mut track = Track::new();
    Document::deserialize(Deserializer::new(input, &mut track))
        .map_err(|error| broken(&error, track))
}

fn json(text: &str) -> Result<Document, Broken> {
    let mut track = Track::new();
    let mut input = serde_json::Deserializer::from_str(text);
    let document = Document::deserialize(Deserializer::new(&mut input, &mut track));
    document
        .and_then(|document| input.end().map(|()| document))
        .map_err(|error| {
            let path = track.path();
            let message = error.to_string();
            // The position is told apart from the message.
            let message = message
                .rsplit_once(" at line ")
                .map_or(message.as_str(), |(message, _)| message);
            Broken {
                at: Some((error.line(), error.column())),
                field: field(&path),
                value: serde_json::from_str(text)
                    .ok()
                    .and_then(|whole| value(&whole, &path)),
                message: message.to_owned(),
                severity: Severity::Failed,
            }
        })
}

fn yaml(text: &str) -> Result<Document, Broken> {
    let mut track = Track::new();
    let document = serde_saphyr::with_deserializer_from_str(text, |input| {
        Document::deserialize(Deserializer::new(input, &mut track))
    });
    document.map_err(|error| {
        let error = error.without_snippet();
        let at = error.location().map(|location| {
            let number = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
            (number(location.line()), number(location.column()))
        });
        let message = error.to_string();
        let message = message.trim_start_matches("error: ");
        // The position is told apart from the message.
        let told = at.map(|(line, column)| {
            (
                format!("line {line} column {column}: "),
                format!(" at line {line}, column {column}"),
            )
        });
        let message = match &told {
            Some((before, after)) => {
                let message = message.strip_prefix(before.as_str()).unwrap_or(message);
                message.strip_suffix(after.as_str()).unwrap_or(message)
            }
            None => message,
        };
        let path = track.path();
        Broken {
            at,
            field: field(&path),
            value: serde_saphyr::from_str(text)
                .ok()
                .and_then(|whole| value(&whole, &path)),
            message: message.to_owned(),
            severity: Severity::Failed,
        }
    })
}

fn field(path: &Path) -> Option<String> {
    let known = path
        .iter()
        .any(|segment| !matches!(segment, Segment::Unknown));
    known.then(|| path.to_string())
}

/// The value at a path of a file that was read anew without a schema.
fn value(whole: &serde_json::Value, path: &Path) -> Option<String> {
    let value = path
        .iter()
        .try_fold(whole, |value, segment| match segment {
            Segment::Map { key } => value.get(key),
            Segment::Seq { index } => value.get(index),
            _ => None,
        })?;
    match value {
        serde_json::Value::String(text) => shown(text),
        other => shown(&other.to_string()),
    }
}

fn shown(value: &str) -> Option<String> {
    let value = value.trim().trim_matches(['"', '\'']);
    let fits = !value.is_empty() && value.len() <= SHOWN && !value.contains('\n');
    fits.then(|| value.to_owned())
}

/// The line and column of a byte, from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .map_or(0, |line| line.chars().count())
        + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EndpointState, Mode, OnDown, ServiceOptions};

    const TOML: &str = r#"
        [services.web]
        endpoints = ["10.0.0.7:80", { id = "b", address = "[fd00::1]:81", weight = 7, state = "draining", check_port = 9 }]
        routes = ["shop.example/api", "*.shop.example", "*/x", "a=/only"]
        [services.db]
        mode = "tcp"
        [[services.db.routes]]
        host = "db.example"
        priority = 3
    "#;

    const YAML: &str = r#"
services:
  web:
    endpoints:
      - 10.0.0.7:80
      - {id: b, address: "[fd00::1]:81", weight: 7, state: draining, check_port: 9}
    routes: [shop.example/api, "*.shop.example", "*/x", a=/only]
  db:
    mode: tcp
    routes:
      - host: db.example
        priority: 3
"#;

    const JSON: &str = r#"{"services": {
        "web": {"endpoints": ["10.0.0.7:80",
            {"id": "b", "address": "[fd00::1]:81", "weight": 7, "state": "draining", "check_port": 9}],
            "routes": ["shop.example/api", "*.shop.example", "*/x", "a=/only"]},
        "db": {"mode": "tcp", "routes": [{"host": "db.example", "priority": 3}]}}}"#;

    /// The file that the README names as the reference.
    const EXAMPLE: &str = include_str!("../../../../examples/services.toml");

    #[test]
    fn the_example_is_read_and_has_every_key() {
        let records = parse("services.toml", EXAMPLE.as_bytes()).unwrap();
        let endpoints = records.iter().filter(|record| record.endpoint.is_some());
        assert_eq!(endpoints.count(), 8);
        let routes = records.iter().map(|record| record.routes.len());
        assert_eq!(routes.sum::<usize>(), 8);
        let mut keys = 0;
        // What is said of a key that there is not names all that there are.
        for object in ["x = 1", "endpoints = [{ x = 1 }]", "routes = [{ x = 1 }]"] {
            let text = format!("[services.web]\n{object}");
            let told = parse("a.toml", text.as_bytes()).unwrap_err().message;
            let (_, expected) = told.split_once("expected one of").unwrap();
            for key in expected.split('`').skip(1).step_by(2) {
                let written = [format!("{key} = "), format!(".{key}]]")];
                assert!(
                    written.iter().any(|text| EXAMPLE.contains(text)),
                    "{object}: {key}"
                );
                keys += 1;
            }
        }
        assert_eq!(keys, 15);
    }

    #[test]
    fn the_three_formats_say_the_same() {
        let records = parse("a.toml", TOML.as_bytes()).unwrap();
        assert_eq!(records.len(), 4);
        let keys: Vec<String> = records
            .iter()
            .map(|record| record.key.to_string())
            .collect();
        assert_eq!(
            keys,
            ["db/:a.toml", "web/:a.toml", "web/10.0.0.7:80", "web/b"]
        );
        assert_eq!(records[0].mode, Mode::Tcp);
        assert_eq!(records[0].routes[0].priority, 3);
        let routes: Vec<String> = records[1]
            .routes
            .iter()
            .map(|route| format!("{}{}", route.host, route.path))
            .collect();
        assert_eq!(
            routes,
            ["shop.example/api", "*.shop.example/", "*/x", "a=/only"]
        );
        let endpoint = records[3].endpoint.clone().unwrap();
        assert_eq!(endpoint.state, EndpointState::Draining { grace: None });
        assert_eq!((endpoint.weight.get(), endpoint.check_port), (7, Some(9)));
        for (file, text) in [("a.yaml", YAML), ("a.yml", YAML), ("a.json", JSON)] {
            let others = parse(file, text.as_bytes()).unwrap();
            for (record, other) in records.iter().zip(&others) {
                assert_eq!(record.endpoint, other.endpoint, "{file}");
                assert_eq!(
                    (record.mode, &record.routes),
                    (other.mode, &other.routes),
                    "{file}"
                );
            }
            assert_eq!(others.len(), 4);
        }
    }

    #[test]
    fn case_p06_a_service_of_a_file_may_be_exclusive() {
        let text = "[services.db]\nmode = \"tcp\"\nexclusive = true\non_down = \"shutdown_sessions\"\n\
                    endpoints = [\"10.0.0.7:5432\"]";
        let records = parse("a.toml", text.as_bytes()).unwrap();
        let stated: Vec<_> = records.iter().map(|record| record.options).collect();
        let options = ServiceOptions::default()
            .exclusive(true)
            .on_down(OnDown::ShutdownSessions);
        assert_eq!(stated, [options, ServiceOptions::default()]);
        // What is not understood is never taken for less: the last good file stays in effect.
        let text = text.replace("true", "\"yes\"");
        assert!(parse("a.toml", text.as_bytes()).is_err());
    }

    /// A file, and the diagnostic that it must give.
    #[test]
    fn what_is_wrong_is_told_with_file_line_column_field_value_and_expectation() {
        let mut wrong = Vec::new();
        for (file, text, expected) in [
            (
                "a.toml",
                "[services.web]\nendpoints = [\n  { address = \"1.2.3.4\" },\n]",
                "d/a.toml:3:15: services.web.endpoints[0].address = \"1.2.3.4\": expected an IP address and a port such as 10.0.0.7:8080 or [fd00::7]:8080",
            ),
            (
                "a.yaml",
                "services:\n  web:\n    endpoints:\n    - address: 1.2.3.4:80\n      weight: 300 # too much",
                "d/a.yaml:5:7: services.web.endpoints[0].weight = \"300\": invalid value: integer `300`, expected a weight of 0 to 256",
            ),
            (
                "a.json",
                "{\"services\": {\"web\": {\n\"endpoints\": [{\"address\": \"1.2.3.4:80\", \"state\": \"up\"}]}}}",
                "d/a.json:2:53: services.web.endpoints[0].state = \"up\": unknown variant `up`, expected one of `pending`, `ready`, `draining`, `down`",
            ),
            (
                "a.toml",
                "[services.web]\nendpoint = []",
                "d/a.toml:2:1: services.web.endpoint: unknown field `endpoint`, expected one of `mode`, `exclusive`, `on_down`, `endpoints`, `routes`",
            ),
            (
                "a.toml",
                "[services.web]\nmode = \"http",
                "d/a.toml:2:13: invalid basic string",
            ),
            (
                "a.yml",
                "services:\n  web:\n    routes: [\"a b/x\"]",
                "d/a.yml:3:14: services.web.routes[0] = \"a b/x",
            ),
            // S3: a host that is not set, or an unset variable, is never every host.
            (
                "a.json",
                r#"{"services": {"web": {"routes": [{"path": "/x"}]}}}"#,
                "services.web.routes[0]: host is not set, expected a host name such as shop.example, *.example, or * for every host",
            ),
            (
                "a.toml",
                "[[services.web.routes]]\nhost = \"\"",
                "services.web.routes[0].host",
            ),
            (
                "a.yaml",
                "services:\n  web:\n    routes: [{host: , path: /x}]",
                "host is not set",
            ),
            (
                "a.yaml",
                "services:\n  web:\n    routes: [/x]",
                "expected a host first",
            ),
            (
                "a.yml",
                "services: {we b: {}}",
                "expected only A-Z a-z 0-9 . _ : -",
            ),
            ("a.yaml", "services:\n  a: {\n", "d/a.yaml:"),
            ("a.json", "{}", "missing field `services`"),
            ("a.toml", "", "missing field `services`"),
            ("a.yaml", "", "d/a.yaml"),
            (
                "a.json",
                "{\"services\":{}} x",
                "d/a.json:1:17: trailing characters",
            ),
            (
                "a.json",
                "{\"services\":{\"a\":{},\"a\":{}}}",
                "service a is there twice, expected each service once",
            ),
            (
                "a.toml",
                "[services.a]\nendpoints = [\"1.1.1.1:1\", \"1.1.1.1:1\"]",
                "endpoint id 1.1.1.1:1 is there twice",
            ),
            ("a.txt", "", "expected .toml, .json, .yaml or .yml"),
        ] {
            let broken = parse(file, text.as_bytes()).unwrap_err();
            let told = broken.diagnostic(&format!("d/{file}")).to_string();
            if !told.contains(expected) {
                wrong.push(format!("{text:?}\n told {told}\n not  {expected}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        for (file, text) in [
            ("a.toml", "hunter2"),
            ("a.toml", "password = \"hunter2"),
            ("a.toml", "password = \"hunter2\""),
            ("a.toml", "hunter2 = 1"),
            ("a.toml", "services = \"hunter2\""),
            ("a.yaml", "hunter2"),
            ("a.yaml", "password: hunter2"),
            ("a.yaml", "a: [hunter2"),
            ("a.yaml", "a: *hunter2"),
            ("a.yaml", "!hunter2 x"),
            ("a.json", "\"hunter2\""),
            ("a.json", "{\"password\": \"hunter2\"}"),
            ("a.json", "{\"services\": \"hunter2\"}"),
            ("a.json", "hunter2"),
            (
                "a.json",
                "{\"services\": {\"web\": {\"password\": \"hunter2\"}}}",
            ),
            ("a.yaml", "services: {web: {token: hunter2}}"),
            ("a.toml", "[services.web]\nauth = \"hunter2\""),
            ("a.yaml", "services: {web: {endpoints: {token: hunter2}}}"),
            ("a.yaml", "-----BEGIN hunter2-----\nhunter2: hunter2"),
        ] {
            let broken = parse(file, text.as_bytes()).unwrap_err();
            let told = broken.diagnostic("f").to_string();
            assert!(!told.contains("hunter2"), "{text:?} told {told}");
        }
        let broken = parse("a.toml", b"x = 1\n\xff").unwrap_err();
        assert_eq!(broken.diagnostic("f").to_string(), "f:2:1: not UTF-8 text");
    }

    #[test]
    fn no_bytes_make_the_parser_panic() {
        use proptest::prelude::*;
        let pieces = "[services.a]|endpoints|=|{|}|[|]|\n|: |- |\"|1.1.1.1:1|weight|300|&a|*a|<<|\t|é|,|null|!!x|---|#";
        let piece = proptest::sample::select(pieces.split('|').collect::<Vec<_>>());
        proptest!(|(text in proptest::collection::vec(piece, 0..40))| {
            let text = text.concat();
            for file in ["a.toml", "a.json", "a.yaml"] {
                if let Err(broken) = parse(file, text.as_bytes()) {
                    prop_assert!(!broken.message.is_empty());
                }
            }
        });
    }
}
