//! Every combination that the generator can write: each HAProxy takes it, and the linter finds nothing in it but what
//! was left out on purpose.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

mod support;

use std::{fs, path::Path, time::Duration};

use lb_core::{Mode, Name};
use lb_haproxy::{
    config::{
        Backend, Balance, Bind, Certificates, Check, Config, ConfigError, Frontend, HashOn,
        HttpCheck, Method, Part, RateLimit, Slots, StatsPage, StickyCookie, TlsBind,
        lint::{ConfigFile, LintOptions, lint, map_files},
    },
    policy::HttpReuse,
    process::{check_config, check_configs},
    proto::Version,
    routes::http_route_lines,
};
use rcgen::{CertificateParams, KeyPair};
use support::{Place, executables, free_port};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn address() -> std::net::SocketAddr {
    ([127, 0, 0, 1], free_port()).into()
}

/// A site with a state file and checked slots: nothing is to be found in it.
fn site(dir: &Path) -> Config {
    let path = |file: &str| dir.join(file).display().to_string().parse().unwrap();
    let mut config = Config::new(path("admin.sock"));
    config.global.server_state_file = Some(path("state"));
    let mut web = Frontend::new(name("web"), Bind::Tcp(address()));
    web.default_backend = Some(name("shop"));
    config.frontends = vec![web];
    let mut shop = Backend::new(name("shop"), Slots::new(name("slot"), 4));
    shop.slots.check = Some(Check::default());
    config.backends = vec![shop];
    config
}

type Change = Box<dyn Fn(&mut Config, &Path)>;

fn with_backend(change: impl Fn(&mut Backend) + 'static) -> Change {
    Box::new(move |config, _| change(config.backends.first_mut().unwrap()))
}

fn with_frontend(change: impl Fn(&mut Frontend, &Path) + 'static) -> Change {
    Box::new(move |config, dir| change(config.frontends.first_mut().unwrap(), dir))
}

/// The changes that can be chosen, in groups of which any two go together.
fn choices(version: &Version) -> Vec<Vec<Change>> {
    let by_address = version.at_least(3, 0);
    let hash = move |on: HashOn| {
        with_backend(move |backend| {
            backend.balance = Balance::Hash {
                on: on.clone(),
                by_address,
            };
        })
    };
    let check = |request: HttpCheck| {
        with_backend(move |backend| {
            backend.slots.check.as_mut().unwrap().http = Some(request.clone());
        })
    };
    let mut whole = HttpCheck::new("/health".parse().unwrap());
    whole.method = Method::Head;
    whole.host = Some(name("shop.example"));
    whole.expect = Some(204);
    let mut options = HttpCheck::new("/".parse().unwrap());
    options.method = Method::Options;
    let tls = |certificates: fn(&Path) -> Certificates, http2: bool| {
        with_frontend(move |frontend, dir| {
            let mut bind = TlsBind::new(address(), certificates(dir));
            bind.http2 = http2;
            bind.only_tls13 = !http2;
            frontend.binds.push(Bind::Tls(bind));
        })
    };
    vec![
        vec![
            with_backend(|backend| backend.balance = Balance::LeastConn),
            with_backend(|backend| backend.balance = Balance::Random),
            hash(HashOn::Source),
            hash(HashOn::Uri),
            hash(HashOn::Header("x-user".parse().unwrap())),
        ],
        vec![
            check(HttpCheck::new("/health".parse().unwrap())),
            check(whole),
            check(options),
        ],
        [
            HttpReuse::Never,
            HttpReuse::Safe,
            HttpReuse::Always,
            HttpReuse::Aggressive,
        ]
        .into_iter()
        .map(|reuse| with_backend(move |backend| backend.http_reuse = reuse))
        .collect(),
        [false, true]
            .into_iter()
            .map(|secure| {
                with_backend(move |backend| {
                    let mut cookie =
                        StickyCookie::new("SRV".parse().unwrap(), "secret".parse().unwrap());
                    cookie.secure = secure;
                    backend.cookie = Some(cookie);
                })
            })
            .collect(),
        vec![with_backend(|backend| {
            backend.server_header = Some("X-Served-By".parse().unwrap());
            backend.slots.maxconn = Some(50);
            backend.slots.pool_max_conn = Some(0);
        })],
        vec![
            tls(|dir| Certificates::At(path_in(dir, "site.pem")), true),
            tls(|dir| Certificates::List(path_in(dir, "list")), false),
            with_frontend(|frontend, _| frontend.binds.push(Bind::Http2(address()))),
        ],
        vec![with_frontend(|frontend, _| {
            frontend.rate_limit = Some(RateLimit::new(100, Duration::from_secs(10)));
        })],
        vec![Box::new(|config, _| {
            config.stats = Some(StatsPage::new(address()));
        })],
        vec![with_frontend(|frontend, dir| {
            frontend.default_backend = None;
            let map = dir.join("routes.map").display().to_string();
            frontend.route_map = Some(map.parse().unwrap());
        })],
        vec![Box::new(|config, _| {
            let mut raw = Frontend::new(name("raw"), Bind::Tcp(address()));
            raw.mode = Mode::Tcp;
            raw.default_backend = Some(name("bytes"));
            config.frontends.push(raw);
            let mut bytes = Backend::new(name("bytes"), Slots::new(name("slot"), 2));
            bytes.mode = Mode::Tcp;
            bytes.slots.check = Some(Check::default());
            config.backends.push(bytes);
        })],
    ]
}

fn path_in(dir: &Path, file: &str) -> lb_haproxy::config::ConfigPath {
    dir.join(file).display().to_string().parse().unwrap()
}

/// Each choice alone, and every two of different groups.
fn combinations(groups: &[Vec<Change>]) -> Vec<Vec<&Change>> {
    let mut all: Vec<Vec<&Change>> = vec![Vec::new()];
    for (at, group) in groups.iter().enumerate() {
        for one in group {
            all.push(vec![one]);
            for other in groups.iter().skip(at + 1).flatten() {
                all.push(vec![one, other]);
            }
        }
    }
    // And as much as there is at once.
    all.push(groups.iter().filter_map(|group| group.first()).collect());
    all.push(groups.iter().filter_map(|group| group.last()).collect());
    all
}

fn folder() -> Place {
    let place = Place::new("");
    let dir = &place.dir;
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["shop.example".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let pem = format!("{}{}", certificate.pem(), key.serialize_pem());
    fs::write(dir.path().join("site.pem"), pem).unwrap();
    let list = format!("{}\n", dir.path().join("site.pem").display());
    fs::write(dir.path().join("list"), list).unwrap();
    fs::write(dir.path().join("routes.map"), "").unwrap();
    fs::write(dir.path().join("state"), "1\n").unwrap();
    place
}

#[tokio::test]
async fn each_haproxy_takes_each_combination_and_the_linter_finds_nothing() {
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let place = folder();
        let dir = &place.dir;
        let groups = choices(&version);
        let all = combinations(&groups);
        println!("HAProxy {version}: {} combinations", all.len());
        for (number, changes) in all.iter().enumerate() {
            let mut config = site(dir.path());
            for change in changes {
                change(&mut config, dir.path());
            }
            let text = config.render(&version).unwrap();
            let file = ConfigFile {
                name: "haproxy.cfg",
                text: &text,
            };
            let mut options = LintOptions::default();
            options.version = Some(version.clone());
            options.policy.persistence = true;
            assert!(
                map_files(&[file])
                    .iter()
                    .all(|file| Path::new(file).exists())
            );
            let findings = lint(&[file], &options);
            assert!(findings.is_empty(), "{version}: {findings:#?}\n{text}");
            // Each alone, and every seventh pair: HAProxy is asked in a process of its own.
            if changes.len() != 2 || number % 7 == 0 {
                fs::write(&place.config, &text).unwrap();
                let checked = check_config(&executable, &place.config).await;
                assert!(checked.is_ok(), "{version}: {checked:?}\n{text}");
            }
        }
        // The last one has much of everything.
        place.start(&executable).await;
    }
}

/// The parts that a user writes by hand stay, in a template or in a file of its own.
#[tokio::test]
async fn parts_written_by_hand_are_kept() {
    const MINE: &str =
        "frontend mine\n  bind 127.0.0.1:PORT  # by hand\n  mode http\n  default_backend shop\n";
    for executable in executables() {
        let version = executable.version().await.unwrap();
        let place = folder();
        let dir = &place.dir;
        let config = site(dir.path());
        let mine = MINE.replace("PORT", &free_port().to_string());
        let template = format!(
            "# lb: global\n  log 127.0.0.1:1 local0\n\n# lb: defaults\n  log global\n\n# lb: frontends\n{mine}\n# lb: backends\n"
        );
        let text = config.render_into(&template, &version).unwrap();
        for kept in [
            mine.as_str(),
            "  log 127.0.0.1:1 local0\n",
            "  log global\n",
        ] {
            assert!(text.contains(kept), "{text}");
        }
        let path = dir.path().join("haproxy.cfg");
        fs::write(&path, &text).unwrap();
        check_config(&executable, &path).await.unwrap();

        fs::write(&path, config.render(&version).unwrap()).unwrap();
        let own = dir.path().join("own.cfg");
        fs::write(
            &own,
            format!(
                "{}{mine}",
                config.render_part(Part::Defaults, &version).unwrap()
            ),
        )
        .unwrap();
        check_configs(&executable, &[&path, &own]).await.unwrap();
    }
}

#[test]
fn a_template_has_each_part_once() {
    let version: Version = "3.2.0".parse().unwrap();
    let config = site(Path::new("/run/haproxy"));
    let refused = |template: &str| config.render_into(template, &version).unwrap_err();
    let whole = "# lb: global\n# lb: defaults\n# lb: frontends\n# lb: backends\n";
    assert!(config.render_into(whole, &version).is_ok());
    assert_eq!(
        refused(&format!("{whole}\n# lb: global")).to_string(),
        "template line 6: `# lb: global` is there twice"
    );
    assert_eq!(
        refused("# lb: globe").to_string(),
        "template line 1: `# lb: globe` is no part"
    );
    assert_eq!(
        refused(&whole.replace("# lb: defaults\n", "")).to_string(),
        "template line 3: `# lb: defaults` is missing"
    );
}

#[test]
fn what_needs_http_or_another_number_is_refused() {
    let version: Version = "3.2.0".parse().unwrap();
    let refused = |change: &dyn Fn(&mut Config)| {
        let mut config = site(Path::new("/run/haproxy"));
        change(&mut config);
        config.render(&version).unwrap_err()
    };
    let error = refused(&|config| {
        let backend = config.backends.first_mut().unwrap();
        backend.mode = Mode::Tcp;
        let (name, key) = ("SRV".parse().unwrap(), "key".parse().unwrap());
        backend.cookie = Some(StickyCookie::new(name, key));
    });
    assert_eq!(
        error.to_string(),
        "backend shop has mode tcp, a cookie needs http"
    );
    let error = refused(&|config| {
        let frontend = config.frontends.first_mut().unwrap();
        frontend.mode = Mode::Tcp;
        frontend.rate_limit = Some(RateLimit::new(1, Duration::from_secs(1)));
    });
    assert!(matches!(error, ConfigError::NeedsHttp { .. }));
    let error = refused(&|config| {
        let check = config.backends.first_mut().unwrap().slots.check.as_mut();
        let mut request = HttpCheck::new("/".parse().unwrap());
        request.expect = Some(99);
        check.unwrap().http = Some(request);
    });
    assert_eq!(
        error.to_string(),
        "expected status is 99, expected 100 to 599"
    );
    let error = refused(&|config| {
        config.stats = Some(StatsPage::new(([127, 0, 0, 1], 80).into()));
        config.backends.first_mut().unwrap().name = name("lb-stats");
        config.frontends.clear();
    });
    assert!(matches!(error, ConfigError::Duplicate { .. }));
}

/// The configurations of the examples have the lines that the generator writes.
#[test]
fn the_examples_look_routes_up_as_the_generator_does() {
    for file in ["compose", "swarm"] {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../examples/{file}/haproxy.cfg"));
        let mut text = fs::read_to_string(&path).unwrap();
        let (_, rest) = text.split_once("map_beg(").unwrap();
        let map = rest.split(')').next().unwrap().parse().unwrap();
        let lines: Vec<String> = http_route_lines(&map)
            .unwrap()
            .iter()
            .map(|line| format!("  {line}\n"))
            .collect();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let (first, last) = (
                "  http-request set-var(txn.lb_host)",
                "default_backend lb-unavailable\n",
            );
            let from = text.find(first).unwrap();
            let to = text.find(last).unwrap() + last.len();
            text.replace_range(from..to, &lines.concat());
            fs::write(&path, &text).unwrap();
        }
        assert!(text.contains(&lines.concat()), "{file}");
    }
}
